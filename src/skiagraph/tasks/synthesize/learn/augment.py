"""Random changes of training images, each image's draws from its own stream."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from skiagraph.tasks.synthesize.learn.settings import AugmentSettings

__all__ = ["Augmentation", "augmentation"]


@dataclass(frozen=True)
class Augmentation:
    """Mirror, turn, shift, scale and brighten images in [-1, 1]; the border is repeated outside.

    Args:
        settings: how much of each at most; every value is drawn evenly within its bounds.
    """

    settings: AugmentSettings

    def __call__(self, images: Tensor, streams: Any) -> Tensor:
        """Return changed images (B, C, H, W); draws seven uniform numbers an image, whatever is switched on."""
        chosen = self.settings
        draws = streams.uniform(7).to(images.device)
        across, along, turn, right, down, grow, bright = draws.unbind(1)
        if chosen.flip in ("horizontal", "both"):
            images = torch.where((across < 0.5)[:, None, None, None], images.flip(3), images)
        if chosen.flip in ("vertical", "both"):
            images = torch.where((along < 0.5)[:, None, None, None], images.flip(2), images)
        if chosen.rotation or chosen.shift or chosen.scale:
            angle = (2 * turn - 1) * math.radians(chosen.rotation)
            factor = 1 + (2 * grow - 1) * chosen.scale
            shift = 2 * (2 * torch.stack([right, down], 1) - 1) * chosen.shift
            images = _moved(images, angle, factor, shift)
        if chosen.brightness:
            offset = (2 * bright - 1)[:, None, None, None] * 2 * chosen.brightness
            images = (images + offset).clamp(-1, 1)
        return images


def _moved(images: Tensor, angle: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    """Turn by `angle`, enlarge by `factor` and shift (B, 2), in units of half a side; linear interpolation."""
    height, width = images.shape[2:]
    cosine, sine = torch.cos(angle) / factor, torch.sin(angle) / factor
    rows = [
        torch.stack([cosine, -sine * height / width, -shift[:, 0]], 1),
        torch.stack([sine * width / height, cosine, -shift[:, 1]], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def augmentation(settings: AugmentSettings) -> Augmentation | None:
    """The augmentation of settings; None where everything is off."""
    return None if settings == AugmentSettings() else Augmentation(settings)
