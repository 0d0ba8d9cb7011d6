"""Masks of images: missing cells of a coarse grid, missing pixels, a rectangular hole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from skiagraph.physics.masks.draws import Draws, covering_bernoulli, covering_subsets, needed, random_subsets

__all__ = ["Cells", "Pixels", "cell_image", "hole_mask", "pair_of", "rolled"]


def pair_of(value: int | tuple[int, int], name: str, least: int = 1) -> tuple[int, int]:
    """One number for both axes, or (rows, columns), each at least `least`."""
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or any(not isinstance(entry, int) or entry < least for entry in pair):
        raise ValueError(f"{name}: found {value!r}; allowed is a whole number or (rows, columns), each >= {least}.")
    return pair[0], pair[1]


def cell_image(cells: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Paint cells in row-major order, (..., rows columns), onto pixels, (..., H, W); pixel i is in cell i rows // H."""
    row = torch.arange(size[0], device=cells.device) * grid[0] // size[0]
    column = torch.arange(size[1], device=cells.device) * grid[1] // size[1]
    return cells[..., row[:, None] * grid[1] + column]


def rolled(image: Tensor, offsets: Tensor) -> Tensor:
    """Shift each sample cyclically, (B, ..., H, W) by offsets (B, 2) down and to the right."""
    shifted = image
    for axis, count in zip((-2, -1), offsets.unbind(1), strict=True):
        size = image.shape[axis]
        index = (torch.arange(size, device=image.device) - count[:, None]) % size
        shape = [image.shape[0], *[1] * (image.ndim - 1)]
        shape[axis] = size
        shifted = shifted.gather(axis, index.reshape(shape).expand_as(shifted))
    return shifted


@dataclass(frozen=True)
class Cells:
    """Drop a fixed number of random cells of a coarse grid, then roll the mask (measurement-score, section 6.4).

    With the values that stand here each mask keeps exactly 10 of 16 cells: inclusion probability 0.625 per cell and
    0.375 per pair of cells.

    Args:
        size: H = W, or (H, W), in pixels.
        cells: cells along each axis, or (rows, columns); (1, n) on size (1, N) makes a mask of one dimension.
        drop: number of cells switched off, 0 ... all but one.
        roll: largest cyclic offset in pixels along each axis, inclusive; None for size // cells of that axis.
        shared_offset: one offset for the whole batch. Differs from the default in that a sample then depends on its
            batch; the released code does so.
    """

    size: int | tuple[int, int]
    cells: int | tuple[int, int] = 4
    drop: int = 6
    roll: int | tuple[int, int] | None = None
    shared_offset: bool = False

    def __post_init__(self) -> None:
        size, grid = pair_of(self.size, "size"), pair_of(self.cells, "cells")
        if grid[0] > size[0] or grid[1] > size[1]:
            raise ValueError(
                f"cells: found {self.cells} on an image of {self.size}; a cell is at least one pixel wide."
            )
        if not 0 <= self.drop < grid[0] * grid[1]:
            raise ValueError(f"drop: found {self.drop}; allowed 0 ... {grid[0] * grid[1] - 1}, so that a cell remains.")
        _ = self.largest_offset

    @property
    def largest_offset(self) -> tuple[int, int]:
        """Largest offset (rows, columns) in pixels."""
        if self.roll is not None:
            return pair_of(self.roll, "roll", 0)
        size, grid = pair_of(self.size, "size"), pair_of(self.cells, "cells")
        return size[0] // grid[0], size[1] // grid[1]

    @property
    def number(self) -> int:
        """Number of cells in all."""
        grid = pair_of(self.cells, "cells")
        return grid[0] * grid[1]

    def draw(self, draws: Draws) -> Tensor:
        """(B, 1, H, W)."""
        cells = random_subsets(draws, self.number, self.number - self.drop)
        return self.paint(cells, self.offsets(draws)).unsqueeze(1)

    def covering(self, draws: Draws, count: int | None = None) -> Tensor:
        """(B, count, 1, H, W), by default the complementary pair: 10 cells, then the other 6 and 4 of the first 10.

        All masks of a set have the same offset, so that they cover every pixel; each has the law of `draw`.
        """
        keep = self.number - self.drop
        count = needed(self.number, keep) if count is None else count
        cells = covering_subsets(draws, self.number, keep, count)
        return self.paint(cells, self.offsets(draws)).unsqueeze(2)

    def offsets(self, draws: Draws) -> Tensor:
        """(B, 2) random offsets in pixels, down and to the right."""
        rows, columns = self.largest_offset
        pair = torch.stack([draws.integers(0, rows + 1), draws.integers(0, columns + 1)], 1)
        return pair[:1].expand_as(pair) if self.shared_offset else pair

    def paint(self, cells: Tensor, offsets: Tensor) -> Tensor:
        """(B, ..., cells) boolean and offsets (B, 2) -> (B, ..., H, W) float32."""
        image = cell_image(cells, pair_of(self.cells, "cells"), pair_of(self.size, "size"))
        return rolled(image, offsets).float()


