"""Coil sensitivities: normalisation, combination and compression."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "check_normalised",
    "combine",
    "compress",
    "compression_matrix",
    "kept_energy",
    "normalise_maps",
    "pad_coils",
    "present_coils",
    "root_sum_of_squares",
]


def root_sum_of_squares(coils: Tensor) -> Tensor:
    """(B, coils, H, W) complex -> (B, H, W) real, sqrt(sum_c |x_c|^2)."""
    size: Tensor = torch.linalg.vector_norm(coils, dim=1)
    return size


def combine(coils: Tensor, maps: Tensor) -> Tensor:
    """sum_c conj(C_c) x_c / sum_c |C_c|^2, zero where all maps are zero.

    Args:
        coils: (B, coils, H, W) complex coil images.
        maps: (B or 1, coils, H, W) complex sensitivities.

    Returns:
        (B, H, W) complex.
    """
    power = (maps.real.square() + maps.imag.square()).sum(1)
    positive = power > 0
    return torch.where(positive, (maps.conj() * coils).sum(1) / torch.where(positive, power, 1.0), 0.0)


def normalise_maps(maps: Tensor, support: float = 1e-6) -> Tensor:
    """Scale maps to sum_c |C_c|^2 = 1 on their support, and to 0 off it.

    Args:
        maps: (B, coils, H, W) complex.
        support: share of the sample's largest root sum of squares below which a pixel is off the support.
    """
    _check(maps)
    size = root_sum_of_squares(maps).unsqueeze(1)
    on = size > support * size.amax((-2, -1), keepdim=True)
    return torch.where(on, maps / torch.where(on, size, 1.0), 0.0)


def check_normalised(maps: Tensor, tolerance: float = 1e-3) -> None:
    """Refuse maps whose sum_c |C_c|^2 is neither 1 nor 0 to `tolerance` at some pixel."""
    _check(maps)
    power = (maps.real.square() + maps.imag.square()).sum(1)
    error = torch.minimum((power - 1).abs(), power)
    worst = float(error.max())
    if worst > tolerance:
        found = float(power.flatten()[int(error.argmax())])
        raise ValueError(
            f"maps: found sum |C|^2 = {found:.6g} at a pixel; allowed is 1 on the support and 0 off it, "
            f"to {tolerance:g}. Pass them through normalise_maps first."
        )


def compression_matrix(calibration: Tensor, coils: int) -> Tensor:
    """The `coils` virtual coils that hold the most energy of a calibration measurement.

    Args:
        calibration: (B, physical coils, ...) complex, e.g. the fully sampled centre of k-space.
        coils: number of virtual coils, 1 ... physical coils.

    Returns:
        (B, coils, physical coils) complex with orthonormal rows, most energy first; white noise stays white.

    Reference:
        Buehrer et al., Magn. Reson. Med. 57, 2007.
    """
    if calibration.ndim < 3 or not calibration.is_complex():
        raise ValueError(
            f"calibration: found {calibration.dtype} of shape {tuple(calibration.shape)}; "
            "allowed is complex (B, coils, ...)."
        )
    if not 1 <= coils <= calibration.shape[1]:
        raise ValueError(f"coils: found {coils}; allowed 1 ... {calibration.shape[1]}, the number of physical coils.")
    samples = calibration.flatten(2)
    vectors: Tensor = torch.linalg.eigh(samples @ samples.mH)[1]
    return vectors.flip(-1)[..., :coils].mH


def compress(kspace: Tensor, matrix: Tensor) -> Tensor:
    """(B, physical, ...) -> (B, virtual, ...) by a matrix (B or 1, virtual, physical); maps and k-space alike."""
    if matrix.ndim != 3 or matrix.shape[-1] != kspace.shape[1]:
        raise ValueError(
            f"matrix: found shape {tuple(matrix.shape)} for {kspace.shape[1]} coils; "
            "allowed is (B or 1, virtual coils, physical coils), see compression_matrix."
        )
    return (matrix @ kspace.flatten(2)).reshape(kspace.shape[0], matrix.shape[1], *kspace.shape[2:])


def kept_energy(calibration: Tensor, matrix: Tensor) -> Tensor:
    """(B,) share of the energy of a measurement (B, physical coils, ...) that a compression matrix keeps, 0 to 1."""
    compressed = compress(calibration, matrix)
    sizes = [value.abs().square().flatten(1).sum(1) for value in (compressed, calibration)]
    return sizes[0] / sizes[1].clamp(min=torch.finfo(sizes[1].dtype).tiny)


def pad_coils(coils: Tensor, count: int) -> Tensor:
    """(B, coils, ...) -> (B, count, ...): coils of zeros behind the real ones.

    Coils whose maps and k-space are zero change no operator of this library: what they receive is T x = 0 = y.
    """
    missing = count - coils.shape[1]
    if missing < 0:
        raise ValueError(f"count: found {count} for {coils.shape[1]} coils; allowed at least as many as there are.")
    if missing == 0:
        return coils
    return torch.cat([coils, coils.new_zeros(coils.shape[0], missing, *coils.shape[2:])], 1)


def present_coils(maps: Tensor) -> Tensor:
    """(B,) int64: coils of each sample up to the last whose map is not all zero; what follows is padding."""
    _check(maps)
    present = (maps != 0).flatten(2).any(2)
    return (present * torch.arange(1, maps.shape[1] + 1, device=maps.device)).amax(1)


def _check(maps: Tensor) -> None:
    if maps.ndim != 4 or not maps.is_complex():
        raise ValueError(f"maps: found {maps.dtype} of shape {tuple(maps.shape)}; allowed is complex (B, coils, H, W).")
