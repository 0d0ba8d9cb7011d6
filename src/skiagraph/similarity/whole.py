"""Normalised mutual information of whole images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from skiagraph.similarity.bins import Bins
from skiagraph.similarity.information import entropy_bits
from skiagraph.similarity.interface import check_images, check_mask

__all__ = ["WholeInformation"]

_VOXELS = 2**17  # voxels whose weights exist at once


@dataclass(frozen=True)
class WholeInformation:
    """(H(u) + H(v)) / H(u, v) in [1, 2] of the whole images, or of the mask (Studholme et al. 1999).

    1 for images that know nothing of each other, 2 where each follows from the other; 1 where the joint entropy is 0.

    Args:
        bins: number of bins over the value range.
        width: kernel width as a share of the value range; None for one bin.
        value_range: intensities of the outermost bins; values beyond count for these.
    """

    bins: int = 32
    width: float | None = None
    value_range: tuple[float, float] = (0.0, 1.0)

    range = (1.0, 2.0)
    has_gradient = True

    def __post_init__(self) -> None:
        self._histogram()

    def _histogram(self) -> Bins:
        low, high = self.value_range
        share = 1 / (self.bins - 1) if self.width is None and self.bins > 1 else self.width
        return Bins(self.bins, (share or 1.0) * (high - low), low, high)

    def channels(self, dimensions: int) -> int:
        """One."""
        return 1

    def value(self, reference: Tensor, search: Tensor, mask: Tensor | None = None) -> Tensor:
        """Per sample (B,)."""
        check_images(reference, search)
        chosen = check_mask(mask, reference)
        values = []
        for sample in range(reference.shape[0]):
            inside = slice(None) if chosen is None else chosen[sample].flatten()
            values.append(self._one(reference[sample].flatten()[inside], search[sample].flatten()[inside]))
        return torch.stack(values)

    def _one(self, first: Tensor, second: Tensor) -> Tensor:
        joint = first.new_zeros(self.bins, self.bins)
        graded = torch.is_grad_enabled() and (first.requires_grad or second.requires_grad)
        pieces = zip(torch.split(first, _VOXELS), torch.split(second, _VOXELS), strict=True)
        for piece in pieces:
            joint = joint + (
                checkpoint(self._product, *piece, use_reentrant=False) if graded else self._product(*piece)
            )
        joint = joint / first.numel()
        own, other = entropy_bits(joint.sum(1)), entropy_bits(joint.sum(0))
        both = entropy_bits(joint.flatten())
        known = both > 1e-12
        return torch.where(known, (own + other) / torch.where(known, both, 1.0), 1.0).clamp(1, 2)

    def _product(self, first: Tensor, second: Tensor) -> Tensor:
        histogram = self._histogram()
        return histogram.weights(first).T @ histogram.weights(second)

    def __call__(self, reference: Tensor, search: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, 1, *S): each sample's number at every voxel, 0 outside the mask."""
        found = self.value(reference, search, mask).reshape(-1, *[1] * (reference.ndim - 1)).expand(reference.shape)
        chosen = check_mask(mask, reference)
        return found if chosen is None else torch.where(chosen, found, 0.0)
