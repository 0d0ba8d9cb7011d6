"""Recorded noise and masks in the place of random ones, so that two samplers can be fed the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

__all__ = ["RecordedMasks", "RecordedNoise"]


class RecordedNoise:
    """Streams that return recorded Gaussians, (B, ...) each, in their order; `used` counts them."""

    def __init__(self, values: Sequence[Tensor]) -> None:
        self.values, self.used = list(values), 0

    def __len__(self) -> int:
        return self.values[0].shape[0]

    def normal_like(self, x: Tensor) -> Tensor:
        """The next recorded Gaussian, which must be of x's shape and kind."""
        value = self.values[self.used]
        self.used += 1
        assert value.shape == x.shape
        assert value.dtype == x.dtype
        return value

    def fork(self, name: str) -> RecordedNoise:
        """Streams for another purpose: none are recorded, so any draw fails."""
        return RecordedNoise(self.values[:1]) if name == "masks" else RecordedNoise([])


class RecordedMasks:
    """A mask schedule that returns recorded masks, (B, 1, H or 1, W) each, in their order; `used` counts them."""

    def __init__(self, values: Sequence[Tensor]) -> None:
        self.values, self.used = list(values), 0

    def draw(self, draws: Any, memory: Any) -> tuple[Tensor, Any]:
        """The next recorded mask; nothing is drawn and nothing remembered."""
        self.used += 1
        return self.values[self.used - 1], memory
