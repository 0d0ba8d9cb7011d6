"""Confidence intervals of mean scores and of mean differences between two methods on the same cases.

Slices of one head are not independent. Give `groups` (one label per value, e.g. the head) and whole groups are drawn;
without it every value counts as independent and the interval is too narrow for correlated ones.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skiagraph.evaluation.arrays import real_array, same_shape

__all__ = ["Interval", "mean_interval", "paired_difference"]


@dataclass(frozen=True)
class Interval:
    """A mean with its percentile bootstrap interval.

    Args:
        mean: mean over all values.
        low: lower end.
        high: upper end.
        level: nominal share of intervals that hold the true mean, e.g. 0.95.
        values: number of values.
        groups: number of independent units that were drawn.
    """

    mean: float
    low: float
    high: float
    level: float
    values: int
    groups: int

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"


def mean_interval(
    values: ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> Interval:
    """Mean of scores with its percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13).

    Args:
        values: (n,) one finite score per case, n >= 2.
        level: in (0, 1).
        resamples: number of bootstrap samples, >= 100.
        seed: the interval is a function of the values, the groups and this number.
        groups: n labels; values with equal labels are drawn together. None: each value is a group of its own.
    """
    array = real_array(values, "values")
    if array.ndim != 1:
        raise ValueError(f"values: found shape {array.shape}; allowed is one score per case, (n,).")
    if not 0 < level < 1:
        raise ValueError(f"level: found {level}; it must be in (0, 1), e.g. 0.95.")
    if resamples < 100:
        raise ValueError(f"resamples: found {resamples}; at least 100 are needed, thousands for stable ends.")
    sums, counts = _by_group(array, groups)
    means = _resampled_means(sums, counts, resamples, seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(array.mean()), float(low), float(high), level, array.size, sums.size)


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> Interval:
    """Mean of first - second on the same cases with its bootstrap interval; pairs are drawn, so shared effects cancel.

    Args:
        first: (n,) scores of one method.
        second: (n,) scores of the other, same cases in the same order.
        level: see `mean_interval`.
        resamples: see `mean_interval`.
        seed: see `mean_interval`.
        groups: see `mean_interval`.
    """
    one, other = real_array(first, "first"), real_array(second, "second")
    same_shape(one, other, ("first", "second"))
    return mean_interval(one - other, level=level, resamples=resamples, seed=seed, groups=groups)


def _by_group(
    values: NDArray[np.float64], groups: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and number of the values of every group, in order of first appearance."""
    labels = range(values.size) if groups is None else groups
    if len(labels) != values.size:
        raise ValueError(f"groups: found {len(labels)} labels for {values.size} values; give one for each.")
    position: dict[Hashable, int] = {}
    index = np.array([position.setdefault(label, len(position)) for label in labels])
    if len(position) < 2:
        raise ValueError("groups: found one independent unit; an interval needs at least two.")
    return np.bincount(index, values).astype(np.float64), np.bincount(index).astype(np.float64)


def _resampled_means(
    sums: NDArray[np.float64], counts: NDArray[np.float64], resamples: int, seed: int
) -> NDArray[np.float64]:
    """Means (resamples,) over groups drawn with replacement, in chunks of bounded memory."""
    generator = np.random.default_rng(seed)
    rows = max(1, 1_000_000 // sums.size)
    parts = []
    for start in range(0, resamples, rows):
        drawn = generator.integers(0, sums.size, (min(rows, resamples - start), sums.size))
        parts.append(sums[drawn].sum(1) / counts[drawn].sum(1))
    return np.concatenate(parts)
