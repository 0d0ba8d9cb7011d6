"""Local information on the processor, voxel by voxel in machine code: what batched products of histograms do slowly.

Every value reaches a few bins only, so that a voxel's joint histogram is a handful of small outer products; it stays in
the innermost cache until its entropy is known. numba makes the code on first use (some seconds) and keeps it on disk.
No gradient, single precision; `slabs` has the way for everything else.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skiagraph.similarity.bins import REACH, Bins
from skiagraph.similarity.kernels import BLOCK, fill_voxels

__all__ = ["information_map"]


def _side(histogram: Bins, image: Tensor, reach: int, bins: int) -> tuple[Any, ...]:
    """Codes of all voxels and, last, of a read outside. A code is a value that occurs; of each: weights (n, bins),
    first bin (-1: out of reach), mass, whether it is within the range.
    """
    values, codes = torch.unique(torch.cat([image.flatten(), image.new_zeros(1)]), return_inverse=True)
    weights = torch.zeros(len(values), bins)
    weights[:, : histogram.count] = histogram.weights(values)
    near = values.clamp(histogram.low, histogram.high) if histogram.normalised else values
    margin = REACH * histogram.width
    low = histogram.support(near, near)[0].clamp(max=bins - reach).int()
    if not histogram.normalised:
        low = torch.where((values > histogram.low - margin) & (values < histogram.high + margin), low, -1)
    inside = (values >= histogram.low) & (values <= histogram.high)
    return tuple(part.numpy() for part in (codes.int(), weights, low, weights.sum(1), inside))


def _lists(axes: list[Tensor], box: tuple[int, ...]) -> tuple[Any, ...]:
    """Coordinates (n, w, k) of three axes; the box; where they are those of the middle voxel, shifted; and the offsets
    (windows, reads) from a voxel's own number to what it then reads.
    """
    shifts = [axis - torch.arange(len(axis))[:, None, None] for axis in axes]
    regular = [
        ((shift == shift[len(shift) // 2]) & (axis >= 0)).flatten(1).all(1)
        for shift, axis in zip(shifts, axes, strict=True)
    ]
    x, y, z = (shift[len(shift) // 2] for shift in shifts)
    offsets = (x[:, None, None, :, None, None] * box[1] + y[None, :, None, None, :, None]) * box[2]
    offsets = offsets + z[None, None, :, None, None, :]
    lists = tuple(axis.contiguous().numpy() for axis in axes)
    return lists, box, tuple(rows.numpy() for rows in regular), offsets.flatten(0, 2).flatten(1).numpy()


def information_map(
    histogram: Bins, images: tuple[Tensor, Tensor], patches: list[Tensor], windows: list[Tensor], wanted: Tensor,
    floor: float, normalise: bool, order: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Largest information over the windows (n, ...) of one sample, 0 where nothing is wanted.

    Args:
        histogram: the bins.
        images: what patches and windows read, float32, with the same 2 or 3 axes.
        patches, windows: coordinates in them per axis, (n, k) and (n, w, k), -1 for a read outside (intensity 0).
        wanted: (n, ...) bool.
        floor, normalise: see `paired_information`.
        order: places (m,) of the values of a patch; None is their own.
    """
    bins = -(-histogram.count // BLOCK) * BLOCK
    reach = min(int(2 * REACH * histogram.width / histogram.spacing) + 1, histogram.count)
    own, other = (_side(histogram, image, reach, bins) for image in images)
    missing = [torch.zeros(1, 1, 1, dtype=torch.int64)] * (3 - len(patches))
    mine, theirs = (
        _lists([*missing, *axes], (*[1] * len(missing), *image.shape))
        for axes, image in zip(([axis.unsqueeze(1) for axis in patches], windows), images, strict=True)
    )
    chosen = wanted.reshape(*[1] * len(missing), *wanted.shape).contiguous().numpy()
    result = np.zeros(wanted.numel(), np.float32)
    options = np.float32(floor), normalise, histogram.normalised, bins
    reads = mine[3].shape[1]
    paired = np.arange(reads) if order is None else order.numpy()
    threads = torch.get_num_threads()
    ends = np.linspace(0, len(result), 8 * threads + 1 if threads > 1 else 2).astype(int).tolist()
    parts = list(itertools.pairwise(ends))
    with ThreadPoolExecutor(threads) as pool:
        list(
            pool.map(
                lambda part: fill_voxels(result, chosen, part, mine, theirs, own, other, reach, paired, options), parts
            )
        )
    return torch.from_numpy(result).reshape(wanted.shape)
