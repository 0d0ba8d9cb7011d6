"""What every rival is: a function from images to maps that says how often it asked a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from skiagraph.diffusion import Streams

__all__ = ["MapMethod", "RivalMap", "checked_images"]


@dataclass(frozen=True, eq=False)
class RivalMap:
    """Maps of a batch.

    Args:
        maps: (B, H, W) float32, larger where a lesion is likelier; comparable from image to image, so that one
            threshold calibrated on normal images serves all.
        evaluations: of networks, for each image (a backward pass counts as two).
    """

    maps: Tensor
    evaluations: float


class MapMethod(Protocol):
    """One way to make maps; everything that follows (smoothing, threshold, parts) is the same for all."""

    def __call__(self, images: Tensor, streams: Streams) -> RivalMap:
        """Maps of images (B, 1, H, W) in [-1, 1]; every draw from the streams, one an image."""
        ...


def checked_images(images: Tensor) -> Tensor:
    """The images, refused unless they are float32 (B, 1, H, W) within [-1, 1]."""
    if images.dim() != 4 or images.shape[1] != 1 or not images.is_floating_point():
        raise ValueError(f"images: found {images.dtype} {tuple(images.shape)}; allowed float (B, 1, H, W).")
    low, high = float(images.min()), float(images.max())
    if not -1.01 <= low <= high <= 1.01:
        raise ValueError(f"images: found values from {low:.3g} to {high:.3g}; allowed -1 to 1.")
    return images
