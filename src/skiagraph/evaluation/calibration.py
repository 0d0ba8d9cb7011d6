"""Whether stated uncertainty is true: coverage of intervals, reliability curves, spread against error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skiagraph.evaluation.arrays import real_array, same_shape, selected

__all__ = [
    "Reliability",
    "error_by_deviation",
    "error_correlation",
    "gaussian_coverage",
    "reliability",
    "sample_coverage",
    "spread_to_error",
]

_LEVELS = tuple(round(0.05 * step, 2) for step in range(1, 20))


@dataclass(frozen=True)
class Reliability:
    """Nominal levels of central intervals and the share of elements that the intervals hold.

    Args:
        nominal: levels, increasing, in (0, 1).
        observed: share of elements inside, one for each level; equal to `nominal` when calibrated.
    """

    nominal: tuple[float, ...]
    observed: tuple[float, ...]

    @property
    def gap(self) -> float:
        """Mean |observed - nominal|: 0 when calibrated."""
        return float(np.abs(np.subtract(self.observed, self.nominal)).mean())


def _check_level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level: found {level}; it must be in (0, 1), e.g. 0.9.")
    return float(level)


def _three(
    mean: ArrayLike, deviation: ArrayLike, truth: ArrayLike, mask: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """|truth - mean| and deviation of the selected elements."""
    centre, spread, target = real_array(mean, "mean"), real_array(deviation, "deviation"), real_array(truth, "truth")
    same_shape(centre, target, ("mean", "truth"))
    same_shape(spread, target, ("deviation", "truth"))
    if (spread < 0).any():
        raise ValueError(f"deviation: found {spread.min():.3g}; standard deviations are >= 0.")
    chosen = selected(mask, target.shape)
    return np.abs(target - centre)[chosen], spread[chosen]


def _half_width(level: float, samples: int | None) -> float:
    """Standard deviations on either side of the mean of a central interval of a new draw."""
    from scipy import stats

    if samples is None:
        return float(stats.norm.ppf((1 + level) / 2))
    if samples < 2:
        raise ValueError(f"samples: found {samples}; a standard deviation needs at least 2.")
    return float(stats.t.ppf((1 + level) / 2, samples - 1) * np.sqrt(1 + 1 / samples))


def gaussian_coverage(
    mean: ArrayLike,
    deviation: ArrayLike,
    truth: ArrayLike,
    level: float = 0.9,
    mask: ArrayLike | None = None,
    *,
    samples: int | None = None,
) -> float:
    """Share of elements whose truth lies in the central interval mean +- q deviation; equal to `level` when calibrated.

    q is the Gaussian quantile. Where mean and deviation (with divisor K - 1) were estimated from K posterior samples,
    say so: q is then that of Student's t with K - 1 degrees of freedom, times sqrt(1 + 1/K), with which K exact
    Gaussian samples have the nominal coverage for every K.

    Args:
        mean: real, any shape.
        deviation: same shape, >= 0; an element of deviation 0 is covered only when exact.
        truth: same shape.
        level: in (0, 1).
        mask: broadcastable to the shape; only elements where it is not zero count.
        samples: K, or None for a mean and deviation known otherwise.
    """
    error, spread = _three(mean, deviation, truth, mask)
    return float((error <= _half_width(_check_level(level), samples) * spread).mean())


def sample_coverage(samples: ArrayLike, truth: ArrayLike, level: float = 0.9, mask: ArrayLike | None = None) -> float:
    """Share of elements whose truth lies between the sample quantiles (1 - level)/2 and (1 + level)/2.

    Quantile p is at position p (K + 1) of the sorted samples (Weibull), for which a truth drawn like the samples has
    the nominal coverage whatever the distribution, up to interpolation between neighbours.

    Args:
        samples: (K, ...) real; K >= (1 + level) / (1 - level), 19 for 0.9: fewer reach no such quantile.
        truth: (...) real.
        level: in (0, 1).
        mask: broadcastable to (...); only elements where it is not zero count.
    """
    draws, target = real_array(samples, "samples"), real_array(truth, "truth")
    same_shape(draws[0], target, ("samples[0]", "truth"))
    level, count = _check_level(level), draws.shape[0]
    if (1 - level) / 2 * (count + 1) < 1 - 1e-9:
        raise ValueError(
            f"samples: found {count}; intervals of level {level} need at least {_needed(level)}. "
            "Draw more, lower the level, or use gaussian_coverage."
        )
    chosen = selected(mask, target.shape)
    low, high = np.quantile(draws[:, chosen], [(1 - level) / 2, (1 + level) / 2], axis=0, method="weibull")
    return float(((target[chosen] >= low) & (target[chosen] <= high)).mean())


def _needed(level: float) -> int:
    return int(np.ceil((1 + level) / (1 - level) - 1e-9))


def reliability(
    mean: ArrayLike,
    deviation: ArrayLike,
    truth: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    levels: Sequence[float] = _LEVELS,
    samples: int | None = None,
) -> Reliability:
    """`gaussian_coverage` at many levels.

    Args:
        mean: see `gaussian_coverage`.
        deviation: see `gaussian_coverage`.
        truth: see `gaussian_coverage`.
        mask: see `gaussian_coverage`.
        levels: increasing, each in (0, 1).
        samples: see `gaussian_coverage`.
    """
    error, spread = _three(mean, deviation, truth, mask)
    nominal = tuple(_check_level(level) for level in levels)
    return Reliability(nominal, tuple(float((error <= _half_width(x, samples) * spread).mean()) for x in nominal))


def error_correlation(
    mean: ArrayLike,
    deviation: ArrayLike,
    truth: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    kind: Literal["pearson", "spearman"] = "spearman",
) -> float:
    """Correlation of |truth - mean| and deviation over elements: does the uncertainty show where the error is?

    Even a perfect deviation does not reach 1: for Gaussian errors of known, varying deviation |error| still scatters.

    Args:
        mean: real, any shape.
        deviation: same shape, >= 0, not constant.
        truth: same shape.
        mask: broadcastable to the shape; only elements where it is not zero count.
        kind: "spearman" of ranks, or "pearson" of values.
    """
    from scipy import stats

    error, spread = _three(mean, deviation, truth, mask)
    if kind not in ("pearson", "spearman"):
        raise ValueError(f"kind: found {kind!r}; allowed are 'pearson' and 'spearman'.")
    if error.size < 3 or np.ptp(error) == 0 or np.ptp(spread) == 0:
        raise ValueError("deviation: found fewer than 3 elements, or a constant error or deviation: no correlation.")
    measure = stats.pearsonr if kind == "pearson" else stats.spearmanr
    return float(measure(error, spread).statistic)


def spread_to_error(
    mean: ArrayLike,
    deviation: ArrayLike,
    truth: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    samples: int | None = None,
) -> float:
    """Root mean squared deviation over root mean squared error: 1 when calibrated, below 1 when overconfident.

    With K samples the error of their mean has variance (1 + 1/K) times that of one draw, which is accounted for.

    Args:
        mean: real, any shape.
        deviation: same shape, >= 0.
        truth: same shape.
        mask: broadcastable to the shape; only elements where it is not zero count.
        samples: K, or None for a mean and deviation known otherwise.
    """
    error, spread = _three(mean, deviation, truth, mask)
    if not error.any():
        raise ValueError("mean: found no error at all; the ratio is undefined.")
    inflation = 1.0 if samples is None else 1 + 1 / samples
    return float(np.sqrt(inflation * (spread**2).mean() / (error**2).mean()))


def error_by_deviation(
    mean: ArrayLike,
    deviation: ArrayLike,
    truth: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    bins: int = 10,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Root mean squared deviation and error (bins,) of elements in groups of rising deviation; equal when calibrated.

    Args:
        mean: real, any shape.
        deviation: same shape, >= 0.
        truth: same shape.
        mask: broadcastable to the shape; only elements where it is not zero count.
        bins: number of groups of equal size, 1 to the number of elements.
    """
    error, spread = _three(mean, deviation, truth, mask)
    if not 1 <= bins <= error.size:
        raise ValueError(f"bins: found {bins}; allowed is 1 to the number of elements, {error.size}.")
    groups = np.array_split(np.argsort(spread, kind="stable"), bins)
    rms = [[np.sqrt((values[group] ** 2).mean()) for group in groups] for values in (spread, error)]
    return np.array(rms[0]), np.array(rms[1])
