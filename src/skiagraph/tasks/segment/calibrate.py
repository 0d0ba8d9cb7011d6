"""Thresholds without a single mask: calibrated on normal images at a stated rate, or by rules that need none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.errors import DataError, InputError

__all__ = [
    "anofpdm_quantile",
    "calibrated_threshold",
    "foreground_quantile",
    "learned_signs",
    "needed_normals",
    "otsu_threshold",
    "own_scale",
    "require_enough",
    "tolerance_limit",
]

Maps = NDArray[np.floating[Any]]


def foreground_quantile(maps: Maps, foreground: NDArray[np.bool_], area: float) -> float:
    """q = the (1 - a) quantile of one image's map inside its foreground.

    Args:
        maps: (H, W) or (D, H, W).
        foreground: bool of the same shape.
        area: a, share of the foreground that may lie above, in (0, 1).
    """
    if not 0 < area < 1:
        raise InputError(f"area: found {area}; allowed between 0 and 1, such as 0.01")
    if maps.shape != foreground.shape:
        raise ValueError(f"foreground: found shape {foreground.shape} for a map of {maps.shape}; they must be equal.")
    values = maps[foreground]
    if values.size == 0:
        raise DataError("foreground: found none; an image without content has no map to calibrate on. Leave it out")
    if not np.isfinite(values).all():
        raise DataError("maps: found values that are not finite inside the foreground; look at the prior")
    return float(np.quantile(values, 1 - area))


def needed_normals(delta: float) -> int:
    """Fewest normal images for a rate delta: the smallest n with ceil((n + 1)(1 - delta)) <= n."""
    if not 0 < delta < 1:
        raise InputError(f"delta: found {delta}; allowed between 0 and 1, such as 0.1")
    count = max(1, math.ceil(1 / delta - 1 - 1e-9))
    while _rank(count, delta) > count:
        count += 1
    return count


def require_enough(count: int, delta: float) -> None:
    """Refuse so few normal images that no threshold has the rate.

    Args:
        count: of normal images.
        delta: rate, in (0, 1).
    """
    least = needed_normals(delta)
    if count < least:
        raise DataError(
            f"normals: found {count}; a rate of delta = {delta:g} needs at least {least}. Add normal images, or "
            "raise delta"
        )


def calibrated_threshold(statistics: Sequence[float] | Maps, delta: float) -> float:
    """theta = the ceil((n + 1)(1 - delta))-th smallest statistic of n normal images.

    A further normal image, exchangeable with them, exceeds theta with a probability of at most delta. With
    `foreground_quantile` as statistic, its false-positive share is at most a with a probability of at least 1 - delta.

    Args:
        statistics: one number a normal image; normals that the prior was not trained on.
        delta: rate, in (0, 1).
    """
    values = np.sort(np.asarray(statistics, dtype=np.float64))
    if values.ndim != 1 or not np.isfinite(values).all():
        raise DataError("statistics: allowed one finite number a normal image; look at the maps")
    require_enough(len(values), delta)
    return float(values[_rank(len(values), delta) - 1])


def tolerance_limit(statistics: Sequence[float] | Maps, delta: float, confidence: float) -> float:
    """What a share delta of further normal images exceeds at most, with a stated confidence: a tolerance limit.

    exp(mean + k deviation) of the logarithms, taken as normal, k = t'(confidence; n - 1, z sqrt(n)) / sqrt(n) from the
    noncentral t distribution and z, the (1 - delta) quantile of the normal one; at least the rank of
    `calibrated_threshold`. Statistics below a twentieth of the largest count as that much.

    Args:
        statistics: one number of at least 0 a normal image.
        delta: rate, in (0, 1).
        confidence: in (0, 1).
    """
    from scipy.stats import nct, norm

    least = calibrated_threshold(statistics, delta)
    values = np.asarray(statistics, dtype=np.float64)
    if not 0 < confidence < 1 or len(values) < 3 or values.min() < 0:
        raise InputError(
            f"confidence: found {confidence}, for {len(values)} statistics from {values.min():g}; allowed between 0 "
            "and 1, for at least 3 normal images with statistics of at least 0"
        )
    if values.max() == 0:
        return 0.0
    logs, count = np.log(np.maximum(values, values.max() / 20)), len(values)
    factor = nct.ppf(confidence, count - 1, norm.ppf(1 - delta) * math.sqrt(count)) / math.sqrt(count)
    return max(least, float(np.exp(logs.mean() + factor * logs.std(ddof=1))))


def own_scale(maps: Maps, foreground: NDArray[np.bool_]) -> float:
    """1.4826 times the median absolute deviation of a map inside its foreground: its noise, whatever lesion there is.

    Args:
        maps: (H, W) or (D, H, W).
        foreground: bool of the same shape.
    """
    values = maps[foreground]
    scale = 1.4826 * float(np.median(np.abs(values - np.median(values)))) if values.size else 0.0
    if not (scale > 0 and math.isfinite(scale)):
        raise DataError("maps: more than half of the foreground has one value; the map has no noise to measure it by")
    return scale


def _rank(count: int, delta: float) -> int:
    return max(1, math.ceil((count + 1) * (1 - delta) - 1e-9))


def anofpdm_quantile(strength: float, strongest: float, low: float = 0.90, high: float = 0.98) -> float:
    """The map quantile that AnoFPDM takes as threshold: the stronger the map, the larger the share it marks.

    q = high - (high - low) min(strength / strongest, 1). Che et al., WACV workshops 2025.

    Args:
        strength: largest mean square of the image's contrast.
        strongest: largest strength on validation images, > 0.
        low, high: quantiles for the strongest and for an empty image.
    """
    if not strongest > 0 or not math.isfinite(strength):
        raise InputError(f"strength, strongest: found {strength}, {strongest}; allowed finite, the second above 0")
    return high - (high - low) * min(max(strength / strongest, 0.0), 1.0)


def otsu_threshold(maps: Maps) -> float:
    """Otsu's threshold of an image's own 256-bin histogram, as released; it always marks something.

    Args:
        maps: (H, W); a constant map is refused.
    """
    from skimage.filters import threshold_otsu

    if not np.isfinite(maps).all() or maps.min() == maps.max():
        raise DataError("maps: found a map that is constant or not finite; Otsu's threshold does not exist")
    return float(threshold_otsu(np.asarray(maps)))


def learned_signs(present: NDArray[np.floating[Any]], absent: NDArray[np.floating[Any]]) -> tuple[float, ...]:
    """The sign of every channel, learned from image labels alone.

    A lesion is bright in a channel where the upper end of its map tells images with from images without it better than
    the lower end does; measured by the area under the ROC curve (Mann and Whitney).

    Args:
        present: (N, 2, C): lower and upper quantile of each channel's map, for images with the label.
        absent: (M, 2, C), the same for images without.
    """
    if present.ndim != 3 or absent.ndim != 3 or present.shape[1:] != absent.shape[1:] or present.shape[1] != 2:
        raise ValueError(f"present, absent: found {present.shape}, {absent.shape}; allowed (N, 2, C) and (M, 2, C).")
    signs = []
    for channel in range(present.shape[2]):
        up = _separation(present[:, 1, channel], absent[:, 1, channel])
        down = _separation(-present[:, 0, channel], -absent[:, 0, channel])
        signs.append(1.0 if up >= down else -1.0)
    return tuple(signs)


def _separation(present: NDArray[np.floating[Any]], absent: NDArray[np.floating[Any]]) -> float:
    from scipy.stats import mannwhitneyu

    statistic = mannwhitneyu(present, absent).statistic
    return float(statistic) / (len(present) * len(absent))
