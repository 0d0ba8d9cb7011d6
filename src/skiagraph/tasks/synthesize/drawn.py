"""A batch of images as it was drawn, and its grey levels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Drawn", "OnStep", "Start", "to_bytes"]

OnStep = Callable[[int], None]
"""Called after each step with the number of images it advanced."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A batch of images.

    Args:
        images: (B, C, H, W) float32 on the CPU, not clipped.
        before: the same before the push: first stage, source, or unpushed twin; None where there is none.
        has_before: (B,) bool.
        limited: (B,) share of pushes that the trust region shortened.
        outside: (B,) share of numbers of the pushed estimates beyond [-1, 1].
        network_calls: evaluations of the prior's network for each image, twins not counted.
        classifier_calls: evaluations of the guiding classifier, with gradient, for each image.
        seeds: of each image's random stream.
    """

    images: Tensor
    before: Tensor | None
    has_before: tuple[bool, ...]
    limited: Tensor
    outside: Tensor
    network_calls: int
    classifier_calls: int
    seeds: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Start:
    """A batch where its push begins.

    Args:
        state: (B, C, H, W) noisy state.
        before: (B, C, H, W) what the images are without a push, or None.
        has_before: (B,) bool.
        streams: where the random streams stand.
        calls: evaluations of network and classifier so far, for each image.
    """

    state: Tensor
    before: Tensor | None
    has_before: tuple[bool, ...]
    streams: Tensor
    calls: tuple[int, int]


def to_bytes(images: Tensor, truncate: bool = False) -> Tensor:
    """Grey levels: round((x + 1) 127.5) within 0 to 255, uint8; with `truncate` cut off instead, as released."""
    levels = ((images.double() + 1) * 127.5).clamp(0, 255)
    return (levels if truncate else levels.round()).to(torch.uint8)
