"""From a map to a mask: smoothing, threshold, connected parts, holes, smallest volume; and the released way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.errors import DataError, InputError
from skiagraph.tasks.segment.calibrate import otsu_threshold

__all__ = ["MaskRules", "Part", "mask_of", "parts_of", "released_mask", "smoothed"]

Maps = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class MaskRules:
    """What turns values above a threshold into lesions.

    Args:
        minimum_mm3: smallest volume of a part (2-D: area times `thickness`), >= 0.
        fill_holes: fill what a part encloses.
        keep: the largest parts that are kept; None for all.
    """

    minimum_mm3: float = 0.0
    fill_holes: bool = True
    keep: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.minimum_mm3 < math.inf:
            raise InputError(f"minimum_mm3: found {self.minimum_mm3}; allowed at least 0")
        if self.keep is not None and self.keep < 1:
            raise InputError(f"keep: found {self.keep}; allowed at least 1, or nothing to keep all")


@dataclass(frozen=True)
class Part:
    """One connected part of a mask.

    Args:
        volume_mm3: its volume.
        mass: sum over it of the map beyond the threshold, times the voxel's volume.
        peak: largest value of the map in it.
    """

    volume_mm3: float
    mass: float
    peak: float


def smoothed(maps: Maps, foreground: NDArray[np.bool_], spacing_mm: Sequence[float], sigma_mm: float) -> Maps:
    """Gaussian smoothing in mm, normalised within the foreground, so that air does not dilute its border.

    Args:
        maps: (H, W) or (D, H, W).
        foreground: bool of the same shape; outside, the result is 0.
        spacing_mm: of every axis.
        sigma_mm: standard deviation; 0 for none.
    """
    from scipy.ndimage import gaussian_filter

    _check(maps, foreground, spacing_mm)
    inside = foreground.astype(np.float64)
    if sigma_mm == 0:
        plain: Maps = np.where(foreground, maps, 0).astype(np.float32)
        return plain
    width = [sigma_mm / step for step in spacing_mm]
    weight = gaussian_filter(inside, width)
    blurred = gaussian_filter(maps * inside, width) / np.maximum(weight, 1e-12)
    result: Maps = np.where(foreground, blurred, 0).astype(np.float32)
    return result


def mask_of(
    maps: Maps,
    threshold: float,
    foreground: NDArray[np.bool_],
    spacing_mm: Sequence[float],
    rules: MaskRules,
    least_mass: float = -math.inf,
) -> NDArray[np.bool_]:
    """The mask: map > threshold inside the foreground, parts (8- or 26-connected) that are large and strong enough.

    Strictly boolean, ties are outside. Nothing above the threshold gives an empty mask.

    Args:
        maps: (H, W) or (D, H, W), smoothed already.
        threshold: in units of the map.
        foreground: bool of the same shape.
        spacing_mm: of every axis; in 2-D the slice's thickness counts as 1 mm.
        rules: volumes, holes, number.
        least_mass: parts with less of `Part.mass` are dropped (calibrated on normals).
    """
    from scipy.ndimage import binary_fill_holes

    _check(maps, foreground, spacing_mm)
    found = (maps > threshold) & foreground
    labels, parts = parts_of(found, maps, threshold, spacing_mm)
    order = sorted(range(len(parts)), key=lambda number: (-parts[number].volume_mm3, number))
    kept = [n for n in order if parts[n].volume_mm3 >= rules.minimum_mm3 and parts[n].mass >= least_mass]
    mask: NDArray[np.bool_] = np.isin(labels, [number + 1 for number in kept[: rules.keep]]) & found
    if rules.fill_holes and mask.any():
        mask = binary_fill_holes(mask) & foreground
    return mask


def parts_of(
    mask: NDArray[np.bool_], maps: Maps, threshold: float, spacing_mm: Sequence[float]
) -> tuple[NDArray[np.int32], list[Part]]:
    """Connected parts, 8-connected in 2-D and 26-connected in 3-D: labels 1, 2, ... and what each part is.

    Args:
        mask: bool.
        maps: values of the same shape.
        threshold: what counts beyond it as mass.
        spacing_mm: of every axis.
    """
    from scipy.ndimage import generate_binary_structure, label

    labels, count = label(mask, generate_binary_structure(mask.ndim, mask.ndim))
    voxel = math.prod(spacing_mm)
    flat, values = labels.ravel(), np.asarray(maps, dtype=np.float64).ravel()
    sizes = np.bincount(flat, minlength=count + 1)
    masses = np.bincount(flat, weights=values - threshold, minlength=count + 1)
    peaks = np.full(count + 1, -np.inf)
    np.maximum.at(peaks, flat, values)
    parts = [Part(float(sizes[n]) * voxel, float(masses[n]) * voxel, float(peaks[n])) for n in range(1, count + 1)]
    return labels.astype(np.int32), parts


def released_mask(maps: Maps) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks as released: min-max over the whole batch, Otsu for each image, all 4-connected parts that tie for largest.

    Differs from the released code in that pixels equal to the threshold are outside (there they keep its value), and in
    that a constant batch is refused (there it divides 0 by 0).

    Args:
        maps: (B, H, W).

    Returns:
        Masks (B, H, W) before and after the choice of parts.
    """
    from scipy.ndimage import label

    if maps.ndim != 3:
        raise ValueError(f"maps: found shape {maps.shape}; allowed (B, H, W).")
    low, high = float(maps.min()), float(maps.max())
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise DataError("maps: found a batch that is constant or not finite; it cannot be scaled to [0, 1]")
    scaled = (maps - low) / (high - low)
    whole = np.stack([one > otsu_threshold(one) for one in scaled])
    largest = np.zeros_like(whole)
    for number, one in enumerate(whole):
        labels, count = label(one)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        if count:
            largest[number] = np.isin(labels, np.flatnonzero(sizes == sizes.max()) + 1)
    return whole, largest


def _check(maps: Maps, foreground: NDArray[np.bool_], spacing_mm: Sequence[float]) -> None:
    if maps.ndim not in (2, 3) or maps.shape != foreground.shape or foreground.dtype != np.bool_:
        raise ValueError(
            f"maps, foreground: found shapes {maps.shape}, {foreground.shape} ({foreground.dtype}); allowed equal, "
            "(H, W) or (D, H, W), the second of bool."
        )
    if len(spacing_mm) != maps.ndim or min(spacing_mm) <= 0:
        raise InputError(f"spacing_mm: found {tuple(spacing_mm)}; allowed {maps.ndim} positive numbers")
    if not np.isfinite(maps[foreground]).all():
        raise DataError("maps: found values that are not finite; no mask is made of them. Look at the prior")
