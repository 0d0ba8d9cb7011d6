"""Slices through a head in any pose, on any grid: where the head is, and what a scanner's plane would see of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.volume import Volume
from skiagraph.errors import DataError, InputError

__all__ = [
    "Head",
    "SlicePose",
    "locate_head",
    "plane_coordinates",
    "random_pose",
    "slice_affine",
    "slice_positions",
    "slice_through",
]

REACH_BELOW_TOP_MM = 150.0
SMALLEST_TOP_AREA_MM2 = 3000.0


@dataclass(frozen=True)
class Head:
    """A volume made ready for slicing.

    Attributes:
        coefficients: (X, Y, Z) float32, cubic-spline coefficients of the intensity divided by the volume's 99.5th
            percentile, in RAS order.
        affine: (4, 4) voxel to world mm of the RAS-ordered array.
        centre_mm: (x, y, z) world position of the middle of the head's upper 150 mm; poses turn about it.
        top_mm: world z of the highest axial plane that holds 30 cm2 of head.
        half_size_mm: half width (x) and half length (y) of the head.
        source: name of the volume, for records.
    """

    coefficients: NDArray[np.float32]
    affine: NDArray[np.float64]
    centre_mm: tuple[float, float, float]
    top_mm: float
    half_size_mm: tuple[float, float]
    source: str


@dataclass(frozen=True)
class SlicePose:
    """Where a head lies in the scanner and which plane is measured.

    Attributes:
        slice_mm: position of the axial plane, as world z of the head before it is moved, in mm.
        rotation_degrees: turns about the x, y and z axes through the head's centre, applied in that order.
        translation_mm: (x, y) shift of the head in the plane.
        scale: size of the head relative to the file; 0.5 to 2.
        mirrored: exchange of left and right (only to enlarge a training set).
    """

    slice_mm: float
    rotation_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)
    translation_mm: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    mirrored: bool = False

    def __post_init__(self) -> None:
        if not 0.5 <= self.scale <= 2.0:
            raise InputError(f"scale is {self.scale}; it must lie between 0.5 and 2")

    def matrix(self) -> NDArray[np.float64]:
        """Return the (3, 3) matrix that takes scanner directions to directions in the head's own frame."""
        x, y, z = np.deg2rad(self.rotation_degrees)
        turn_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
        turn_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
        turn_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
        mirror = np.diag([-1.0 if self.mirrored else 1.0, 1.0, 1.0])
        inverse: NDArray[np.float64] = mirror @ (turn_z @ turn_y @ turn_x).T / self.scale
        return inverse


def _head_mask(array: NDArray[np.floating[Any]], level: float) -> NDArray[np.bool_]:
    """Return the largest connected piece above `level` after opening, axial holes filled."""
    from scipy import ndimage

    bright = ndimage.binary_opening(array > level)
    labels, count = ndimage.label(bright)
    if count == 0:
        raise DataError("no head was found in the volume: nothing connected rises above a tenth of its bright level")
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    for index in range(largest.shape[2]):
        largest[:, :, index] = ndimage.binary_fill_holes(largest[:, :, index])
    mask: NDArray[np.bool_] = largest
    return mask


