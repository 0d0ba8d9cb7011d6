"""Edge and frequency maps of one image: the conditions of frequency-guided translation."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from skiagraph.similarity.descriptors import DescriptorSimilarity, pad_edges

__all__ = ["Edges", "HighPass", "bilateral_filter"]


def bilateral_filter(image: Tensor, window: int, value_width: float, space_width: float) -> Tensor:
    """sum_o w_o u(x + o) / sum_o w_o with w_o = exp(-(u(x + o) - u(x))^2 / 2 s_v^2 - |o|^2 / 2 s_x^2).

    Args:
        image: (B, 1, *S).
        window: odd side of the neighbourhood.
        value_width: s_v in the unit of the image, > 0.
        space_width: s_x in voxels, > 0.
    """
    reach = window // 2
    padded = pad_edges(image, reach) if reach else image
    total, weights = torch.zeros_like(image), torch.zeros_like(image)
    for offset in itertools.product(range(window), repeat=image.ndim - 2):
        far = sum((step - reach) ** 2 for step in offset)
        part = tuple(slice(step, step + size) for step, size in zip(offset, image.shape[2:], strict=True))
        moved = padded[(slice(None), slice(None), *part)]
        weight = torch.exp(-0.5 * ((moved - image) / value_width).square() - 0.5 * far / space_width**2)
        total, weights = total + weight * moved, weights + weight
    return total / weights


@dataclass(frozen=True)
class Edges(DescriptorSimilarity):
    """Sobel magnitude of the bilaterally filtered image, scaled to [0, 1] per image; 0 for a constant image.

    The map of frequency-guided translation (FGDM), whose test setting is a window of 9 and widths of 75 grey levels
    and 75 voxels.

    Args:
        window: odd side of the bilateral filter; 1 leaves it out.
        value_width: its width in intensity, in the unit of the image.
        space_width: its width in voxels.
    """

    window: int = 9
    value_width: float = 75 / 255
    space_width: float = 75.0

    def __post_init__(self) -> None:
        if self.window < 1 or self.window % 2 == 0:
            raise ValueError(f"window: found {self.window}; allowed are odd sides.")
        for name in ("value_width", "space_width"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: found {getattr(self, name)}; allowed a finite number > 0.")

    def channels(self, dimensions: int) -> int:
        """One."""
        return 1

    def describe(self, image: Tensor) -> Tensor:
        """(B, 1, *S) -> (B, 1, *S) in [0, 1]."""
        smooth = bilateral_filter(image, self.window, self.value_width, self.space_width)
        padded = pad_edges(smooth, 1)
        squares = torch.zeros_like(image)
        for along in range(2, image.ndim):
            part = padded
            for axis in range(2, image.ndim):
                kernel = (-1.0, 0.0, 1.0) if axis == along else (1.0, 2.0, 1.0)
                part = _filtered(part, axis, kernel)
            squares = squares + part.square()
        known = squares > 1e-12
        return _to_unit(torch.where(known, torch.where(known, squares, 1.0).sqrt(), 0.0))


def _filtered(image: Tensor, axis: int, kernel: tuple[float, ...]) -> Tensor:
    size = image.shape[axis] - len(kernel) + 1
    parts = (weight * image.narrow(axis, start, size) for start, weight in enumerate(kernel) if weight)
    return sum(parts, start=torch.zeros((), dtype=image.dtype, device=image.device))


def _to_unit(image: Tensor) -> Tensor:
    """Each sample scaled to [0, 1]; 0 where it is constant."""
    flat = image.flatten(1)
    low, high = (end.reshape(-1, *[1] * (image.ndim - 1)) for end in (flat.amin(1), flat.amax(1)))
    known = high > low
    return torch.where(known, (image - low) / torch.where(known, high - low, 1.0), 0.0)


@dataclass(frozen=True)
class HighPass(DescriptorSimilarity):
    """|u - G u| with a Gaussian G, scaled to [0, 1] per image: gain 1 - exp(-(2 pi f s)^2 / 2) at frequency f.

    Args:
        width: s in voxels, > 0.
    """

    width: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.width < math.inf:
            raise ValueError(f"width: found {self.width}; allowed a finite number > 0.")

    def channels(self, dimensions: int) -> int:
        """One."""
        return 1

    def describe(self, image: Tensor) -> Tensor:
        """(B, 1, *S) -> (B, 1, *S) in [0, 1]."""
        reach = math.ceil(4 * self.width)
        weights = [math.exp(-0.5 * (step / self.width) ** 2) for step in range(-reach, reach + 1)]
        kernel = tuple(weight / sum(weights) for weight in weights)
        smooth = pad_edges(image, reach)
        for axis in range(2, image.ndim):
            smooth = _filtered(smooth, axis, kernel)
        found = (image - smooth).abs()
        rounding = 1e-5 * image.detach().abs().flatten(1).amax(1).reshape(-1, *[1] * (image.ndim - 1))
        return _to_unit(torch.where(found > rounding, found, 0.0))
