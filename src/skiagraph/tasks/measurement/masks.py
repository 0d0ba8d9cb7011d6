"""From the settings of a mask family to its masks: for training, for covering views, and the released schedules."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skiagraph.diffusion.streams import Streams
from skiagraph.errors import DataError, InputError
from skiagraph.inverse.reference import MaskSchedule
from skiagraph.inverse.views import CoveringViews
from skiagraph.physics.masks import (
    Cells,
    CoveringFamily,
    Draws,
    EquispacedColumns,
    Pixels,
    RandomColumns,
    ReferenceCellSchedule,
    ReferenceColumnSchedule,
    VariableDensityColumns,
)
from skiagraph.tasks.measurement.settings import COLUMNS, MaskSettings

__all__ = ["MaskBank", "WholeMask", "centre_lines", "mask_family", "mask_schedule", "view_source"]

BANK = 64


def centre_lines(mask: MaskSettings, width: int) -> int:
    """Central columns: those stated, else 20 of 256 in proportion, an even number."""
    return 2 * round(width * 10 / 256) if mask.centre is None else mask.centre


@dataclass(frozen=True)
class WholeMask:
    """One mask that keeps everything."""

    def draw(self, draws: Draws) -> Tensor:
        """(B, 1, 1, 1) of 1."""
        return torch.ones(len(draws), 1, 1, 1)

    def covering(self, draws: Draws, count: int | None = None) -> Tensor:
        """(B, count or 1, 1, 1, 1) of 1."""
        return torch.ones(len(draws), count or 1, 1, 1, 1)


@dataclass(frozen=True, eq=False)
class MaskBank:
    """The masks of the training data themselves, each as likely as any other.

    Args:
        masks: (N, 1, H or 1, W) of 0 and 1.
    """

    masks: Tensor

    def draw(self, draws: Draws) -> Tensor:
        """(B, 1, H or 1, W)."""
        return self.masks[draws.integers(0, len(self.masks)).cpu()]

    def covering(self, draws: Draws, count: int | None = None) -> Tensor:
        """(B, count, 1, H or 1, W): a random mask, then again and again the one that adds most, ties at random.

        What no mask of the bank holds stays uncovered, and so does what `count` masks cannot hold.
        """
        flat = self.masks.flatten(1)
        count = self.needed if count is None else count
        orders = draws.permutation(len(flat)).cpu()
        sets = []
        for order in orders:
            chosen, left = [int(order[0])], 1 - flat[order[0]]
            while len(chosen) < count:
                best = int(order[int((flat[order] @ left).argmax())])
                chosen.append(best)
                left = left * (1 - flat[best])
            sets.append(self.masks[chosen])
        return torch.stack(sets)

    @property
    def needed(self) -> int:
        """Number of masks after which a set that begins with any of them covers what the bank covers."""
        flat, most = self.masks.flatten(1), 1
        union = flat.amax(0)
        for first in flat:
            left, used = union * (1 - first), 1
            while bool(left.any()):
                left = left * (1 - flat[int((flat @ left).argmax())])
                used += 1
            most = max(most, used)
        return most

    def record(self) -> dict[str, Any]:
        """The bank as JSON values; `from_record` reads it back."""
        bits = np.packbits(self.masks.to(torch.uint8).numpy().reshape(-1))
        return {"shape": list(self.masks.shape), "bits": base64.b64encode(bits.tobytes()).decode("ascii")}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> MaskBank:
        """The bank that `record` describes."""
        try:
            shape = [int(value) for value in record["shape"]]
            bits = np.unpackbits(np.frombuffer(base64.b64decode(record["bits"]), np.uint8), count=math.prod(shape))
            return cls(torch.from_numpy(bits.reshape(shape)).to(torch.float32))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"prior.json: its bank of training masks is damaged ({error}); train the prior again"
            ) from None

    @classmethod
    def of(cls, masks: Tensor) -> MaskBank:
        """The bank of training masks (N, 1, H or 1, W): at most 64 different ones; refuses what never was observed."""
        missed = int((masks.amax(0) == 0).sum())
        if missed:
            raise InputError(
                f"data: {missed} of {masks[0].numel()} pixels or lines are observed in no item, so nothing can be "
                "learned of them; add items with other masks, or crop them away"
            )
        different = torch.unique(masks.flatten(1), dim=0).reshape(-1, *masks.shape[1:])
        spread = torch.linspace(0, len(different) - 1, min(BANK, len(different))).long()
        return cls(different[spread])


def mask_family(
    mask: MaskSettings, size: tuple[int, int], bank: MaskBank | None = None, *, shared_offset: bool = False
) -> CoveringFamily:
    """The family that the settings name, for images or k-space of (rows, columns).

    Args:
        mask: family and numbers.
        size: rows and columns.
        bank: the data's own masks, for family "own".
        shared_offset: one cyclic offset of the cells for a batch, as in the released training.
    """
    try:
        if mask.family == "cells":
            grid = 4 if mask.cells is None else mask.cells
            drop = int(grid**2 * (0.4 if mask.drop is None else mask.drop))
            return Cells(size, grid, drop, shared_offset=shared_offset)
        if mask.family == "pixels":
            return Pixels(size, 1 - (0.4 if mask.drop is None else mask.drop))
        if mask.family in COLUMNS:
            kinds = {"random": RandomColumns, "equispaced": EquispacedColumns}
            kind: Any = kinds.get(mask.family, VariableDensityColumns)
            family: CoveringFamily = kind(size[1], mask.acceleration or 4.0, centre_lines(mask, size[1]))
            return family
    except ValueError as error:
        raise InputError(f"mask: {error}") from None
    if mask.family == "own":
        if bank is None:
            raise InputError("mask.family: the prior keeps no masks of its data; name the family that they belong to")
        return bank
    return WholeMask()


def mask_schedule(mask: MaskSettings, size: tuple[int, int]) -> MaskSchedule:
    """The released schedule of sampling masks, for cells and for random columns; others are refused."""
    if mask.family == "cells":
        family = mask_family(mask, size)
        grid, drop = (family.cells, family.drop) if isinstance(family, Cells) else (4, 6)
        number = family.number if isinstance(family, Cells) else 16
        return ReferenceCellSchedule(size, grid, drop, silenced=min(7, number), forgotten=min(15, number))
    if mask.family == "random":
        return ReferenceColumnSchedule(size[1], mask.acceleration or 4.0, centre_lines(mask, size[1]))
    raise InputError(
        f"sampler: 'reference' has mask schedules for cells and random columns only, not for {mask.family!r}; use the "
        "default sampler"
    )


def view_source(family: CoveringFamily, count: int | None) -> tuple[CoveringViews, int]:
    """Covering views and their number; InputError where `count` masks cannot cover."""
    source = CoveringViews(family, count)
    try:
        return source, int(source(Streams([0])).shape[1])
    except ValueError as error:
        raise InputError(f"views: {error}") from None
