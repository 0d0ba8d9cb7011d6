"""Rivals without a network: the source as it is, its histogram moved, and a lookup of intensities.

A method that does not beat them has learned nothing about anatomy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skiagraph.diffusion.streams import Streams
from skiagraph.errors import InputError
from skiagraph.tasks.translate.method import SourceStack, Tools, Translation

__all__ = [
    "Copy",
    "HistogramMatching",
    "IntensityLookup",
    "copy_source",
    "fit_lookup",
    "histogram_matching",
    "intensity_lookup",
]


@dataclass(frozen=True)
class Copy:
    """The source itself: the floor."""

    def __call__(self, source: SourceStack, streams: Streams) -> Translation:
        """The images untouched."""
        return Translation(source.images, 0)


@dataclass(frozen=True, eq=False)
class HistogramMatching:
    """The monotone map of the source's foreground histogram to the target's, over the whole scan (scikit-image).

    It cannot exchange the order of two tissues: grey matter that is brighter than white matter stays so.

    Args:
        target: (M, 1, H, W) slices of the target modality in [-1, 1]; their foreground is what lies above -1.
        either: match the inverted source as well, and keep which of both correlates better with the mean target slice;
            the slices' frame must be the source's.
    """

    target: Tensor
    either: bool = False

    def __call__(self, source: SourceStack, streams: Streams) -> Translation:
        """Foreground matched, background left at -1."""
        found = [self._matched(source.images, source.mask)]
        if not self.either or not bool(source.mask.any()):
            return Translation(found[0], 0)
        if self.target.shape[2:] != source.images.shape[2:]:
            raise InputError(
                f"target_slices: found sides {tuple(self.target.shape[2:])} for a source of "
                f"{tuple(source.images.shape[2:])}; choosing between the source and its inverse needs one frame."
            )
        found.append(self._matched(-source.images, source.mask))
        mean = self.target.mean(0, keepdim=True).expand_as(source.images)[source.mask]
        alike = [float(torch.corrcoef(torch.stack([image[source.mask], mean]))[0, 1]) for image in found]
        inverted = alike[1] > alike[0]
        return Translation(found[int(inverted)], 0, notes=("matched the inverted source",) if inverted else ())

    def _matched(self, images: Tensor, mask: Tensor) -> Tensor:
        from skimage.exposure import match_histograms

        wanted = self.target[self.target > -0.99].numpy().ravel()
        if wanted.size == 0:
            raise InputError("target_slices: found no foreground above -1; give slices that show the target modality.")
        result = torch.full_like(images, -1.0)
        inside = images[mask].numpy()
        if inside.size:
            matched = match_histograms(inside[:, None], wanted[:, None])[:, 0]
            result[mask] = torch.from_numpy(np.asarray(matched, dtype=np.float32))
        return result.clamp(-1, 1)


@dataclass(frozen=True, eq=False)
class IntensityLookup:
    """E[target | source intensity] as a table: the best that any map of single intensities can do in squared error.

    Args:
        centres: (n,) rising source intensities in [-1, 1].
        values: (n,) mean target intensity there.
    """

    centres: NDArray[np.float64]
    values: NDArray[np.float64]

    def __call__(self, source: SourceStack, streams: Streams) -> Translation:
        """Every foreground intensity looked up, linear between centres."""
        result = torch.full_like(source.images, -1.0)
        inside = source.images[source.mask].numpy()
        found = np.interp(inside, self.centres, self.values).astype(np.float32)
        result[source.mask] = torch.from_numpy(found)
        return Translation(result, 0, notes=("needs paired training data",))


def fit_lookup(source: Tensor, target: Tensor, bins: int = 128) -> IntensityLookup:
    """The table from paired slices: means of the target in equal steps of the source, over the foreground of both.

    Args:
        source, target: (M, 1, H, W) in [-1, 1], background -1.
        bins: steps; those with fewer than 20 pixels take their neighbours' values.
    """
    from scipy.stats import binned_statistic

    if source.shape != target.shape:
        raise InputError(f"paired: found shapes {tuple(source.shape)} and {tuple(target.shape)}; they must be equal.")
    chosen = (source > -0.99) | (target > -0.99)
    known, wanted = source[chosen].numpy(), target[chosen].numpy()
    if known.size < 1000:
        raise InputError(f"paired: found {known.size} foreground pixels; at least 1000 are needed for a lookup.")
    counts, edges, _ = binned_statistic(known, wanted, "count", bins, (-1, 1))
    means, _, _ = binned_statistic(known, wanted, "mean", bins, (-1, 1))
    enough = counts >= min(20, counts.max())
    centres = (edges[1:] + edges[:-1]) / 2
    return IntensityLookup(centres[enough], means[enough])


def copy_source(tools: Tools) -> Copy:
    """The source as it is."""
    return Copy()


def histogram_matching(tools: Tools, either: bool = False) -> HistogramMatching:
    """To the histogram of `tools.target_slices`; `either` may invert the source first."""
    if tools.target_slices is None:
        raise InputError("target_slices: found none; histogram matching needs slices of the target modality.")
    return HistogramMatching(tools.target_slices, either)


def intensity_lookup(tools: Tools) -> IntensityLookup:
    """From `tools.paired`; more than the zero-shot methods are given."""
    if tools.paired is None:
        raise InputError("paired: found none; the lookup is fitted on paired training slices.")
    return fit_lookup(*tools.paired)
