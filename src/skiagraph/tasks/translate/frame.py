"""From a scan to the frame a prior knows, and back: RAS, the prior's spacing, the head in the middle, [-1, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skiagraph.data.intensity import Scaling
from skiagraph.data.regrid import Grid, grid_of, reorient, resample, spaced_grid
from skiagraph.data.volume import Volume
from skiagraph.errors import DataError
from skiagraph.tasks.translate.method import SourceStack

__all__ = ["MARGIN_MM", "Frame", "frame_of", "framed", "stack_of", "to_slices", "to_volume"]

MARGIN_MM = 6.0
"""Room around the foreground on every side."""

_PLANES = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}


@dataclass(frozen=True)
class Frame:
    """Where a prior sees a scan, and where it came from.

    Args:
        grid: RAS box around the foreground at the prior's spacing; X, Y, Z.
        origin: the grid that the scan came on.
        size: rows and columns of a slice; the box is padded to them.
    """

    grid: Grid
    origin: Grid
    size: tuple[int, int]


def frame_of(
    volume: Volume,
    mask: NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
    size: tuple[int, int],
    multiple: int = 1,
) -> Frame:
    """The box of the mask with a margin, at the prior's spacing, padded on all sides to at least `size`.

    Args:
        volume: the scan, in any orientation.
        mask: (X, Y, Z) on its grid.
        spacing_mm: of the prior, from slice to slice (S), row to row (A), column to column (R).
        size: rows and columns of the prior; larger heads get larger slices.
        multiple: number that must divide the rows and columns, which some networks ask for.
    """
    if not mask.any():
        raise DataError(f"{volume.source or 'volume'}: the mask is empty; no voxel is left to translate")
    upright = reorient(Volume(mask.astype(np.uint8), volume.affine))
    steps = (spacing_mm[2], spacing_mm[1], spacing_mm[0])
    whole = spaced_grid(grid_of(upright), steps)
    corners = np.argwhere(upright.array > 0)
    into = np.linalg.inv(whole.affine) @ upright.affine
    ends = np.stack([into[:3, :3] @ corner + into[:3, 3] for corner in (corners.min(0), corners.max(0))])
    low = np.floor(ends.min(0) - MARGIN_MM / np.asarray(steps)).astype(int)
    high = np.ceil(ends.max(0) + MARGIN_MM / np.asarray(steps)).astype(int)
    for axis, least in ((0, size[1]), (1, size[0])):
        found = int(high[axis] - low[axis] + 1)
        short = -(-max(found, least) // multiple) * multiple - found
        low[axis] -= short // 2
        high[axis] += short - short // 2
    x, y, z = (int(step) for step in high - low + 1)
    shift = np.eye(4)
    shift[:3, 3] = low
    return Frame(Grid((x, y, z), whole.affine @ shift), grid_of(volume), (y, x))


def framed(
    volume: Volume, mask: NDArray[np.bool_], frame: Frame, scaling: Scaling
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Image in [-1, 1] (X, Y, Z) with -1 outside the mask, and the mask, in the frame.

    Args:
        volume: the scan.
        mask: on its grid.
        frame: from `frame_of`.
        scaling: of its intensities to [0, 1].
    """
    inside = resample(Volume(mask.astype(np.float32), volume.affine), frame.grid, order=1, outside=0.0).array > 0.5
    image = resample(volume, frame.grid)
    unit = np.where(inside, scaling.apply(image.array), np.float32(0))
    return (2 * unit - 1).astype(np.float32), inside


def to_slices(array: NDArray[Any], plane: str = "axial") -> NDArray[Any]:
    """(X, Y, Z) as slices (N, rows, columns): axial (Z, Y, X), coronal (Y, Z, X), sagittal (X, Z, Y)."""
    return np.ascontiguousarray(array.transpose(_PLANES[plane]))


def to_volume(slices: NDArray[Any], plane: str = "axial") -> NDArray[Any]:
    """The inverse of `to_slices`."""
    return np.ascontiguousarray(slices.transpose(np.argsort(_PLANES[plane])))


def stack_of(image: NDArray[np.float32], mask: NDArray[np.bool_], frame: Frame, name: str = "") -> SourceStack:
    """A framed image (X, Y, Z) as axial slices for a method."""
    x, y, z = (float(step) for step in np.linalg.norm(frame.grid.affine[:3, :3], axis=0))
    pictures, masks = (torch.from_numpy(to_slices(part)[:, None]) for part in (image, mask))
    return SourceStack(pictures, masks, (z, y, x), name)
