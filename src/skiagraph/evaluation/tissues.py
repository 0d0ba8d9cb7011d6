"""How well a labelled volume agrees with another, class by class: overlap, surface distance, volume."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ClassAgreement", "label_agreement"]


@dataclass(frozen=True)
class ClassAgreement:
    """One class of two labelled volumes.

    Args:
        dice: 2 |A and B| / (|A| + |B|); nan where both are empty.
        hd95_mm: 95th percentile of the surfaces' distances, the larger of both directions; nan where one is empty.
        volume_error: (|A| - |B|) / |B|; nan where the truth is empty.
    """

    dice: float
    hd95_mm: float
    volume_error: float


def label_agreement(
    found: ArrayLike, truth: ArrayLike, classes: Mapping[str, int], spacing_mm: tuple[float, ...]
) -> dict[str, ClassAgreement]:
    """Agreement of each class, by MONAI.

    Args:
        found: whole-number labels, (H, W) or (D, H, W).
        truth: same shape.
        classes: name to label.
        spacing_mm: of the voxels, one number an axis.
    """
    one, other = _labels(found, "found"), _labels(truth, "truth")
    if one.shape != other.shape or one.ndim not in (2, 3):
        raise ValueError(f"found: shape {one.shape}; it must be that of truth, {other.shape}, with two or three axes.")
    if len(spacing_mm) != one.ndim or not all(0 < step < np.inf for step in spacing_mm):
        raise ValueError(f"spacing_mm: found {spacing_mm}; allowed are {one.ndim} lengths above 0.")
    return {name: _agreement(one == label, other == label, spacing_mm) for name, label in classes.items()}


def _labels(value: ArrayLike, name: str) -> NDArray[np.int64]:
    array = np.asarray(value)
    if array.dtype.kind not in "biu":
        raise TypeError(f"{name}: found {array.dtype}; allowed are whole-number labels.")
    if array.size == 0:
        raise ValueError(f"{name}: found an empty array of shape {array.shape}; there is nothing to measure.")
    return array.astype(np.int64)


def _agreement(one: NDArray[np.bool_], other: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> ClassAgreement:
    import torch
    from monai.metrics import compute_dice, compute_hausdorff_distance

    sizes = int(one.sum()), int(other.sum())
    error = (sizes[0] - sizes[1]) / sizes[1] if sizes[1] else float("nan")
    if not any(sizes):
        return ClassAgreement(float("nan"), float("nan"), error)
    if not all(sizes):
        return ClassAgreement(0.0, float("nan"), error)
    pair = [torch.from_numpy(part)[None, None] for part in (one, other)]
    dice = compute_dice(pair[0], pair[1], include_background=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI 1.6 warns of an argument that it passes itself
        distance = compute_hausdorff_distance(
            pair[0], pair[1], include_background=True, percentile=95, spacing=list(spacing_mm)
        )
    return ClassAgreement(float(dice.squeeze()), float(distance.squeeze()), error)
