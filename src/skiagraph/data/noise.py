"""The receivers' noise: its level and the coils' covariance, from whatever a scan holds, and pre-whitening.

Noise is circular and Gaussian, white along k-space and coloured across coils: n = L g, L L^H = Psi. All variances and
standard deviations here are *per real and per imaginary part*: Psi = E[n n^H] / 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.errors import DataError, InputError

__all__ = [
    "NoiseModel",
    "noise_from_background",
    "noise_from_calibration",
    "noise_from_covariance",
    "noise_from_repetitions",
    "noise_from_scan",
    "transform_coils",
]

Complex = NDArray[np.complexfloating[Any, Any]]
RAYLEIGH_MEDIAN = math.sqrt(2 * math.log(2))
CIRCULAR = 1e-3


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """Noise of the coils of a scan.

    Attributes:
        covariance: (coils, coils) complex128, Psi = E[n n^H] / 2, Hermitian and positive definite.
        source: what it was taken from, for records.
        samples: independent samples per coil that it rests on; 0 where it was stated.
        upper: True where signal may have been counted as noise, so that the level is an upper estimate.
    """

    covariance: NDArray[np.complex128]
    source: str
    samples: int = 0
    upper: bool = False

    def __post_init__(self) -> None:
        shape = self.covariance.shape
        if len(shape) != 2 or shape[0] != shape[1] or not np.isfinite(self.covariance).all():
            raise DataError(
                f"{self.source}: the noise covariance has shape {shape}; finite (coils, coils) values are needed"
            )
        scale = max(float(np.abs(self.covariance).max()), np.finfo(float).tiny)
        if float(np.abs(self.covariance - self.covariance.conj().T).max()) > CIRCULAR * scale:
            raise DataError(f"{self.source}: the noise covariance is not Hermitian; give E[n n^H] / 2 of the coils")

    @property
    def level(self) -> float:
        """Root of the mean variance over coils: the standard deviation of a part of a typical coil."""
        return float(np.sqrt(max(float(np.real(np.trace(self.covariance))) / len(self.covariance), 0.0)))

    @property
    def correlation(self) -> float:
        """Largest correlation of two coils in magnitude, 0 to 1; 0 for a single coil."""
        deviation = np.sqrt(np.maximum(np.real(np.diag(self.covariance)), np.finfo(float).tiny))
        scaled = np.abs(self.covariance / np.outer(deviation, deviation))
        np.fill_diagonal(scaled, 0.0)
        return float(scaled.max())

    def whitener(self) -> NDArray[np.complex128]:
        """(coils, coils) matrix `level` L^-1, L the Cholesky factor: makes the noise white, of standard deviation
        `level` per part in every coil, so that the unit of the file is kept.

        Raises DataError where the covariance is singular, as that of a dead coil or of too few samples.
        """
        try:
            factor = np.linalg.cholesky((self.covariance + self.covariance.conj().T) / 2)
        except np.linalg.LinAlgError:
            factor = np.zeros_like(self.covariance)
        diagonal = np.real(np.diag(factor))
        if diagonal.min() <= 1e-6 * max(float(diagonal.max()), np.finfo(float).tiny):
            raise DataError(
                f"{self.source}: the noise covariance of {len(self.covariance)} coils is singular ({self.samples} "
                "samples): a coil is dead or there are too few samples; take a longer noise scan, leave the coil out, "
                "or turn pre-whitening off (prewhiten: false)"
            )
        return np.asarray(self.level * np.linalg.inv(factor), dtype=np.complex128)

    def record(self) -> dict[str, Any]:
        """Names and values, as JSON types."""
        return {
            "source": self.source,
            "noise_std": self.level,
            "largest_coil_correlation": round(self.correlation, 4),
            "samples_per_coil": self.samples,
            "upper_estimate": self.upper,
        }


def transform_coils(matrix: NDArray[Any], data: Complex) -> NDArray[np.complex64]:
    """Mix coils: (new, coils) times (..., coils, H, W) -> (..., new, H, W), as complex64."""
    if matrix.shape[-1] != data.shape[-3]:
        raise InputError(f"matrix mixes {matrix.shape[-1]} coils, but the data have {data.shape[-3]}")
    mixed = np.einsum("...ec,...chw->...ehw", matrix.astype(np.complex64), data, optimize=True)
    return np.asarray(mixed, dtype=np.complex64)


def _covariance(samples: Complex) -> NDArray[np.complex128]:
    """E[n n^H] / 2 of (coils, N) samples about their mean."""
    centred = samples.astype(np.complex128) - samples.mean(axis=1, keepdims=True)
    covariance: NDArray[np.complex128] = centred @ centred.conj().T / (2 * (samples.shape[1] - 1))
    return covariance


def noise_from_scan(samples: Complex, source: str = "noise scan") -> NoiseModel:
    """Noise from receive-only samples (coils, N): Psi = sum (n - mean)(n - mean)^H / (2 (N - 1)).

    Raises DataError for NaN, and for fewer than two samples.
    """
    if samples.ndim != 2 or samples.shape[1] < 2 or not np.isfinite(samples).all():
        raise DataError(
            f"{source}: has shape {samples.shape}; finite values of shape (coils, samples), 2 samples or more, are "
            "needed"
        )
    return NoiseModel(_covariance(samples), source, int(samples.shape[1]))


def noise_from_covariance(covariance: NDArray[Any], source: str = "stated covariance") -> NoiseModel:
    """Noise of a stated covariance Psi = E[n n^H] / 2, (coils, coils)."""
    return NoiseModel(np.asarray(covariance, dtype=np.complex128), source)


def noise_from_repetitions(repeats: Complex, source: str = "repetitions") -> NoiseModel:
    """Noise of one repetition, from R >= 2 measurements (R, coils, ...) of the same: deviations from their mean.

        Psi = sum_r (y_r - mean)(y_r - mean)^H / (2 N (R - 1))

    Whatever moves between repetitions counts as noise, so this is an upper estimate where the patient moves.
    """
    if repeats.ndim < 3 or repeats.shape[0] < 2:
        raise InputError(f"repeats has shape {repeats.shape}; (2 or more repetitions, coils, ...) is needed")
    count, coils = repeats.shape[:2]
    deviations = (repeats - repeats.mean(axis=0)).astype(np.complex128).reshape(count, coils, -1)
    samples = deviations.shape[-1]
    total = np.einsum("rcn,rdn->cd", deviations, deviations.conj())
    return NoiseModel(total / (2 * samples * (count - 1)), source, samples * (count - 1))


def noise_from_background(images: Complex, share: float = 0.125, source: str = "image background") -> NoiseModel:
    """Noise from the corners of fully sampled coil images (..., coils, H, W), where nothing but air should lie.

    Corner blocks of `share` of the rows and columns; blocks with more than 1.5 times the least mean power are left out,
    because tissue or its ghosts reach into them. Orthonormal transforms keep the level: it is that of k-space too. Not
    for undersampled scans, whose aliases fill the background.
    """
    if images.ndim < 3 or not 0 < share <= 0.5:
        raise InputError(f"images has shape {images.shape} and share is {share}; (..., coils, H, W) and 0 to 0.5 do")
    coils, height, width = images.shape[-3:]
    rows, columns = max(1, round(share * height)), max(1, round(share * width))
    stack = np.moveaxis(images.reshape(-1, coils, height, width), 1, 0)
    blocks = [
        stack[..., down, across].reshape(coils, -1)
        for down in (slice(0, rows), slice(height - rows, height))
        for across in (slice(0, columns), slice(width - columns, width))
    ]
    power = [float((np.abs(block) ** 2).mean()) for block in blocks]
    kept = [block for block, value in zip(blocks, power, strict=True) if value <= 1.5 * min(power)]
    samples = np.concatenate(kept, axis=1)
    return NoiseModel(samples @ samples.conj().T / (2 * samples.shape[1]), source, int(samples.shape[1]), upper=True)


def noise_from_calibration(
    kspace: Complex, mask: NDArray[Any], border: float = 0.1, source: str = "outer k-space"
) -> NoiseModel:
    """Noise from the ends of the sampled lines, farthest from zero frequency, where signal is least.

    The outer `border` of the rows is read on the outer sampled columns, or on all sampled ones (the calibration lines)
    where no outer one was sampled. Levels are medians, sigma_c = median |n_c| / sqrt(2 ln 2), which a few strong
    samples don't move; correlations come from the samples below 3 sigma. Signal that reaches the ends counts as noise:
    the model is marked as an upper estimate unless the level is the same in the outer and the inner half of the ends,
    to 5 %, as noise is and signal is not.

    Args:
        kspace: (S, coils, H, W) complex, zero where not sampled.
        mask: (W,) sampled columns.
        border: share of rows and columns at either end.
    """
    height, width = kspace.shape[-2:]
    rows, columns = max(1, round(border * height)), max(1, round(border * width))
    sampled = np.asarray(mask).astype(bool)
    outer = sampled.copy()
    outer[columns : width - columns] = False
    chosen = np.flatnonzero(outer if outer.any() else sampled)
    ends = np.concatenate([kspace[:, :, :rows][..., chosen], kspace[:, :, -rows:][..., chosen]], axis=2)
    samples = np.moveaxis(ends, 1, 0).reshape(kspace.shape[1], -1)
    deviation = np.median(np.abs(samples), axis=1) / RAYLEIGH_MEDIAN
    quiet = (np.abs(samples) <= 3 * deviation[:, None]).all(axis=0)
    correlation = np.eye(len(deviation), dtype=np.complex128)
    if quiet.sum() > 4 * len(deviation):
        found = _covariance(samples[:, quiet])
        spread = np.sqrt(np.maximum(np.real(np.diag(found)), np.finfo(float).tiny))
        correlation = found / np.outer(spread, spread)
    covariance = correlation * np.outer(deviation, deviation)
    half = max(1, rows // 2)
    outer_half = np.concatenate([ends[:, :, :half], ends[:, :, -half:]], axis=2)
    flat = rows > 1 and _median_level(outer_half) > 0.95 * _median_level(ends[:, :, half:-half])
    return NoiseModel(covariance, source, int(samples.shape[1]), upper=not flat)


def _median_level(samples: Complex) -> float:
    """Mean over coils of the median magnitude of (S, coils, rows, columns)."""
    return float(np.median(np.abs(np.moveaxis(samples, 1, 0)).reshape(samples.shape[1], -1), axis=1).mean())
