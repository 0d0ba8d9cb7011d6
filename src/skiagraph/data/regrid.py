"""Another orientation, spacing or grid for a volume, and the way back to the grid it came with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.volume import Volume
from skiagraph.errors import DataError, InputError

__all__ = ["Grid", "check_source", "grid_of", "reorient", "resample", "spaced_grid", "tilt_degrees"]


@dataclass(frozen=True)
class Grid:
    """Where voxels lie.

    Attributes:
        shape: (X, Y, Z).
        affine: (4, 4) voxel index to world mm (RAS+).
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]


def grid_of(volume: Volume) -> Grid:
    """The grid of a volume."""
    x, y, z = volume.array.shape
    return Grid((x, y, z), volume.affine)


def tilt_degrees(affine: NDArray[np.float64]) -> float:
    """Largest angle between an array axis and the nearest world axis, in degrees; 0 for a straight grid."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    nearest = np.clip(np.abs(directions).max(axis=0), 0.0, 1.0)
    return float(np.degrees(np.arccos(nearest.min())))


def check_source(volume: Volume, *, largest_tilt_degrees: float = 15.0) -> None:
    """Refuse what nothing sensible can be made of: NaN, a constant image, a strongly oblique or sheared grid.

    Args:
        volume: to be checked; four-dimensional files and files without affine are refused on reading.
        largest_tilt_degrees: a prior knows slices along the body's axes; smaller tilts are kept as they are.
    """
    name = volume.source or "volume"
    bad = int((~np.isfinite(volume.array)).sum())
    if bad:
        raise DataError(f"{name}: {bad} voxels are NaN or infinite; none may be. Set them to the background's value")
    low, high = float(volume.array.min()), float(volume.array.max())
    if low == high:
        raise DataError(f"{name}: every voxel is {low:g}; a constant image shows nothing. Is it the right file?")
    directions = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    shear = float(np.abs(directions.T @ directions - np.eye(3)).max())
    if shear > 0.02:
        raise DataError(
            f"{name}: its axes are not perpendicular (cosine {shear:.3f}, allowed 0.02); resample it to a straight grid"
        )
    tilt = tilt_degrees(volume.affine)
    if tilt > largest_tilt_degrees:
        raise DataError(
            f"{name}: its slices are tilted by {tilt:.1f} degrees against the body's axes; allowed are "
            f"{largest_tilt_degrees:g}. Resample it to straight slices, or allow more with `largest_tilt_degrees`"
        )


def reorient(volume: Volume, axes: str = "RAS") -> Volume:
    """The same voxels with axes reordered and flipped; world positions do not change, values are not interpolated.

    Args:
        volume: any orientation.
        axes: directions in which the array axes shall grow, such as "RAS" or "LIA".
    """
    import nibabel

    letters = sorted(axes.upper().translate(str.maketrans("LPI", "RAS")))
    if letters != ["A", "R", "S"]:
        raise InputError(f"axes is {axes!r}; three letters are needed, one each of R/L, A/P and S/I, such as 'RAS'")
    steps = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(volume.affine), nibabel.orientations.axcodes2ornt(tuple(axes.upper()))
    )
    array = np.ascontiguousarray(nibabel.apply_orientation(volume.array, steps))
    affine = volume.affine @ nibabel.orientations.inv_ornt_aff(steps, volume.array.shape)
    return Volume(array, affine, volume.source)


def spaced_grid(grid: Grid, spacing_mm: tuple[float, float, float]) -> Grid:
    """The grid with the same axes and another spacing, over the same box: its outer voxel faces cover the old ones."""
    if not all(0 < step < np.inf for step in spacing_mm):
        raise InputError(f"spacing_mm is {spacing_mm}; three lengths in mm above 0 are needed")
    old = np.linalg.norm(grid.affine[:3, :3], axis=0)
    extent = np.asarray(grid.shape) * old
    shape = np.maximum(1, np.ceil(extent / spacing_mm - 1e-6)).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = grid.affine[:3, :3] / old * spacing_mm
    middle = grid.affine @ np.array([*(np.asarray(grid.shape) - 1) / 2, 1.0])
    affine[:3, 3] = middle[:3] - affine[:3, :3] @ ((shape - 1) / 2)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def resample(volume: Volume, grid: Grid, *, order: int = 3, outside: float | None = None) -> Volume:
    """The volume's values on another grid, by B-splines; what is coarsened is smoothed first.

    Smoothing has a standard deviation of half of what the spacing grows by along each axis, in quadrature, so that the
    coarse grid does not alias. Cubic overshoot is cut to the volume's range. The way back is `resample(result,
    grid_of(volume))`.

    Args:
        volume: what to sample.
        grid: where.
        order: 0 (labels, masks), 1 or 3.
        outside: value beyond the volume; None for its smallest.
    """
    from scipy import ndimage

    if order not in (0, 1, 3):
        raise InputError(f"order is {order}; allowed are 0 (nearest), 1 (linear) and 3 (cubic)")
    array = np.asarray(volume.array, dtype=np.float32)
    into = np.linalg.inv(volume.affine) @ grid.affine
    fill = float(array.min()) if outside is None else outside
    if order:
        step = np.linalg.norm(into[:3, :3], axis=1)  # voxels of the volume a step of the grid covers, along each axis
        blur = 0.5 * np.sqrt(np.maximum(step**2 - 1, 0.0))
        if blur.max() > 0.1:
            array = ndimage.gaussian_filter(array, blur, mode="nearest")
    values = ndimage.affine_transform(
        array, into[:3, :3], into[:3, 3], output_shape=grid.shape, order=order, mode="constant", cval=fill
    )
    if order > 1:
        values = np.clip(values, min(float(array.min()), fill), max(float(array.max()), fill))
    return Volume(values.astype(np.float32), grid.affine, volume.source)