def _feathered(mask: NDArray[np.bool_], step: NDArray[np.int_], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return a soft weight (X, Y, Z), 1 within about 6 mm of the coarse head mask and 0 from 12 mm on."""
    from scipy import ndimage

    weight = ndimage.uniform_filter(ndimage.binary_dilation(mask, iterations=3).astype(np.float32), 3)
    for axis, size in enumerate(shape):
        position = np.minimum(np.arange(size) / step[axis], mask.shape[axis] - 1)
        below = np.minimum(position.astype(int), mask.shape[axis] - 2)
        part = (position - below).astype(np.float32).reshape([-1 if other == axis else 1 for other in range(3)])
        lower, upper = np.take(weight, below, axis), np.take(weight, below + 1, axis)
        weight = lower + (upper - lower) * part
    feathered: NDArray[np.float32] = weight
    return feathered


def locate_head(volume: Volume) -> Head:
    """Find the head in a volume, normalise its intensity and prepare it for slicing.

    Intensity: negative values become 0, then division by the 99.5th percentile of all voxels. Air farther than about
    6 mm from the head becomes 0, because its noise floor is that of another scanner and ends at the file's box. Raises
    DataError when the volume holds no head or is constant.
    """
    from scipy import ndimage

    upright = volume.canonical()
    array = np.maximum(np.asarray(upright.array, dtype=np.float32), 0.0)
    peak = float(np.percentile(array, 99.5))
    if not np.isfinite(peak) or peak <= 0:
        raise DataError(f"volume {volume.source!r}: the 99.5th percentile is {peak}; positive intensities are needed")
    array = array / peak
    spacing = np.asarray(upright.spacing_mm)
    step = np.maximum(1, np.round(3.0 / spacing)).astype(int)
    coarse = array[:: step[0], :: step[1], :: step[2]]
    mask = _head_mask(coarse, 0.1)
    area = mask.sum(axis=(0, 1)) * np.prod(spacing[:2] * step[:2])
    planes = np.flatnonzero(area > SMALLEST_TOP_AREA_MM2)
    if planes.size == 0:
        raise DataError(f"volume {volume.source!r}: no axial plane holds more than 30 cm2 of head; is the unit mm?")
    lowest = max(0, planes[-1] - round(REACH_BELOW_TOP_MM / (spacing[2] * step[2])))
    upper = mask[:, :, lowest : planes[-1] + 1]
    extent = [np.flatnonzero(upper.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    array = array * _feathered(mask, step, array.shape)
    middle = [(float(span[0]) + float(span[-1])) / 2 * int(step[axis]) for axis, span in enumerate(extent)]
    middle[2] += lowest * int(step[2])
    centre = upright.affine @ np.array([*middle, 1.0])
    top = upright.affine @ np.array([middle[0], middle[1], float(planes[-1] * step[2]), 1.0])
    half = [float((span[-1] - span[0]) / 2 * step[axis] * spacing[axis]) for axis, span in enumerate(extent[:2])]
    return Head(
        coefficients=ndimage.spline_filter(array, order=3, output=np.float32, mode="mirror"),
        affine=upright.affine,
        centre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        top_mm=float(top[2]),
        half_size_mm=(half[0], half[1]),
        source=volume.source,
    )


def slice_positions(head: Head, count: int, *, below_top_mm: tuple[float, float] = (25.0, 105.0)) -> tuple[float, ...]:
    """Return `count` evenly spaced world z positions in mm, highest first, through the cerebrum.

    Args:
        head: the head.
        count: at least 1.
        below_top_mm: first and last distance below the head's top.
    """
    if count < 1:
        raise InputError(f"count is {count}; at least 1 slice is needed")
    return tuple(float(head.top_mm - depth) for depth in np.linspace(*below_top_mm, count))


def random_pose(
    head: Head,
    generator: np.random.Generator,
    *,
    below_top_mm: tuple[float, float] = (20.0, 110.0),
    rotation_degrees: float = 12.0,
    translation_mm: float = 8.0,
    scale: tuple[float, float] = (0.92, 1.08),
    mirror: bool = True,
) -> SlicePose:
    """Draw a pose for training: plane, turns, shift and scale uniform in the given ranges, mirrored half the time."""
    turns = generator.uniform(-rotation_degrees, rotation_degrees, 3)
    shift = generator.uniform(-translation_mm, translation_mm, 2)
    return SlicePose(
        slice_mm=float(head.top_mm - generator.uniform(*below_top_mm)),
        rotation_degrees=(float(turns[0]), float(turns[1]), float(turns[2])),
        translation_mm=(float(shift[0]), float(shift[1])),
        scale=float(generator.uniform(*scale)),
        mirrored=bool(generator.random() < 0.5) if mirror else False,
    )


def plane_coordinates(size: int, field_of_view_mm: float) -> NDArray[np.float64]:
    """Return pixel positions in mm, decreasing, with 0 at index size // 2 (where a centred FFT has its origin)."""
    return (size // 2 - np.arange(size, dtype=np.float64)) * (field_of_view_mm / size)


def slice_affine(
    head: Head, pose: SlicePose, shape: tuple[int, int], field_of_view_mm: tuple[float, float], thickness_mm: float
) -> NDArray[np.float64]:
    """Return the (4, 4) affine from (row, column, slice) index to world mm of the head's own file.

    Rows run from anterior to posterior and columns from right to left of the head as it lies in the scanner; index
    (rows // 2, columns // 2) is the centre of the field of view.
    """
    rows, columns = shape
    step = (field_of_view_mm[0] / rows, field_of_view_mm[1] / columns)
    into = np.zeros((3, 3))
    into[1, 0], into[0, 1], into[2, 2] = -step[0], -step[1], thickness_mm
    matrix = pose.matrix()
    centre = np.asarray(head.centre_mm)
    shift = np.array([*pose.translation_mm, 0.0])
    plane = np.array([0.0, 0.0, (pose.slice_mm - centre[2]) * pose.scale])
    affine = np.eye(4)
    affine[:3, :3] = matrix @ into
    middle = into @ np.array([-(rows // 2), -(columns // 2), 0.0])
    affine[:3, 3] = centre + matrix @ (middle + plane - shift)
    return affine


def slice_through(
    head: Head, pose: SlicePose, shape: tuple[int, int], field_of_view_mm: tuple[float, float] = (256.0, 256.0)
) -> NDArray[np.float32]:
    """Return the head's normalised intensity (rows, columns) in the plane of `pose`, 0 outside the file's box.

    Cubic-spline interpolation, negative overshoot cut at 0. Rows and columns as in `slice_affine`.
    """
    from scipy import ndimage

    affine = np.linalg.inv(head.affine) @ slice_affine(head, pose, shape, field_of_view_mm, 1.0)
    rows = np.arange(shape[0], dtype=np.float64)[:, None]
    columns = np.arange(shape[1], dtype=np.float64)[None, :]
    voxels = np.stack([affine[axis, 0] * rows + affine[axis, 1] * columns + affine[axis, 3] for axis in range(3)])
    values = np.zeros(shape, dtype=np.float32)
    limits = np.asarray(head.coefficients.shape)[:, None, None] - 1
    inside = ((voxels >= 0) & (voxels <= limits)).all(axis=0)
    values[inside] = ndimage.map_coordinates(
        head.coefficients, voxels[:, inside], order=3, mode="mirror", prefilter=False, output=np.float32
    )
    return np.maximum(values, 0.0)
