"""Coil sensitivity maps from the calibration lines of a scan: ESPIRiT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from skiagraph.errors import DataError, InputError

__all__ = ["EspiritSettings", "calibration_region", "espirit", "espirit_sigpy", "normalised_maps"]


@dataclass(frozen=True)
class EspiritSettings:
    """What ESPIRiT is run with.

    Attributes:
        kernel: side of the k-space kernels in samples, 3 to 9.
        threshold: singular values of the calibration matrix below this fraction of the largest are left out, 0 to 1.
        noise_margin: eigenvalues below this multiple of the noise floor are left out too (the floor is the median
            eigenvalue times (1 + sqrt(columns / rows of the matrix))^2, the edge of the spectrum of white noise); 0
            turns it off. Without it a threshold must be chosen for every noise level.
        crop: pixels whose largest eigenvalue is below this get zero maps, 0 (keep all) to 1; signal lies near 1.
        calibration_rows: rows around the centre used beside the calibration columns (the readout is fully sampled).
        reference: the maps' phase is fixed so that this is real and positive: the "first" coil, or the
            "principal" component of all coils over the image, which has no dark corner.
        grid: the eigenvectors are computed on every `grid`-th pixel and refined on the others, 1 to 8.
        refinements: power iterations at full resolution, at least 1.
    """

    kernel: int = 5
    threshold: float = 0.01
    noise_margin: float = 1.5
    crop: float = 0.0
    calibration_rows: int = 48
    reference: Literal["first", "principal"] = "principal"
    grid: int = 4
    refinements: int = 6

    def __post_init__(self) -> None:
        if not 3 <= self.kernel <= 9 or not 0 < self.threshold < 1 or not 0 <= self.crop <= 1:
            raise InputError(
                f"kernel {self.kernel}, threshold {self.threshold}, crop {self.crop}: "
                "3 to 9, 0 to 1 (exclusive) and 0 to 1 are allowed"
            )
        if self.reference not in ("first", "principal"):
            raise InputError(f"reference is {self.reference!r}; 'first' and 'principal' are allowed")
        if not 1 <= self.grid <= 8 or self.refinements < 1:
            raise InputError(f"grid {self.grid}, refinements {self.refinements}: 1 to 8 and at least 1 are allowed")


def calibration_region(kspace: NDArray[np.complexfloating[Any, Any]], columns: int, rows: int) -> NDArray[np.complex64]:
    """Return the centre (coils, rows, columns) of centred k-space (coils, H, W); the centre sample is H // 2, W // 2.

    Raises DataError when the region is larger than k-space, holds no signal, or holds columns that were not sampled.
    """
    height, width = kspace.shape[-2:]
    rows = min(rows, height)
    if not 1 <= columns <= width:
        raise InputError(f"columns is {columns}; 1 to {width} calibration lines are possible")
    top, left = height // 2 - rows // 2, width // 2 - columns // 2
    region = np.ascontiguousarray(kspace[:, top : top + rows, left : left + columns], dtype=np.complex64)
    if not np.isfinite(region).all():
        raise DataError("the calibration lines hold NaN or infinite values; ESPIRiT cannot be run")
    empty = int((~region.any(axis=(0, 1))).sum())
    if empty:
        raise DataError(
            f"{empty} of the {columns} centre lines hold no signal; ESPIRiT needs fully sampled calibration lines "
            "(give fewer `columns`, or a scan with calibration lines)"
        )
    return region


def _signal_kernels(region: NDArray[np.complex64], settings: EspiritSettings) -> NDArray[np.complex64]:
    """Return orthonormal kernels (coils k k, r) spanning the calibration windows (conjugate right singular vectors)."""
    from scipy import linalg

    kernel = settings.kernel
    coils, rows, columns = region.shape
    if min(rows, columns) < kernel + 1:
        raise DataError(
            f"the calibration region is {rows}x{columns}; a kernel of {kernel} needs {kernel + 1} lines or more"
        )
    windows = np.lib.stride_tricks.sliding_window_view(region, (kernel, kernel), axis=(1, 2))
    matrix = windows.transpose(1, 2, 0, 3, 4).reshape(-1, coils * kernel * kernel)
    values, vectors = linalg.eigh(matrix.conj().T @ matrix, overwrite_a=True, check_finite=False, driver="evd")
    count, length = matrix.shape
    floor = float(np.median(values[max(0, length - count) :])) * (1 + np.sqrt(length / count)) ** 2
    keep = values > max(settings.threshold**2 * values[-1], settings.noise_margin * floor)
    keep[-1] = True
    signal: NDArray[np.complex64] = vectors[:, keep].conj()
    return signal


def _phases(size: int, kernel: int) -> NDArray[np.complex64]:
    """Return exp(2 pi i x d / size) for pixels x around the centre and offsets d = -(kernel-1) ... kernel-1."""
    pixel = np.arange(size) - size // 2
    offset = np.arange(1 - kernel, kernel)
    waves: NDArray[np.complex64] = np.exp(2j * np.pi * np.outer(pixel, offset) / size).astype(np.complex64)
    return waves


def _correlations(signal: NDArray[np.complex64], coils: int, kernel: int) -> NDArray[np.complex64]:
    """Return the coefficients of G, sums of v_c(p + d) conj v_e(p) over p and kernels: (coils, coils, 2k-1, 2k-1)."""
    projector = (signal @ signal.conj().T).reshape(coils, kernel, kernel, coils, kernel, kernel)
    lags = np.zeros((coils, coils, 2 * kernel - 1, 2 * kernel - 1), dtype=np.complex64)
    for row in range(kernel):
        for column in range(kernel):
            block = projector[:, :, :, :, row, column].transpose(0, 3, 1, 2)
            lags[:, :, kernel - 1 - row : 2 * kernel - 1 - row, kernel - 1 - column : 2 * kernel - 1 - column] += block
    return lags / (kernel * kernel)


def _image_space(
    lags: NDArray[np.complex64], rows: NDArray[np.complex64], columns: NDArray[np.complex64]
) -> NDArray[np.complex64]:
    """Evaluate G (coils, coils, len(rows), len(columns)) from its coefficients and the two sets of waves."""
    field: NDArray[np.complex64] = rows @ (lags @ columns.T)
    return field


def _power_iterations(
    field: NDArray[np.complex64], start: NDArray[np.complex64], count: int
) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """Refine dominant eigenvectors (coils, H, W) of Hermitian matrices (coils, coils, H, W); return them and values."""
    vector = start
    value = np.ones(start.shape[1:], dtype=np.float32)
    for _ in range(count):
        product = np.einsum("cdxy,dxy->cxy", field, vector)
        value = np.sqrt((product.real**2 + product.imag**2).sum(axis=0))
        vector = product / np.maximum(value, 1e-12)
    return vector, value


def normalised_maps(
    maps: NDArray[np.complexfloating[Any, Any]], reference: Literal["first", "principal"]
) -> NDArray[np.complex64]:
    """Scale maps (coils, H, W) to unit root-sum-of-squares where they are not zero, and fix their common phase.

    The phase of "first" is that of coil 0; that of "principal" is that of the combination sum_c conj(w_c) C_c, with w
    the dominant eigenvector of the coils' covariance over the image.
    """
    norm = np.sqrt((np.abs(maps) ** 2).sum(axis=0))
    unit = maps / np.where(norm > 0, norm, 1)
    if reference == "first":
        combined = unit[0]
    else:
        flat = unit.reshape(unit.shape[0], -1)
        weights = np.linalg.eigh((flat @ flat.conj().T).astype(np.complex128))[1][:, -1]
        combined = np.einsum("c,cxy->xy", weights.conj(), unit)
    size = np.abs(combined)
    turn = np.where(size > 1e-12, combined.conj() / np.maximum(size, 1e-12), 1)
    turned: NDArray[np.complex64] = (unit * turn).astype(np.complex64)
    return turned


def espirit(
    kspace: NDArray[np.complexfloating[Any, Any]], lines: int, settings: EspiritSettings | None = None
) -> NDArray[np.complex64]:
    """Estimate unit-norm coil maps (coils, H, W) from the `lines` centre columns of k-space (coils, H, W).

    The windows of the calibration region span a space with projector P; in image space P becomes a small Hermitian
    matrix G(x) per pixel whose eigenvector of eigenvalue 1 is the vector of coil sensitivities at x (Uecker et al.,
    "ESPIRiT", Magn. Reson. Med. 71:990, 2014, equations 11 to 17). One set of maps.

    Differs from the released code of the method in: G is evaluated from its (2k-1) x (2k-1) Fourier coefficients, never
    from zero-padded kernels; the eigenvectors are computed exactly on every `grid`-th pixel and refined elsewhere by
    power iterations; the phase reference is the principal component by default.

    Args:
        kspace: (coils, H, W) complex, centred; only the centre is read, so it may be undersampled elsewhere.
        lines: number of calibration columns.
        settings: see `EspiritSettings`.
    """
    settings = settings or EspiritSettings()
    region = calibration_region(kspace, lines, settings.calibration_rows)
    coils, height, width = kspace.shape
    signal = _signal_kernels(region, settings)
    lags = _correlations(signal, coils, settings.kernel)
    rows, columns = _phases(height, settings.kernel), _phases(width, settings.kernel)
    step = settings.grid
    half = step // 2
    coarse = _image_space(lags, rows[half::step], columns[half::step])
    vectors = np.linalg.eigh(coarse.transpose(2, 3, 0, 1))[1][..., -1].transpose(2, 0, 1)
    near_row = np.minimum(np.arange(height) // step, vectors.shape[1] - 1)
    near_column = np.minimum(np.arange(width) // step, vectors.shape[2] - 1)
    start = vectors[:, near_row[:, None], near_column[None, :]].astype(np.complex64)
    maps, value = _power_iterations(_image_space(lags, rows, columns), start, settings.refinements)
    if settings.crop > 0:
        maps = maps * (value >= settings.crop)
    return normalised_maps(maps, settings.reference)


def espirit_sigpy(
    kspace: NDArray[np.complexfloating[Any, Any]],
    lines: int,
    *,
    kernel: int = 6,
    threshold: float = 0.02,
    crop: float = 0.0,
) -> NDArray[np.complex64]:
    """Estimate maps as `espirit` does, with sigpy's implementation and its defaults (phase of the first coil).

    Slower; for comparison. sigpy uses a square calibration region of `lines` samples.
    """
    import sigpy.mri.app

    calibration_region(kspace, lines, lines)
    run = sigpy.mri.app.EspiritCalib(
        np.ascontiguousarray(kspace, dtype=np.complex64),
        calib_width=lines,
        thresh=threshold,
        kernel_width=kernel,
        crop=crop,
        show_pbar=False,
    )
    return normalised_maps(np.asarray(run.run()), "first")
