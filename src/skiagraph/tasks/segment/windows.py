"""Maps of images that are not of the prior's size: overlapping windows, blended; slices of a volume, stacked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skiagraph.diffusion import Streams
from skiagraph.errors import InputError
from skiagraph.tasks.segment.labelled_prior import LabelledPrior
from skiagraph.tasks.segment.maps import difference_map
from skiagraph.tasks.segment.settings import DifferenceSettings
from skiagraph.training.classifier import Classifier
from skiagraph.training.order import derive_seed

__all__ = ["MapOfSlices", "count_windows", "foreground_of", "map_of_slices", "window_places"]

OnSlice = Callable[[int, int], None]
"""Told (slices done, slices in all)."""


@dataclass(frozen=True, eq=False)
class MapOfSlices:
    """Maps of the slices of one case.

    Args:
        maps: (D, H, W) float32; 0 where nothing was looked at.
        spread: (D, H, W) float32.
        calls: evaluations of the network for each window.
        classifier_calls: of the noisy classifier, with gradient, for each window.
        windows: number of windows looked at.
        message: what differs from what was asked; empty if nothing does.
    """

    maps: NDArray[np.float32]
    spread: NDArray[np.float32]
    calls: int
    classifier_calls: int
    windows: int
    message: str = ""


def map_of_slices(
    prior: LabelledPrior,
    slices: NDArray[np.float32],
    foreground: NDArray[np.bool_],
    settings: DifferenceSettings,
    seed: int,
    *,
    overlap: float = 0.5,
    batch: int = 8,
    classifier: Classifier | None = None,
    on_slice: OnSlice = lambda done, total: None,
) -> MapOfSlices:
    """Maps of all slices of a case; slices of the prior's size are one window each.

    Windows at one place share their noise through all slices, so that the map is smooth from slice to slice; where
    windows overlap they are averaged with Gaussian weights. No slice and no incomplete batch is ever dropped; windows
    without foreground are not looked at.

    Args:
        prior: the prior.
        slices: (D, C, H, W) in the prior's range and at its spacing, any size.
        foreground: (D, H, W) bool.
        settings: of the map.
        seed: of the case.
        overlap: share of a window that the next one covers again, in [0, 1).
        batch: windows at a time.
        classifier: noisy classifier, where the settings ask for one.
        on_slice: told how far it is.
    """
    if slices.ndim != 4 or foreground.shape != (slices.shape[0], *slices.shape[2:]):
        raise ValueError(
            f"slices, foreground: found {slices.shape}, {foreground.shape}; allowed (D, C, H, W), (D, H, W)"
        )
    size = prior.shape[1:]
    padded, inner = _padded(slices, size, prior.low)
    places = window_places(padded.shape[2:], size, overlap)
    weight = _importance(size)
    shape = (len(slices), *padded.shape[2:])
    sums, spreads, total = (np.zeros(shape, dtype=np.float32) for _ in range(3))
    wanted = _wanted(foreground, inner, shape, places, size)
    calls, guided, message = 0, 0, ""
    for start in range(0, len(wanted), batch):
        chosen = wanted[start : start + batch]
        windows = np.stack(
            [padded[number][:, row : row + size[0], column : column + size[1]] for number, row, column in chosen]
        )
        seeds = [derive_seed("skiagraph-segment", seed, f"{row},{column}") for _, row, column in chosen]
        found = difference_map(prior, torch.from_numpy(windows), settings, Streams(seeds, prior.device), classifier)
        for one, spread, (number, row, column) in zip(_host(found.maps), _host(found.spread), chosen, strict=True):
            part = (number, slice(row, row + size[0]), slice(column, column + size[1]))
            sums[part] += weight * one
            spreads[part] += weight * spread
            total[part] += weight
        calls, guided, message = found.calls, found.classifier_calls, message or found.message
        on_slice(min(start + batch, len(wanted)), len(wanted))
    seen = np.maximum(total, 1e-12)
    crop = (slice(None), *inner)
    means = [(values / seen).astype(np.float32)[crop] for values in (sums, spreads)]
    return MapOfSlices(means[0], means[1], calls, guided, len(wanted), message)


def count_windows(foreground: NDArray[np.bool_], size: Sequence[int], overlap: float) -> int:
    """How many windows `map_of_slices` looks at.

    Args:
        foreground: (D, H, W) bool.
        size: rows and columns of a window.
        overlap: share of a window that the next one covers again, in [0, 1).
    """
    padded, inner = _padded(foreground[:, None].astype(np.float32), size, 0.0)
    places = window_places(padded.shape[2:], size, overlap)
    return len(_wanted(foreground, inner, (len(foreground), *padded.shape[2:]), places, size))


def window_places(shape: Sequence[int], size: Sequence[int], overlap: float) -> list[tuple[int, int]]:
    """Upper left corners of windows that cover (H, W), the last ones flush with the border.

    Args:
        shape: (H, W), at least the window's.
        size: of the window.
        overlap: share of a window that the next one covers again, in [0, 1).
    """
    if not 0 <= overlap < 1:
        raise InputError(f"overlap: found {overlap}; allowed at least 0 and below 1, such as 0.5")
    axes = []
    for length, window in zip(shape, size, strict=True):
        step = max(1, round(window * (1 - overlap)))
        axes.append(sorted({*range(0, length - window + 1, step), length - window}))
    return [(row, column) for row in axes[0] for column in axes[1]]


def foreground_of(slices: NDArray[np.float32], low: float = -1.0, margin: float = 0.02) -> NDArray[np.bool_]:
    """What is not air: values above low by more than `margin` of a range of 2, with holes filled in each slice.

    Args:
        slices: (D, C, H, W) normalised.
        low: value of air.
        margin: how far above it content begins.
    """
    from scipy.ndimage import binary_fill_holes, binary_opening

    found: NDArray[np.bool_] = np.max(slices, axis=1) > low + 2 * margin
    result = np.stack([binary_fill_holes(binary_opening(one, iterations=1)) for one in found])
    return np.asarray(result, dtype=np.bool_)


def _padded(
    slices: NDArray[np.float32], size: Sequence[int], low: float
) -> tuple[NDArray[np.float32], tuple[slice, slice]]:
    """Slices with air around them where they are smaller than a window, and where they lie in it."""
    margins, inner = [(0, 0), (0, 0)], []
    for length, window in zip(slices.shape[2:], size, strict=True):
        before = max(0, window - length) // 2
        margins.append((before, max(0, window - length) - before))
        inner.append(slice(before, before + length))
    return np.pad(slices, margins, constant_values=low), (inner[0], inner[1])


def _importance(size: Sequence[int]) -> NDArray[np.float32]:
    from monai.data.utils import compute_importance_map

    weights: Tensor = compute_importance_map(tuple(size), mode="gaussian", sigma_scale=0.25)
    host: NDArray[np.float32] = np.maximum(weights.numpy(), 1e-3).astype(np.float32)
    return host


def _wanted(
    foreground: NDArray[np.bool_],
    inner: tuple[slice, slice],
    shape: Sequence[int],
    places: Sequence[tuple[int, int]],
    size: Sequence[int],
) -> list[tuple[int, int, int]]:
    """(slice, row, column) of the windows that hold foreground."""
    content = np.zeros(shape, dtype=np.bool_)
    content[(slice(None), *inner)] = foreground
    return [
        (number, row, column)
        for number in range(len(content))
        for row, column in places
        if content[number, row : row + size[0], column : column + size[1]].any()
    ]


def _host(values: Tensor) -> NDArray[np.float32]:
    host: NDArray[np.float32] = values[:, 0].detach().float().cpu().numpy()
    return host
