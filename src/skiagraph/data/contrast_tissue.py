"""How much of each tissue a voxel of a T1-weighted brain holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.errors import DataError, InputError

__all__ = ["TissueMeans", "fractions_from_intensity", "fractions_from_maps", "tissue_means"]

FloatArray = NDArray[np.floating[Any]]
_PURE, _MIXED = (0, 2, 4), (1, 3)
_SHARES = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]])


@dataclass(frozen=True)
class TissueMeans:
    """Intensities of pure fluid, grey and white matter, rising."""

    csf: float
    grey: float
    white: float

    def __post_init__(self) -> None:
        if not 0 <= self.csf < self.grey < self.white:
            raise DataError(
                f"tissue means are fluid {self.csf:.3g}, grey {self.grey:.3g}, white {self.white:.3g}; they must rise, "
                "as in a T1-weighted brain without its skull. Is it T1-weighted, and does the mask hold the brain only?"
            )


def tissue_means(values: FloatArray, iterations: int = 200) -> TissueMeans:
    """Means of a mixture of five Gaussians: three pure tissues, and two half-and-half mixtures with tied means.

    Expectation-maximisation on the histogram of the mask's voxels, from the three classes of Otsu's thresholds. The
    means solve the weighted least squares of the five component means mu = A m, A the shares of the pure tissues.

    Args:
        values: (n,) intensities inside the brain.
        iterations: of expectation and maximisation.
    """
    from skimage.filters import threshold_multiotsu

    inside = np.asarray(values, dtype=np.float64)
    top = float(np.percentile(inside, 99.8)) if inside.size else 0.0
    if not top > 0:
        raise DataError("the brain holds no positive intensity; is the mask on the image?")
    counts, edges = np.histogram(np.clip(inside, 0, top), bins=256, range=(0.0, top))
    centres = (edges[1:] + edges[:-1]) / 2
    cuts = threshold_multiotsu(hist=(counts, centres), classes=3)
    parts = [inside[inside <= cuts[0]], inside[(inside > cuts[0]) & (inside <= cuts[1])], inside[inside > cuts[1]]]
    means = np.array([np.median(part) for part in parts])
    spreads = np.full(5, top / 12)
    weights = np.full(5, 0.2)
    for _ in range(iterations):
        at = _SHARES @ means
        log_likelihood = np.log(weights) - np.log(spreads) - 0.5 * ((centres[:, None] - at) / spreads) ** 2
        share = np.exp(log_likelihood - log_likelihood.max(1, keepdims=True))
        share *= (counts / share.sum(1))[:, None]
        mass = share.sum(0) + 1e-9
        weights = mass / mass.sum()
        precision = mass / spreads**2
        target = (share * centres[:, None]).sum(0) / mass
        means = np.linalg.solve(_SHARES.T @ (precision[:, None] * _SHARES), _SHARES.T @ (precision * target))
        spread = np.sqrt((share * (centres[:, None] - _SHARES @ means) ** 2).sum(0) / mass)
        spreads = np.clip(spread, top / 100, top / 6)
    return TissueMeans(*(float(value) for value in means))


def fractions_from_intensity(image: FloatArray, mask: NDArray[np.bool_], means: TissueMeans) -> NDArray[np.float32]:
    """(3, X, Y, Z) shares of fluid, grey and white matter that sum to 1 in the mask: linear between neighbouring means.

    Above the mean of grey matter a voxel is grey and white, below it grey and fluid.
    """
    white = np.clip((image - means.grey) / (means.white - means.grey), 0, 1)
    csf = np.clip((means.grey - image) / (means.grey - means.csf), 0, 1)
    shares = np.stack([csf, 1 - csf - white, white]) * mask
    return np.asarray(shares, dtype=np.float32)


def fractions_from_maps(grey: FloatArray, white: FloatArray, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(3, X, Y, Z) shares from given maps of grey and white matter in [0, 1]; the rest of the mask is fluid."""
    if grey.shape != mask.shape or white.shape != mask.shape:
        raise InputError(f"maps have shapes {grey.shape} and {white.shape}, the mask {mask.shape}; they must be equal")
    csf = np.clip(1.0 - grey - white, 0, None)
    shares = np.stack([csf, grey, white]).astype(np.float32)
    shares /= np.maximum(shares.sum(0), 1e-6)
    return np.asarray(shares * mask, dtype=np.float32)
