"""Similarity as agreement of descriptors, each computed from one image alone."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from skiagraph.similarity.interface import check_images, check_mask

__all__ = ["Descriptor", "DescriptorSimilarity", "box_mean", "pad_edges"]


class Descriptor(Protocol):
    """Channels that describe each voxel's surroundings, in a way that survives a change of modality."""

    def channels(self, dimensions: int) -> int:
        """Channels C for images with so many spatial axes."""
        ...

    def describe(self, image: Tensor) -> Tensor:
        """(B, 1, *S) -> (B, C, *S) in [0, 1]."""
        ...


class DescriptorSimilarity:
    """-|d(reference) - d(search)| per channel: a `SimilarityMap` from the `describe` of a subclass.

    The descriptor of the source alone serves as a condition of a network: it needs no state.
    """

    range = (-1.0, 0.0)
    has_gradient = True

    def describe(self, image: Tensor) -> Tensor:
        """(B, 1, *S) -> (B, C, *S) in [0, 1]."""
        raise NotImplementedError

    def __call__(self, reference: Tensor, search: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, *S), 0 where descriptors agree and outside the mask, otherwise negative."""
        check_images(reference, search)
        chosen = check_mask(mask, reference)
        found = -(self.describe(reference) - self.describe(search)).abs()
        return found if chosen is None else torch.where(chosen, found, 0.0)


def pad_edges(image: Tensor, margin: int) -> Tensor:
    """(B, C, *S) continued by its edge values."""
    return torch.nn.functional.pad(image, (margin,) * 2 * (image.ndim - 2), mode="replicate")


def box_mean(image: Tensor, side: int) -> Tensor:
    """Mean over boxes of (B, C, *S), axis after axis; sides shrink by side - 1."""
    for axis in range(2, image.ndim):
        image = image.unfold(axis, side, 1).mean(-1)
    return image
