"""How far two sets of images are from each other as distributions, on features that somebody chose and named.

A distance says something about its features only: the same two sets are near on some and far on others. A figure
therefore carries the name of its features and the number of images, as in "FD-random-conv-v1, 200 against 1500". None
of these is the Frechet inception distance, which is defined by one particular network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skiagraph.evaluation.arrays import real_array

__all__ = [
    "FEW",
    "FeatureScale",
    "KernelDistance",
    "frechet_distance",
    "gaussian_frechet",
    "kernel_distance",
    "two_sets",
]

FEW = 2000
"""Below so many images the Frechet distance depends more on their number than on what they show."""


def two_sets(
    first: ArrayLike, second: ArrayLike, names: tuple[str, str] = ("generated", "real"), least: int = 2
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two sets of features (n, d) and (m, d) as float64, refused where they cannot be compared.

    Args:
        first: (n, d), n >= least.
        second: (m, d), m >= least.
        names: of the arguments, for messages.
        least: images that each set needs.
    """
    one, other = real_array(first, names[0]), real_array(second, names[1])
    for array, name in ((one, names[0]), (other, names[1])):
        if array.ndim != 2 or array.shape[0] < least:
            raise ValueError(f"{name}: found shape {array.shape}; allowed is (images, features), {least} or more.")
    if one.shape[1] != other.shape[1]:
        raise ValueError(f"{names[0]}: found {one.shape[1]} features, but {names[1]} has {other.shape[1]}.")
    return one, other


@dataclass(frozen=True, eq=False)
class FeatureScale:
    """One shift and one factor that bring the features of a reference set to mean 0 and mean square 1 an entry.

    All features are divided by the same number, so that their proportions stay; distances no longer depend on the unit
    of the features, which the cubic kernel's constant 1 would otherwise be compared with.

    Args:
        mean: (d,) mean of the reference.
        scale: root of the mean variance of its features.
    """

    mean: NDArray[np.float64]
    scale: float

    @classmethod
    def of(cls, reference: ArrayLike) -> FeatureScale:
        """The scale of a reference set (m, d), m >= 2; a set of equal images is refused."""
        array, _ = two_sets(reference, reference, ("reference", "reference"))
        scale = float(np.sqrt(array.var(axis=0).mean()))
        if scale <= 1e-12 * max(1.0, float(np.abs(array).max())):
            raise ValueError("reference: all its images have the same features; nothing can be compared with them.")
        return cls(array.mean(axis=0), scale)

    def __call__(self, features: ArrayLike) -> NDArray[np.float64]:
        """Features (n, d) on this scale."""
        return (real_array(features, "features") - self.mean) / self.scale


def frechet_distance(generated: ArrayLike, real: ArrayLike) -> float:
    """Squared Frechet distance between the Gaussians that have the means and covariances of two sets of features.

    Dowson and Landau 1982; the form in use since Heusel et al. 2017. Biased upwards for few images, by about the same
    for sets of the same size: compare sets of equal number only, and beside a baseline of real images.

    Args:
        generated: (n, d) features, n >= 2.
        real: (m, d) features of the same kind, m >= 2.
    """
    one, other = two_sets(generated, real)
    covariances = [np.atleast_2d(np.cov(array, rowvar=False)) for array in (one, other)]
    return gaussian_frechet(one.mean(0), covariances[0], other.mean(0), covariances[1])


def gaussian_frechet(
    first_mean: ArrayLike, first_covariance: ArrayLike, second_mean: ArrayLike, second_covariance: ArrayLike
) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1^(1/2) S2 S1^(1/2))^(1/2)), the squared Frechet distance of two Gaussians.

    Differs from MONAI's `FIDMetric` in that roots are taken of symmetric matrices, by their eigenvalues: exact for
    singular covariances (fewer images than features), never complex, never below 0 by more than rounding.

    Args:
        first_mean, second_mean: (d,).
        first_covariance, second_covariance: (d, d), symmetric, no negative eigenvalue.
    """
    shift = np.asarray(first_mean, float) - np.asarray(second_mean, float)
    one, other = np.asarray(first_covariance, float), np.asarray(second_covariance, float)
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    inner = np.linalg.eigvalsh(root @ other @ root)
    shared = np.sqrt(np.clip(inner, 0, None)).sum()
    return max(0.0, float(shift @ shift + np.trace(one) + np.trace(other) - 2 * shared))


@dataclass(frozen=True)
class KernelDistance:
    """A squared kernel distance with its spread over random subsets.

    Args:
        value: unbiased estimate from all images; around 0 (also below it) for equal distributions.
        subset_mean: mean over the subsets.
        subset_deviation: standard deviation over the subsets.
        subsets: how many.
        subset_size: images of each set in a subset.
    """

    value: float
    subset_mean: float
    subset_deviation: float
    subsets: int
    subset_size: int

    def __str__(self) -> str:
        return f"{self.value:.4g} (subsets of {self.subset_size}: {self.subset_mean:.4g} ± {self.subset_deviation:.2g})"


def kernel_distance(
    generated: ArrayLike, real: ArrayLike, *, subsets: int = 100, subset_size: int | None = None, seed: int = 0
) -> KernelDistance:
    """Unbiased squared maximum mean discrepancy with the cubic kernel k(a, b) = (a.b / d + 1)^3.

    mean over pairs of k(a_i, a_j), i != j, + the same of b - 2 mean k(a_i, b_j). Unbiased for any number of images.
    Reference: Gretton et al., JMLR 13, 2012, lemma 6; kernel and subsets of Binkowski et al. 2018.
    Differs from MONAI's `MMDMetric`, whose kernel is linear and which needs sets of one size.

    Args:
        generated: (n, d) features, n >= 2.
        real: (m, d) features of the same kind, m >= 2.
        subsets: number of random subsets for the spread, >= 2; each without repetition.
        subset_size: images of each set in a subset, >= 2; default half the smaller set, at most 1000.
        seed: of the subsets.
    """
    one, other = two_sets(generated, real)
    size = subset_size or max(2, min(1000, min(len(one), len(other)) // 2))
    if subsets < 2 or not 2 <= size <= min(len(one), len(other)):
        raise ValueError(
            f"subsets, subset_size: found {subsets} of {size}; at least 2 of 2 to {min(len(one), len(other))} images."
        )
    generator = np.random.default_rng(seed)
    draws = [
        _discrepancy(one[generator.choice(len(one), size, False)], other[generator.choice(len(other), size, False)])
        for _ in range(subsets)
    ]
    return KernelDistance(_discrepancy(one, other), float(np.mean(draws)), float(np.std(draws, ddof=1)), subsets, size)


def _discrepancy(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    within = [_pairs(array) for array in (one, other)]
    return within[0] + within[1] - 2 * _kernel_sum(one, other) / (len(one) * len(other))


def _pairs(array: NDArray[np.float64]) -> float:
    """Mean kernel over pairs of different images of one set."""
    own = float(((np.einsum("nd,nd->n", array, array) / array.shape[1] + 1) ** 3).sum())
    return (_kernel_sum(array, array) - own) / (len(array) * (len(array) - 1))


def _kernel_sum(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Sum of (a.b / d + 1)^3 over all pairs, in blocks of bounded memory."""
    rows = max(1, 4_000_000 // len(other))
    parts = [((one[at : at + rows] @ other.T / one.shape[1] + 1) ** 3).sum() for at in range(0, len(one), rows)]
    return float(np.sum(parts))
