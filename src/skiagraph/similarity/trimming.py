"""Leave out what cannot count: histogram bins that no value of a patch reaches, and patches that are constant.

In single precision and without a gradient a voxel's histogram keeps only the bins within `REACH` kernel widths of its
values. Voxels are put into groups by how many bins they need, so that a group's products are of one size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from skiagraph.similarity.bins import REACH, Bins

__all__ = ["Rows", "Trimmed", "trim"]

_STEP = 3  # bins between the possible first bins of a group
_LEAST, _LEAST_OUTSIDE = (
    1e-12,
    1e-20,
)  # added to weights, so that no product of two is 0; the second where all may vanish


@dataclass(frozen=True, eq=False)
class Rows:
    """Weights of one image for a group.

    Args:
        length: bins kept.
        rows: (firsts * (voxels + 1), length); block f holds the weights from the f-th first bin on, of every voxel and,
            last, of a read outside the image.
        first_row: (voxels of the tile,) the row of each voxel's block.
    """

    length: int
    rows: Tensor
    first_row: Tensor


@dataclass(frozen=True, eq=False)
class _Side:
    """One image's weights and, for each voxel of the tile, the bins it needs."""

    weights: Tensor
    low: Tensor
    high: Tensor
    lengths: tuple[int, ...]

    def kind(self) -> Tensor:
        """The smallest length that fits each voxel, as its number in `lengths`."""
        fits = torch.stack([self.high <= self._first(length) + length for length in self.lengths])
        return torch.argmax(fits.to(torch.uint8), 0)

    def _starts(self, length: int) -> list[int]:
        last = self.weights.shape[1] - length
        return [*range(0, last, _STEP), last]

    def _block(self, length: int) -> Tensor:
        return (self.low // _STEP).clamp(max=len(self._starts(length)) - 1)

    def _first(self, length: int) -> Tensor:
        return torch.tensor(self._starts(length), device=self.low.device)[self._block(length)]

    def rows(self, number: int) -> Rows:
        length = self.lengths[number]
        starts = self._starts(length)
        rows = self.weights if len(starts) == 1 else torch.cat([self.weights[:, s : s + length] for s in starts])
        return Rows(length, rows, self._block(length) * self.weights.shape[0])


@dataclass(frozen=True, eq=False)
class Trimmed:
    """What has to be computed in a tile.

    Args:
        own, other: the patches' image and the windows' image.
        independent: (b, *region) voxels whose information is 0 in every window, because one side is constant.
    """

    own: _Side
    other: _Side
    independent: Tensor

    def groups(self, wanted: Tensor) -> Iterator[tuple[Tensor, Rows, Rows]]:
        """Numbers of the wanted voxels of each group, with the weights of both sides."""
        own, other = self.own.kind(), self.other.kind()
        group = torch.where(wanted.flatten(), own * len(self.other.lengths) + other, -1)
        kept: dict[int, Rows] = {}
        for number in torch.unique(group).tolist():
            if number < 0:
                continue
            mine, theirs = divmod(number, len(self.other.lengths))
            if theirs not in kept:
                kept[theirs] = self.other.rows(theirs)
            yield torch.nonzero(group == number).flatten(), self.own.rows(mine), kept[theirs]


def _extreme(values: Tensor, lists: list[Tensor], largest: bool) -> Tensor:
    """Smallest or largest of (b, *box) over each voxel's reads, (b, *region); reads outside count 0."""
    for axis, places in enumerate(lists, start=1):
        read = places.flatten(1)
        shape = [1] * (values.ndim + 1)
        shape[axis], shape[axis + 1] = read.shape
        taken = torch.unflatten(values.index_select(axis, read.clamp(min=0).flatten()), axis, read.shape)
        taken = torch.where(read.reshape(shape) >= 0, taken, 0.0)
        values = taken.amax(axis + 1) if largest else taken.amin(axis + 1)
    return values


def _some_inside(inside: Tensor, windows: list[Tensor]) -> Tensor:
    """Whether every window of a voxel reads a value within the range, (b, *region)."""
    for axis, places in enumerate(windows, start=1):
        front = inside.movedim(axis, -1)  # (..., n)
        taken = front[..., places.clamp(min=0)]  # (..., n, w, k)
        taken = torch.where(places >= 0, taken, True).any(-1)
        inside = taken.movedim(-2, axis)  # windows of the axes so far stay last
    return inside.flatten(len(windows) + 1).all(-1)


def _lengths(histogram: Bins, trimmed: bool) -> tuple[int, ...]:
    """Sizes of groups: from what one value reaches up to all bins."""
    if not trimmed:
        return (histogram.count,)
    single = int(2 * REACH * histogram.width / histogram.spacing) + 1
    smallest = -(-single // 4) * 4
    step = max(4, -(-(histogram.count - smallest) // 16) * 4)
    return (*range(smallest, histogram.count, step), histogram.count)


def _side(
    histogram: Bins, values: Tensor, lists: list[Tensor], everything: Tensor, trimmed: bool, least: float
) -> _Side:
    weights = histogram.weights(torch.cat([values.flatten(), values.new_zeros(1)]))
    count = histogram.count
    if not trimmed:
        none = torch.zeros(everything.numel(), dtype=torch.int64, device=values.device)
        return _Side(weights, none, none + count, (count,))
    weights = weights.add_(least)
    margin = REACH * histogram.width
    if histogram.normalised:
        near = far = values.clamp(histogram.low, histogram.high)
    else:
        near = torch.where(values > histogram.low - margin, values, torch.inf)
        far = torch.where(values < histogram.high + margin, values, -torch.inf)
    low, high = histogram.support(_extreme(near, lists, False), _extreme(far, lists, True))
    low, high = torch.where(everything, 0, low), torch.where(everything, count, high)
    return _Side(weights, low.flatten(), high.flatten(), _lengths(histogram, True))


def trim(
    histogram: Bins, first: Tensor, second: Tensor, patches: list[Tensor], windows: list[Tensor], trimmed: bool
) -> Trimmed:
    """Decide for each voxel of a tile which bins count.

    Args:
        histogram: the bins.
        first, second: (b, *box) values that patches and windows read.
        patches, windows: coordinates per axis, (n, k) and (n, w, k).
        trimmed: False keeps all bins (with a gradient, whose tails would be cut).
    """
    with torch.no_grad():
        a, b = first.detach(), second.detach()
        ordinary = histogram.normalised or bool(_inside(histogram, a).all())
        independent = _extreme(a, patches, False) == _extreme(a, patches, True)
        constant = _extreme(b, windows, False) == _extreme(b, windows, True)
        everything = torch.zeros_like(independent)
        if histogram.normalised:
            independent = independent | constant
        else:  # far outside the range a constant patch has no histogram: the released layer then gives its maximum
            seen = _some_inside(_inside(histogram, a), [axis.unsqueeze(1) for axis in patches])
            everything = ~(seen & _some_inside(_inside(histogram, b), windows))
            independent = (independent | constant) & ~everything
    own = _side(histogram, first, patches, everything, trimmed, _LEAST if ordinary else _LEAST_OUTSIDE)
    return Trimmed(own, _side(histogram, second, windows, everything, trimmed, _LEAST_OUTSIDE), independent)


def _inside(histogram: Bins, values: Tensor) -> Tensor:
    return (values >= histogram.low) & (values <= histogram.high)
