"""Measures of masks, volume by volume: overlap, contours in mm, lesions found, false positives, and what empty means.

A measure that is undefined because a mask is empty never takes its best value: it takes the worst one ("penalty"), or
is left out and counted ("exclude").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skiagraph.evaluation.arrays import real_array, same_shape

__all__ = [
    "EmptyPolicy",
    "VolumeScores",
    "average_precision",
    "dice",
    "foreground_iou",
    "hd95_contour",
    "hd95_filled",
    "lesion_recall",
    "resized_mask",
    "score_volume",
    "surface_dice",
]

EmptyPolicy = Literal["penalty", "exclude"]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class VolumeScores:
    """What one volume scored; NaN where a measure is left out because a mask is empty.

    Args:
        dice, iou: overlap; NaN where the truth is empty.
        hd95_mm: 95th percentile of contour distances.
        surface_dice: share of both contours within the tolerance of the other.
        lesions, found: connected parts of the truth, and those that the mask touches enough.
        ap: average precision of the map over voxels; NaN where the truth is empty or no map was given.
        false_ml: volume marked outside the truth.
        truth_ml, marked_ml: volumes.
        empty: "", "mask" (nothing was found), "truth" (nothing was to be found) or "both".
    """

    dice: float
    iou: float
    hd95_mm: float
    surface_dice: float
    lesions: int
    found: int
    ap: float
    false_ml: float
    truth_ml: float
    marked_ml: float
    empty: Literal["", "mask", "truth", "both"]

    @property
    def recall(self) -> float:
        """Share of the lesions that were found; NaN where there are none."""
        return self.found / self.lesions if self.lesions else math.nan


def _masks(mask: ArrayLike, truth: ArrayLike) -> tuple[BoolArray, BoolArray]:
    found, real = np.asarray(mask), np.asarray(truth)
    for name, array in (("mask", found), ("truth", real)):
        if array.dtype != np.bool_:
            raise TypeError(f"{name}: found {array.dtype}; a boolean array is needed. Compare with a threshold first.")
        if array.ndim not in (2, 3) or array.size == 0:
            raise ValueError(f"{name}: found shape {array.shape}; (H, W) or (D, H, W) with voxels is needed.")
    same_shape(found, real, ("mask", "truth"))
    return found, real


def dice(mask: ArrayLike, truth: ArrayLike) -> float:
    """2 |A and B| / (|A| + |B|), without smoothing; NaN where both are empty.

    Args:
        mask, truth: boolean, (H, W) or (D, H, W).
    """
    found, real = _masks(mask, truth)
    total = int(found.sum()) + int(real.sum())
    return math.nan if total == 0 else 2 * int((found & real).sum()) / total


def foreground_iou(mask: ArrayLike, truth: ArrayLike) -> float:
    """|A and B| / |A or B| of the foreground alone (not a mean over classes); NaN where both are empty."""
    found, real = _masks(mask, truth)
    union = int((found | real).sum())
    return math.nan if union == 0 else int((found & real).sum()) / union


def _spacing(spacing_mm: Sequence[float], dimensions: int) -> tuple[float, ...]:
    if len(spacing_mm) != dimensions or not all(0 < step < math.inf for step in spacing_mm):
        raise ValueError(f"spacing_mm: found {tuple(spacing_mm)}; {dimensions} lengths above 0 are needed.")
    return tuple(float(step) for step in spacing_mm)


def _diagonal(shape: tuple[int, ...], spacing: tuple[float, ...]) -> float:
    return math.sqrt(sum((side * step) ** 2 for side, step in zip(shape, spacing, strict=True)))


def _undefined(found: BoolArray, real: BoolArray, policy: EmptyPolicy, worst: float) -> float | None:
    """The value where a mask is empty; None where both have voxels."""
    if policy not in ("penalty", "exclude"):
        raise ValueError(f"policy: found {policy!r}; allowed are 'penalty' and 'exclude'.")
    if found.any() and real.any():
        return None
    return worst if policy == "penalty" else math.nan


def _contour_distances(
    found: BoolArray, real: BoolArray, spacing: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances in mm from each contour's voxels (those that touch the outside by a face) to the other contour."""
    from scipy import ndimage

    edges = [part & ~ndimage.binary_erosion(part) for part in (found, real)]
    to = [ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    return to[1][edges[0]], to[0][edges[1]]


def hd95_contour(
    mask: ArrayLike, truth: ArrayLike, spacing_mm: Sequence[float], *, policy: EmptyPolicy = "penalty"
) -> float:
    """The larger of both directed 95th percentiles of distances between contours, in mm.

    Args:
        mask, truth: boolean; two axes are one slice, three a volume.
        spacing_mm: of every axis.
        policy: where one is empty: the diagonal of the image, or NaN. Never 0, which the released code gives.
    """
    found, real = _masks(mask, truth)
    spacing = _spacing(spacing_mm, found.ndim)
    instead = _undefined(found, real, policy, _diagonal(found.shape, spacing))
    if instead is not None:
        return instead
    return max(float(np.percentile(distances, 95)) for distances in _contour_distances(found, real, spacing))


def hd95_filled(mask: ArrayLike, truth: ArrayLike) -> float:
    """The released code's value, in pixels: 95th percentile over both directed distances between *filled* sets.

    For comparison only: overlap counts as 0, so that it is smaller than a contour distance. One slice; an empty mask is
    refused, where the released code gives 0, the best value.

    Args:
        mask, truth: boolean (H, W).
    """
    from scipy import ndimage

    found, real = _masks(mask, truth)
    if not (found.any() and real.any()):
        raise ValueError("mask, truth: one is empty; this value is defined for two masks with pixels.")
    to_truth = ndimage.distance_transform_edt(~real)[found]
    to_mask = ndimage.distance_transform_edt(~found)[real]
    return float(np.percentile(np.concatenate([to_truth, to_mask]), 95))


def surface_dice(
    mask: ArrayLike,
    truth: ArrayLike,
    spacing_mm: Sequence[float],
    *,
    tolerance_mm: float = 3.0,
    policy: EmptyPolicy = "penalty",
) -> float:
    """Share of both contours that lies within a tolerance of the other (Nikolov et al. 2021), by voxels.

    Args:
        mask, truth: boolean; two axes are one slice, three a volume.
        spacing_mm: of every axis.
        tolerance_mm: >= 0.
        policy: where one is empty: 0, or NaN.
    """
    found, real = _masks(mask, truth)
    spacing = _spacing(spacing_mm, found.ndim)
    if not 0 <= tolerance_mm < math.inf:
        raise ValueError(f"tolerance_mm: found {tolerance_mm}; a length of at least 0 is needed.")
    instead = _undefined(found, real, policy, 0.0)
    if instead is not None:
        return instead
    near = np.concatenate(_contour_distances(found, real, spacing)) <= tolerance_mm
    return float(near.mean())


def lesion_recall(mask: ArrayLike, truth: ArrayLike, *, least_overlap: float = 0.1) -> tuple[int, int]:
    """(found, lesions): connected parts of the truth (edges and corners touch), and those covered enough by the mask.

    Args:
        mask, truth: boolean, (H, W) or (D, H, W).
        least_overlap: share of a part that must be marked, in (0, 1].
    """
    from scipy import ndimage

    found, real = _masks(mask, truth)
    if not 0 < least_overlap <= 1:
        raise ValueError(f"least_overlap: found {least_overlap}; a share in (0, 1] is needed.")
    parts, count = ndimage.label(real, np.ones((3,) * real.ndim))
    covered = ndimage.mean(found, parts, range(1, count + 1)) if count else np.zeros(0)
    return int((np.asarray(covered) >= least_overlap).sum()), int(count)


def average_precision(maps: ArrayLike, truth: ArrayLike) -> float:
    """Sum over thresholds of (R_n - R_(n-1)) P_n, equal values taken together; NaN where the truth is empty.

    Its chance level is the share of lesion voxels.

    Args:
        maps: real, larger where a lesion is likelier.
        truth: boolean of the same shape.
    """
    values = real_array(maps, "maps").ravel()
    marks = np.asarray(truth)
    if marks.dtype != np.bool_ or marks.size != values.size:
        raise ValueError(f"truth: found {marks.dtype} of {marks.size}; {values.size} booleans are needed.")
    marks = marks.ravel()
    total = int(marks.sum())
    if total == 0:
        return math.nan
    order = np.argsort(-values, kind="stable")
    last = np.append(np.flatnonzero(np.diff(values[order])), values.size - 1)
    true = np.cumsum(marks[order])[last]
    precision = true / (last + 1)
    return float((np.diff(true, prepend=0) * precision).sum() / total)


def score_volume(
    mask: ArrayLike,
    truth: ArrayLike,
    spacing_mm: Sequence[float],
    *,
    maps: ArrayLike | None = None,
    inside: ArrayLike | None = None,
    tolerance_mm: float = 3.0,
    least_overlap: float = 0.1,
    policy: EmptyPolicy = "penalty",
) -> VolumeScores:
    """All measures of one volume.

    Args:
        mask, truth: boolean (D, H, W), or (H, W).
        spacing_mm: of every axis.
        maps: real of the same shape, for the average precision.
        inside: boolean; voxels over which the average precision is taken, such as the brain. None: all.
        tolerance_mm: of the surface Dice.
        least_overlap: of a lesion that counts as found.
        policy: what HD95 and surface Dice are where only the mask is empty. Where the truth is empty, overlap and
            contour measures are NaN: such volumes are judged by `false_ml` alone.
    """
    found, real = _masks(mask, truth)
    voxel_ml = math.prod(_spacing(spacing_mm, found.ndim)) / 1000
    present = bool(real.any())
    hits, lesions = lesion_recall(found, real, least_overlap=least_overlap)
    chosen: Any = slice(None) if inside is None else np.asarray(inside) != 0
    empties: dict[tuple[bool, bool], Literal["", "mask", "truth", "both"]] = {
        (True, True): "",
        (False, True): "mask",
        (True, False): "truth",
        (False, False): "both",
    }
    return VolumeScores(
        dice=dice(found, real) if present else math.nan,
        iou=foreground_iou(found, real) if present else math.nan,
        hd95_mm=hd95_contour(found, real, spacing_mm, policy=policy) if present else math.nan,
        surface_dice=surface_dice(found, real, spacing_mm, tolerance_mm=tolerance_mm, policy=policy)
        if present
        else math.nan,
        lesions=lesions,
        found=hits,
        ap=average_precision(np.asarray(maps)[chosen], real[chosen]) if present and maps is not None else math.nan,
        false_ml=float((found & ~real).sum()) * voxel_ml,
        truth_ml=float(real.sum()) * voxel_ml,
        marked_ml=float(found.sum()) * voxel_ml,
        empty=empties[bool(found.any()), present],
    )


def resized_mask(mask: ArrayLike, size: tuple[int, int], released: bool = False) -> BoolArray:
    """A mask (H, W) on another grid: the nearest pixel, or as released, antialiased bilinear and > 0, which dilates.

    Of a square of 30 x 30 pixels in 240 the released rule makes 870 pixels of 224 x 224, where 28 x 28 = 784 are due.
    """
    from torch import from_numpy
    from torch.nn.functional import interpolate

    values = from_numpy(_masks(mask, mask)[0].astype(np.float32))[None, None]
    how: dict[str, Any] = {"mode": "bilinear", "antialias": True} if released else {"mode": "nearest-exact"}
    result: BoolArray = interpolate(values, size, **how)[0, 0].numpy() > 0
    return result
