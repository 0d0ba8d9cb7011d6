"""From maps to targets without a mask: confident pixels, and a band between two quantiles that is ignored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from skiagraph.errors import DataError, InputError

__all__ = ["IGNORED", "Targets", "band_of", "banded_loss", "targets_of"]

IGNORED = -1
FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Targets:
    """What a network is to learn of every pixel.

    Args:
        labels: (N, H, W) int8: 1 lesion, 0 none, -1 ignored.
        weights: (N, H, W) float32 in [0, 1]: confidence; 0 where ignored.
    """

    labels: NDArray[np.int8]
    weights: NDArray[np.float32]


def band_of(normal: FloatArray, foreground: NDArray[np.bool_], low: float, high: float) -> tuple[float, float]:
    """The values between which a pixel says nothing: two quantiles of the maps of normal images inside the foreground.

    Args:
        normal: (N, H, W) maps of images labelled "absent".
        foreground: bool of the same shape.
        low, high: quantiles, rising, in (0, 1).
    """
    if not 0 < low < high < 1:
        raise InputError(f"low, high: found {low}, {high}; two rising quantiles between 0 and 1 are needed")
    values = normal[foreground]
    if values.size == 0:
        raise DataError("foreground: found none in the normal images; there is nothing to take quantiles of")
    below, above = (float(value) for value in np.quantile(values, (low, high)))
    if not below < above:
        raise DataError(f"maps: quantiles {low} and {high} of the normal images are both {below:.4g}; look at the maps")
    return below, above


def targets_of(
    maps: FloatArray, present: NDArray[np.bool_], foreground: NDArray[np.bool_], band: tuple[float, float]
) -> Targets:
    """Targets of all images: 0 everywhere in normal ones; in the others 1 above the band, 0 below it and in air.

    Confidence rises from one half at the band's edge to 1 one band's width away from it.

    Args:
        maps: (N, H, W), larger where a lesion is likelier.
        present: (N,) image labels.
        foreground: (N, H, W) bool.
        band: from `band_of`.
    """
    low, high = band
    width = high - low
    labels = np.full(maps.shape, IGNORED, dtype=np.int8)
    labels[maps < low] = 0
    labels[(maps > high) & foreground] = 1
    labels[~foreground] = 0
    beyond = np.where(maps > high, maps - high, low - maps) / width
    weights = np.clip(0.5 + 0.5 * beyond, 0, 1).astype(np.float32)
    weights[~foreground] = 1
    labels[~present], weights[~present] = 0, 1
    weights[labels == IGNORED] = 0
    return Targets(labels, weights)


def banded_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Loss of each image (B,): weighted cross-entropy plus soft Dice over the pixels that are not ignored.

    The Dice part is left out for images without a lesion pixel, where it has no meaning.

    Args:
        logits: (B, H, W), or (B, D, H, W).
        labels: of the same shape, 1, 0 or -1.
        weights: of the same shape, in [0, 1], 0 where ignored.
    """
    logits, labels, weights = (values.flatten(1) for values in (logits, labels, weights))
    known = weights * (labels >= 0)
    target = (labels == 1).to(logits.dtype)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    plain = (entropy * known).sum(1) / known.sum(1).clamp(min=1)
    chance = logits.sigmoid()
    overlap = 2 * (chance * target * known).sum(1) + 1
    dice = 1 - overlap / ((chance * known).sum(1) + (target * known).sum(1) + 1)
    return plain + torch.where(target.any(1), dice, torch.zeros_like(dice))
