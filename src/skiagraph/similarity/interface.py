"""What every similarity offers: a map of two images, with its channels and range, and one number per sample."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

__all__ = ["SimilarityMap", "check_images", "check_mask", "masked_mean", "similarity_score"]


@runtime_checkable
class SimilarityMap(Protocol):
    """A map that says where two images show the same structure; larger is more alike.

    Attributes:
        range: (lowest, highest) value a map can have.
        has_gradient: whether the map can be differentiated, so that it can serve as an energy.
    """

    @property
    def range(self) -> tuple[float, float]: ...

    @property
    def has_gradient(self) -> bool: ...

    def channels(self, dimensions: int) -> int:
        """Channels C of the map of images with so many spatial axes (2 or 3)."""
        ...

    def __call__(self, reference: Tensor, search: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, C, *S) of two images (B, 1, *S), 0 outside the mask (B or 1, 1, *S)."""
        ...


def check_images(reference: Tensor, search: Tensor, smallest: tuple[int, ...] = (1,)) -> None:
    """Refuse anything but two real images (B, 1, H, W) or (B, 1, D, H, W) of one shape with finite values."""
    for name, image in (("reference", reference), ("search", search)):
        if image.ndim not in (4, 5) or image.shape[1] != 1 or image.is_complex():
            raise ValueError(
                f"{name}: found {image.dtype} of shape {tuple(image.shape)}; allowed is real (B, 1, H, W) or "
                "(B, 1, D, H, W): one channel, because intensities of several channels have no common joint histogram."
            )
        if not image.is_floating_point():
            raise ValueError(f"{name}: found {image.dtype}; allowed are floating-point intensities.")
        sides = tuple(image.shape[2:])
        least = smallest * len(sides) if len(smallest) == 1 else smallest
        if any(side < wanted for side, wanted in zip(sides, least, strict=False)):
            raise ValueError(f"{name}: found sides {sides}; allowed are at least {least}, those of a patch.")
        if not bool(torch.isfinite(image.detach()).all()):
            raise ValueError(f"{name}: found NaN or infinite values; allowed are finite intensities.")
    if reference.shape != search.shape:
        raise ValueError(
            f"search: found shape {tuple(search.shape)} beside reference {tuple(reference.shape)}; they must be equal."
        )


def check_mask(mask: Tensor | None, image: Tensor) -> Tensor | None:
    """The mask as (B, 1, *S) bool, or an error naming what was found; a sample without foreground is refused."""
    if mask is None:
        return None
    if mask.ndim != image.ndim or mask.shape[0] not in (1, image.shape[0]) or mask.shape[1:] != image.shape[1:]:
        raise ValueError(f"mask: found shape {tuple(mask.shape)}; allowed is (B or 1, 1, *S) of {tuple(image.shape)}.")
    chosen = (mask if mask.dtype == torch.bool else mask > 0.5).to(image.device)
    if not bool(chosen.flatten(1).any(1).all()):
        raise ValueError("mask: found a sample without foreground; each mask must have at least one true voxel.")
    return chosen.expand(image.shape)


def masked_mean(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of (B, C, *S) over channels and the mask's voxels, per sample (B,)."""
    if mask is None:
        return values.flatten(1).mean(1)
    chosen = mask.to(values).expand(values.shape[0], *mask.shape[1:])
    return (values * chosen).flatten(1).sum(1) / (chosen.flatten(1).sum(1) * values.shape[1])


def similarity_score(measure: SimilarityMap, reference: Tensor, search: Tensor, mask: Tensor | None = None) -> Tensor:
    """S(reference, search): mean of the map over the mask, per sample (B,); to be increased.

    Args:
        measure: any similarity.
        reference: (B, 1, *S), the image that is known.
        search: (B, 1, *S), the image that is judged.
        mask: (B or 1, 1, *S), true on the foreground.
    """
    return masked_mean(measure(reference, search, mask), check_mask(mask, reference))
