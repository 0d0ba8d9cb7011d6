"""Local information of whole images: tiles that fit a memory cap, and within them batched products of histograms.

What is plain (single precision on the processor, no gradient, largest window) goes voxel by voxel instead: `compiled`.
"""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial, reduce

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from skiagraph.similarity.bins import Bins
from skiagraph.similarity.information import paired_information
from skiagraph.similarity.trimming import trim
from skiagraph.similarity.windows import Boundary, WindowKind, patch_list, shifted_list, tiled_list

__all__ = ["Plan", "compute_map", "other_order"]

_CHUNK = 2**20  # histogram entries that are worked on at once: they stay in the processor's cache
_RETURN_EVERY = 8  # parts with a gradient, after which freed memory is given back
_COPIES = 12  # a bound on the rows of weights kept per voxel, in units of one full row


@dataclass(frozen=True)
class Plan:
    """What is computed, with every option resolved to the images' axes; see `LocalInformation`.

    Args:
        shape: spatial shape of the images.
        histogram: the bins.
        patch, radius: per axis.
        windows, boundary, normalise, debias, memory: as in `LocalInformation`.
        floor: see `paired_information`.
        temperature: of the soft maximum; None is the maximum.
    """

    shape: tuple[int, ...]
    histogram: Bins
    patch: tuple[int, ...]
    radius: tuple[int, ...]
    windows: WindowKind
    boundary: Boundary
    floor: float
    normalise: bool
    temperature: float | None
    debias: bool
    memory: int

    def patch_lists(self) -> list[Tensor]:
        """Per axis (N, k)."""
        return [patch_list(size, k, self.boundary) for size, k in zip(self.shape, self.patch, strict=True)]

    def window_lists(self) -> list[Tensor]:
        """Per axis (N, windows, k)."""
        if self.windows == "tiled":
            return [tiled_list(size, k) for size, k in zip(self.shape, self.patch, strict=True)]
        sides = zip(self.shape, self.patch, self.radius, strict=True)
        return [shifted_list(size, k, radius, self.boundary) for size, k, radius in sides]

    @property
    def reach(self) -> tuple[int, ...]:
        """Voxels to each side that a map value depends on, per axis."""
        further = (0,) * len(self.shape) if self.windows == "tiled" else self.radius
        return tuple(k // 2 + radius for k, radius in zip(self.patch, further, strict=True))

    @property
    def voxel_bytes(self) -> int:
        """Bytes of weights per voxel of a tile, float32."""
        return 2 * 4 * _COPIES * self.histogram.count


def other_order(count: int) -> Tensor:
    """The order, always the same, in which a patch's values tell nothing of a window's."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))


def compute_map(plan: Plan, first: Tensor, second: Tensor, mask: Tensor | None) -> Tensor:
    """Map (B, *S) of images (B, *S), 0 outside the mask (B, *S)."""
    result = torch.zeros_like(first, requires_grad=False)
    patches, windows = plan.patch_lists(), plan.window_lists()
    for samples, region in _tiles(plan, first.shape[0]):
        chosen = (samples, *region)
        tile = _Tile.cut(plan, first[samples], second[samples], patches, windows, region)
        result[chosen] = tile.values(None if mask is None else mask[chosen])
    return result


def _return_memory(gradient: Tensor | None = None) -> None:
    """Give freed memory back to the system.

    With a gradient small tensors stay between large ones that go, which keeps glibc from doing so by itself: the
    program would grow by some of what it computes with at every step. Elsewhere than in glibc nothing is done.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _tiles(plan: Plan, batch: int) -> Iterator[tuple[slice, tuple[slice, ...]]]:
    """Whole samples, as many as fit; otherwise boxes of one sample whose weights fit with their margin."""
    room = max(1, plan.memory // 2 // plan.voxel_bytes)
    samples = room // math.prod(plan.shape)
    if samples:
        everything = tuple(slice(0, size) for size in plan.shape)
        for start in range(0, batch, samples):
            yield slice(start, min(start + samples, batch)), everything
        return
    sides = list(plan.shape)
    while math.prod(side + 2 * reach for side, reach in zip(sides, plan.reach, strict=True)) > room and max(sides) > 1:
        longest = sides.index(max(sides))
        sides[longest] = -(-sides[longest] // 2)
    ranges = [
        [slice(start, min(start + side, size)) for start in range(0, size, side)]
        for side, size in zip(sides, plan.shape, strict=True)
    ]
    for sample in range(batch):
        for region in itertools.product(*ranges):
            yield slice(sample, sample + 1), region


def _cut_lists(lists: list[Tensor], region: tuple[slice, ...]) -> tuple[list[Tensor], tuple[slice, ...]]:
    """Lists of the region's rows, counted from the first voxel that they read, and the box that they read."""
    cut, box = [], []
    for axis, rows in zip(lists, region, strict=True):
        part = axis[rows]
        low = int(torch.where(part >= 0, part, axis.shape[0]).min())
        box.append(slice(low, int(part.max()) + 1))
        cut.append(torch.where(part >= 0, part - low, -1))
    return cut, tuple(box)


@dataclass(frozen=True, eq=False)
class _Tile:
    """Some voxels of some samples with what they read.

    Args:
        plan: what to compute.
        first, second: (b, *box) what the patches and the windows read.
        patches, windows: coordinates in these boxes per axis, (n, k) and (n, w, k).
    """

    plan: Plan
    first: Tensor
    second: Tensor
    patches: list[Tensor]
    windows: list[Tensor]

    @classmethod
    def cut(
        cls, plan: Plan, first: Tensor, second: Tensor, patches: list[Tensor], windows: list[Tensor],
        region: tuple[slice, ...],
    ) -> _Tile:  # fmt: skip
        """The tile of a region."""
        own, box = _cut_lists(patches, region)
        other, wider = _cut_lists(windows, region)
        device = first.device
        return cls(
            plan,
            first[(slice(None), *box)],
            second[(slice(None), *wider)],
            [axis.to(device) for axis in own],
            [axis.to(device) for axis in other],
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """(b, *region)."""
        return (self.first.shape[0], *(axis.shape[0] for axis in self.patches))

    @property
    def _exact(self) -> bool:
        """Double precision is asked for exactness: nothing is left out."""
        return self.first.dtype == torch.float64

    @property
    def _compiled(self) -> bool:
        """Whether machine code for voxels has this form."""
        one = all(axis.shape[1] == 1 for axis in self.windows)
        plain = self.plan.temperature is None and (not self.plan.debias or one)
        return plain and self.first.dtype == torch.float32 and self.first.device.type == "cpu"

    def _by_voxel(self, wanted: Tensor) -> Tensor:
        from skiagraph.similarity.compiled import information_map

        plan, maps = self.plan, []
        for a, b, chosen in zip(self.first.detach(), self.second.detach(), wanted, strict=True):
            make = partial(information_map, plan.histogram, (a, b), self.patches, self.windows, chosen, plan.floor)
            found = make(plan.normalise)
            maps.append(found - make(plan.normalise, other_order(math.prod(plan.patch))) if plan.debias else found)
        return torch.stack(maps)

    def values(self, mask: Tensor | None) -> Tensor:
        """Map (b, *region)."""
        graded = torch.is_grad_enabled() and (self.first.requires_grad or self.second.requires_grad)
        wanted = torch.ones(self.shape, dtype=torch.bool, device=self.first.device) if mask is None else mask
        if not graded and self._compiled:
            return self._by_voxel(wanted)
        exact = graded or self._exact
        trimmed = trim(self.plan.histogram, self.first, self.second, self.patches, self.windows, not exact)
        result = self.first.new_zeros(math.prod(self.shape))
        if graded:
            result = result + 0 * (self.first.sum() + self.second.sum())  # differentiable when nothing is left
        wanted = wanted & ~trimmed.independent
        for rows, own, other in trimmed.groups(wanted):
            for number, part in enumerate(torch.split(rows, self._chunk(own.length, other.length, graded))):
                arguments = (part, own.rows, own.first_row[part], other.rows, other.first_row[part])
                if graded:
                    found = checkpoint(self._reduced, *arguments, use_reentrant=False)
                    result = result.index_put((part,), found)
                    if number % _RETURN_EVERY == 0:
                        _return_memory()
                        found.register_hook(_return_memory)  # on the way back too
                else:
                    result.index_copy_(0, part, self._reduced(*arguments))
        return result.reshape(self.shape)

    def _chunk(self, own: int, other: int, graded: bool) -> int:
        """Voxels at once: in cache without a gradient, within the memory cap always."""
        windows = math.prod(axis.shape[1] for axis in self.windows)
        entries = windows * (own * other + math.prod(self.plan.patch) * (other + 2)) + 1
        allowed = self.plan.memory // (6 * self.first.element_size() * entries)
        return max(1, allowed if graded else min(allowed, _CHUNK // (windows * own * other)))

    def _reduced(self, part: Tensor, own: Tensor, own_first: Tensor, other: Tensor, other_first: Tensor) -> Tensor:
        """Map values (n,) of voxels given by their number in the tile."""
        places = torch.unravel_index(part, self.shape)
        mine = self._index(
            [axis[place] for axis, place in zip(self.patches, places[1:], strict=True)], places[0], self.first
        )
        theirs = self._index(
            [axis[place] for axis, place in zip(self.windows, places[1:], strict=True)], places[0], self.second
        )
        u = own.index_select(0, (mine + own_first[:, None]).flatten()).reshape(*mine.shape, -1)
        v = other.index_select(0, (theirs + other_first[:, None, None]).flatten()).reshape(*theirs.shape, -1)
        value = paired_information(u, v, self.plan.floor, self.plan.normalise, not (u.requires_grad or self._exact))
        if self.plan.debias:
            order = other_order(u.shape[1]).to(u.device)
            value = value - paired_information(u[:, order], v, self.plan.floor, self.plan.normalise)
        if self.plan.temperature is None:
            return value.amax(1) if not value.requires_grad else value.max(1).values
        tau = self.plan.temperature
        return tau * (torch.logsumexp(value / tau, 1) - math.log(value.shape[1]))

    def _index(self, axes: list[Tensor], sample: Tensor, image: Tensor) -> Tensor:
        """Flat voxel numbers (n, m) or (n, m, w) from coordinates (n, k) or (n, w, k) per axis.

        The outer product runs over patches and, apart, over windows; reads outside become the number after the last.
        """
        box = image.shape[1:]
        count, last = math.prod(box), image.numel()
        strides = [math.prod(box[axis + 1 :]) for axis in range(len(box))]
        dimensions = len(axes)
        placed = []
        for axis, (coordinate, stride) in enumerate(zip(axes, strides, strict=True)):
            flat = torch.where(coordinate >= 0, coordinate * stride, -(last + 1) * dimensions)
            windowed = flat.transpose(1, 2) if flat.ndim == 3 else flat.unsqueeze(2)
            shape = [1] * (2 * dimensions)
            shape[axis], shape[dimensions + axis] = windowed.shape[1:]
            placed.append(windowed.reshape(len(sample), *shape))
        total = reduce(torch.add, placed).reshape(len(sample), math.prod(a.shape[-1] for a in axes), -1)
        total = torch.where(total >= 0, total + (sample * count)[:, None, None], last)
        return total.squeeze(2) if axes[0].ndim == 2 else total