@dataclass(frozen=True)
class Pixels:
    """Keep random single pixels.

    Args:
        size: H = W, or (H, W), in pixels.
        keep: kept fraction, in (0, 1].
        counting: "exact" for the same number of pixels in every mask, round(keep H W) and at least one; "independent"
            for each pixel on its own with probability `keep`.
    """

    size: int | tuple[int, int]
    keep: float
    counting: Literal["exact", "independent"] = "independent"

    def __post_init__(self) -> None:
        pair_of(self.size, "size")
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep: found {self.keep}; allowed (0, 1], the fraction of pixels that is kept.")
        if self.counting not in ("exact", "independent"):
            raise ValueError(f'counting: found {self.counting!r}; allowed are "exact" and "independent".')

    def draw(self, draws: Draws) -> Tensor:
        """(B, 1, H, W)."""
        rows, columns = pair_of(self.size, "size")
        if self.counting == "independent":
            return (draws.uniform(1, rows, columns) < self.keep).float()
        return random_subsets(draws, rows * columns, self._number()).float().reshape(-1, 1, rows, columns)

    def covering(self, draws: Draws, count: int | None = None) -> Tensor:
        """(B, count, 1, H, W), by default ceil(1 / keep) masks, each with the law of `draw`."""
        rows, columns = pair_of(self.size, "size")
        if self.counting == "independent":
            chance = torch.full((1, rows, columns), self.keep, dtype=torch.float64)
            count = math.ceil(round(1 / self.keep, 9)) if count is None else count
            return covering_bernoulli(draws, chance, count).float()
        count = needed(rows * columns, self._number()) if count is None else count
        chosen = covering_subsets(draws, rows * columns, self._number(), count)
        return chosen.float().reshape(*chosen.shape[:2], 1, rows, columns)

    def _number(self) -> int:
        rows, columns = pair_of(self.size, "size")
        return max(1, math.floor(self.keep * rows * columns + 0.5))


def hole_mask(
    size: int | tuple[int, int], hole: int | tuple[int, int], corner: int | tuple[int, int] | None = None
) -> Tensor:
    """(1, 1, H, W) float32 mask that is 0 in one rectangle, for inpainting.

    Args:
        size: H = W, or (H, W), in pixels.
        hole: height and width of the hole.
        corner: first row and column of the hole; None for the middle. The released code's box is hole 64 at corner 35
            of 128.
    """
    (rows, columns), (high, wide) = pair_of(size, "size"), pair_of(hole, "hole")
    top, left = ((rows - high) // 2, (columns - wide) // 2) if corner is None else pair_of(corner, "corner", 0)
    if not (0 <= top <= rows - high and 0 <= left <= columns - wide):
        raise ValueError(
            f"hole: found {high} x {wide} at ({top}, {left}), which leaves the image of {rows} x {columns}."
        )
    mask = torch.ones(1, 1, rows, columns)
    mask[..., top : top + high, left : left + wide] = 0
    return mask
