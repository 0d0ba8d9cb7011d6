"""Which voxels a patch and the windows compared with it read, axis by axis.

A list holds coordinates along one axis; a window in 2-D or 3-D is the outer product of its axes' lists. -1 stands for a
read outside the image that gives intensity 0.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Boundary", "WindowKind", "patch_list", "shifted_list", "tiled_list"]

Boundary = Literal["zero", "replicate"]
WindowKind = Literal["shifted", "tiled"]


def _inside(coordinate: Tensor, size: int, boundary: Boundary) -> Tensor:
    if boundary == "replicate":
        return coordinate.clamp(0, size - 1)
    return torch.where((coordinate >= 0) & (coordinate < size), coordinate, -1)


def patch_list(size: int, patch: int, boundary: Boundary) -> Tensor:
    """(size, patch): the patch centred at every position."""
    return _inside(torch.arange(size)[:, None] + torch.arange(patch) - patch // 2, size, boundary)


def shifted_list(size: int, patch: int, radius: int, boundary: Boundary) -> Tensor:
    """(size, 2 radius + 1, patch): the patches centred at p - radius ... p + radius."""
    offset = torch.arange(-radius, radius + 1)[:, None] + torch.arange(patch) - patch // 2
    return _inside(torch.arange(size)[:, None, None] + offset, size, boundary)


def tiled_list(size: int, patch: int) -> Tensor:
    """(size, patch, patch): windows of the released layer, read from the image in which every pixel is its patch.

    Element u of window a of pixel p reads place g = p k + a + u - r of the tiled line, which is the coordinate
    floor(g / k) + (g mod k) - r; -1 where either leaves the image. For k = 3 inside: (p, p-1, p), (p-1, p, p+1),
    (p, p+1, p): not shifted patches.
    """
    steps = torch.arange(patch)
    place = torch.arange(size)[:, None, None] * patch + steps[:, None] + steps - patch // 2
    coordinate = torch.div(place, patch, rounding_mode="floor") + place % patch - patch // 2
    known = (place >= 0) & (place < size * patch)
    return torch.where(known, _inside(coordinate, size, "zero"), -1)
