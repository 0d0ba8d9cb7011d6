"""A scan made ready for reconstruction: normalised k-space, mask, coil maps and noise level of every slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from skiagraph.errors import DataError, InputError
from skiagraph.physics.coils import pad_coils
from skiagraph.physics.fourier import CoilFourier, to_complex
from skiagraph.physics.masks import centre_columns

__all__ = ["LEAST_NOISE", "PreparedScan", "calibration_lines", "estimate_noise", "normalisation", "prepare_slices"]

LEAST_NOISE = 1e-4
"""Smallest noise level in normalised units that a method is told: the data steps divide by its square."""


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """S slices in normalised intensity: the 99th percentile of the low-resolution image of the calibration lines is 1.

    Args:
        kspace: (S, coils, H, W) complex64, zero off the mask; columns (last axis) are phase encodings.
        mask: (S, 1, 1, W) float32 0/1.
        maps: (S, coils, H, W) complex64, estimated coil maps with unit root-sum-of-squares.
        noise: (S,) standard deviation of the noise per real and per imaginary part, in normalised units.
        scale: (S,) file units per normalised unit.
        centre: (S,) number of contiguous calibration lines.
    """

    kspace: Tensor
    mask: Tensor
    maps: Tensor
    noise: Tensor
    scale: Tensor
    centre: Tensor

    def __len__(self) -> int:
        return self.kspace.shape[0]

    def select(self, index: Tensor | slice | Sequence[int]) -> PreparedScan:
        """Some of the slices."""
        return replace(self, **{field.name: getattr(self, field.name)[index] for field in fields(self)})

    @staticmethod
    def join(scans: Sequence[PreparedScan]) -> PreparedScan:
        """Slices of several scans of one matrix size, one after another.

        Scans of fewer coils get coils of zeros behind their own, which change no result: T x and y are zero there, and
        the streams of samples and of training draw no noise for them (see `Streams.padded`).
        """
        sizes = sorted({tuple(scan.kspace.shape[-2:]) for scan in scans})
        if len(sizes) > 1:
            raise InputError(f"scans have the matrices {sizes}; slices of one matrix can be joined")
        most = max(scan.kspace.shape[1] for scan in scans)
        padded = {"kspace", "maps"}
        values = {
            f.name: torch.cat(
                [pad_coils(getattr(s, f.name), most) if f.name in padded else getattr(s, f.name) for s in scans]
            )
            for f in fields(PreparedScan)
        }
        return PreparedScan(**values)

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        """Training items, as `MeasurementObjective` reads them."""
        names = ("kspace", "mask", "maps", "noise")
        return {name: getattr(self, name)[indices] for name in names}


def calibration_lines(mask: Tensor) -> int:
    """Number of contiguous sampled lines about zero frequency in a mask (W,); 0 where zero frequency is not sampled."""
    line = mask.flatten() > 0
    middle = line.numel() // 2
    if not bool(line[middle]):
        return 0
    low = high = middle
    while low > 0 and bool(line[low - 1]):
        low -= 1
    while high + 1 < line.numel() and bool(line[high + 1]):
        high += 1
    return high - low + 1


def estimate_noise(kspace: Tensor, mask: Tensor, border: float = 0.1) -> Tensor:
    """Noise per real and imaginary part (S,) from the sampled outermost corners of k-space, where signal is least.

        sigma = median |n| / sqrt(2 ln 2)      (the median of a Rayleigh variable)

    An upper estimate: whatever signal reaches the corners counts as noise.

    Args:
        kspace: (S, coils, H, W) complex.
        mask: (S, 1, 1, W) real 0/1.
        border: share of rows and columns at either end that counts as corner.
    """
    rows, columns = kspace.shape[-2:]
    height, width = max(1, round(border * rows)), max(1, round(border * columns))
    edge_rows = torch.cat([kspace[..., :height, :], kspace[..., -height:, :]], -2)
    noise = []
    for item, sampled in zip(edge_rows, mask[:, 0, 0] > 0, strict=True):
        outer = torch.zeros_like(sampled)
        outer[:width], outer[-width:] = True, True
        chosen = outer & sampled
        values = item[..., chosen if bool(chosen.any()) else sampled].abs()
        noise.append(values.median() / (2 * torch.log(torch.tensor(2.0))).sqrt())
    return torch.stack(noise)


def normalisation(kspace: Tensor, maps: Tensor, centre: int) -> Tensor:
    """99th percentile (S,) of the magnitude of the image of the calibration lines alone: needs no ground truth."""
    lines = centre_columns(kspace.shape[-1], centre).to(kspace.real)
    low = to_complex(CoilFourier(maps).adjoint(kspace * lines)).abs()
    return torch.quantile(low.flatten(1), 0.99, dim=1)


def prepare_slices(
    kspace: Tensor,
    mask: Tensor,
    maps: Tensor,
    noise: Tensor | None = None,
    *,
    calibration: Tensor | None = None,
) -> PreparedScan:
    """Normalise slices that share one mask.

    Args:
        kspace: (S, coils, H, W) complex, in file units.
        mask: (W,) real 0/1.
        maps: (S, coils, H, W) complex coil maps.
        noise: (S,) known noise per part in file units; None estimates it from the corners of k-space. The level that
            methods are told is at least `LEAST_NOISE` of the unit.
        calibration: (S, coils, H, W) complex, calibration lines of a scan of their own, where `kspace` has none;
            brought to the intensity of `kspace` on the lines that both hold.
    """
    slices = kspace.shape[0]
    lines = mask.to(torch.float32).reshape(1, 1, 1, -1).expand(slices, 1, 1, -1)
    kspace = (kspace * lines).to(torch.complex64)
    maps = maps.to(torch.complex64)
    if calibration is None:
        centre = calibration_lines(mask)
        scale = normalisation(kspace, maps, centre)
    else:
        centre = calibration_lines((calibration != 0).flatten(0, 2).any(0))
        scale = normalisation(calibration * _intensity(kspace, calibration), maps, centre)
    if not bool((scale > 0).all()):
        raise DataError(
            "the calibration lines' image is zero where the coil maps are not; maps and scan don't belong together"
        )
    level = estimate_noise(kspace, lines) if noise is None else noise.to(torch.float32)
    kspace = kspace / scale[:, None, None, None]
    count = torch.full((slices,), centre)
    return PreparedScan(kspace, lines.contiguous(), maps, (level / scale).clamp(min=LEAST_NOISE), scale, count)


def _intensity(kspace: Tensor, calibration: Tensor) -> Tensor:
    """Factor (S, 1, 1, 1) from the calibration scan's intensity to the image's, on the columns that both hold."""
    both = (kspace != 0) & (calibration != 0)
    sizes = [(value * both).abs().square().flatten(1).sum(1).sqrt() for value in (kspace, calibration)]
    return torch.where(sizes[1] > 0, sizes[0] / sizes[1].clamp(min=1e-30), 1.0)[:, None, None, None]
