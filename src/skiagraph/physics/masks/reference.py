"""The mask schedules of the released measurement-score sampler, with explicit memory (section 6.4).

A schedule's `draw(draws, memory)` returns the next mask of every sample and the memory to pass to the next call. Memory
None starts afresh; it runs through the whole trajectory and is never reset between levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from skiagraph.physics.masks.cells import Cells, pair_of
from skiagraph.physics.masks.columns import RandomColumns, centre_columns
from skiagraph.physics.masks.draws import Draws, random_subsets

__all__ = ["CellMemory", "ReferenceCellSchedule", "ReferenceColumnSchedule"]


@dataclass(frozen=True)
class ReferenceColumnSchedule:
    """Random columns that become denser as long as some have not been sampled since the last full cover.

    The centre is always on and every column is on with probability 1 / R. In addition, N0 being the number of columns
    uncovered before the draw: if N0 <= int(W / R) + 5 all uncovered columns are on, else each of them with probability
    1 / (R - 1). Memory is the set of columns covered so far, (B, W) boolean; it is cleared, sample by sample, as soon
    as all are covered, in mid-level too. Masks are denser than those of training: the first of a cycle samples
    (centre + (W - centre) 2 / R) / W of all columns on average.

    Args:
        width: W, number of columns.
        acceleration: R >= 1, nominal.
        centre: number of fully sampled columns about zero frequency.

    Differs from the released code in that coverage is kept per sample, not read from the first sample of the batch.
    """

    width: int
    acceleration: float
    centre: int

    def __post_init__(self) -> None:
        RandomColumns(self.width, self.acceleration, self.centre)

    def draw(self, draws: Draws, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The next masks (B, 1, 1, W) and the columns covered since the last full cover (B, W)."""
        plain, extra = draws.uniform(2, self.width).unbind(1)
        covered = torch.zeros_like(plain, dtype=torch.bool) if memory is None else memory
        if covered.shape != plain.shape or covered.dtype != torch.bool:
            raise ValueError(
                f"memory: found {covered.dtype} {tuple(covered.shape)}; allowed is None or what the last call "
                f"returned, boolean {tuple(plain.shape)}."
            )
        few = (~covered).sum(1, keepdim=True) <= int(self.width / self.acceleration) + 5
        chance = 1 / (self.acceleration - 1) if self.acceleration > 1 else math.inf
        on = (plain < 1 / self.acceleration) | (~covered & (few | (extra < chance)))
        on |= centre_columns(self.width, self.centre).to(on.device)
        covered = covered | on
        return on[:, None, None].float(), covered & ~covered.all(1, keepdim=True)


@dataclass(frozen=True)
class CellMemory:
    """What the even call of `ReferenceCellSchedule` must know of the odd one.

    Args:
        cells: (B, number of cells) boolean, cells of the last mask.
        offsets: (B, 2) its cyclic offsets in pixels.
    """

    cells: Tensor
    offsets: Tensor


@dataclass(frozen=True)
class ReferenceCellSchedule:
    """Two alternating kinds of cell masks; the alternation ignores time levels.

    Odd call (memory None): a training mask with offsets up to an eighth of the image. Even call, same offsets: the
    complement of that mask, less `silenced` random ones of all cells, plus the cells of the previous mask that survive
    switching off `forgotten` random ones of all cells; memory is then cleared. Even masks keep 4.0 of 16 cells on
    average (training keeps 10) and a pair leaves 16.4 % of the cells uncovered.

    Args:
        size: H = W, or (H, W), in pixels.
        cells: cells along each axis, or (rows, columns).
        drop: number of cells switched off in odd masks.
        roll: largest cyclic offset in pixels, inclusive; None for half a cell.
        silenced: cells switched off in the complement (7: a negative slice bound in the released code; meant was 0).
        forgotten: cells switched off in the previous mask before it is added.

    Differs from the released code in that every sample has masks and offsets of its own.
    """

    size: int | tuple[int, int]
    cells: int | tuple[int, int] = 4
    drop: int = 6
    roll: int | tuple[int, int] | None = None
    silenced: int = 7
    forgotten: int = 15

    def __post_init__(self) -> None:
        number = self.family.number
        for name, value in (("silenced", self.silenced), ("forgotten", self.forgotten)):
            if not 0 <= value <= number:
                raise ValueError(f"{name}: found {value}; allowed 0 ... {number}, the number of cells.")

    @property
    def family(self) -> Cells:
        """The family of the odd masks."""
        size, grid = pair_of(self.size, "size"), pair_of(self.cells, "cells")
        half = (size[0] // (2 * grid[0]), size[1] // (2 * grid[1]))
        return Cells(size, grid, self.drop, half if self.roll is None else self.roll)

    def draw(self, draws: Draws, memory: CellMemory | None = None) -> tuple[Tensor, CellMemory | None]:
        """The next masks (B, 1, H, W) and the memory of the next call."""
        family = self.family
        if memory is None:
            cells = random_subsets(draws, family.number, family.number - self.drop)
            offsets = family.offsets(draws)
            return family.paint(cells, offsets).unsqueeze(1), CellMemory(cells, offsets)
        heard = random_subsets(draws, family.number, family.number - self.silenced)
        kept = random_subsets(draws, family.number, family.number - self.forgotten)
        cells = (~memory.cells & heard) | (memory.cells & kept)
        return family.paint(cells, memory.offsets).unsqueeze(1), None
