"""From an outline to a body: size, turn, mild warp, third dimension, soft rim, on any grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.lesion_shapes import LesionShape, ShapeBank, Side

__all__ = ["LesionBody", "draw_body", "soft_fraction"]

FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class LesionBody:
    """One lesion in millimetres, about its own centre.

    Attributes:
        shape: its outline.
        diameter_mm: equivalent diameter of the outline.
        half_height_mm: half of its extent along the third axis.
        rim_mm: width over which its share falls from 1 to 0.
        angle: turn in the plane, radians.
        mirrored: whether the outline is mirrored.
        warp: (4,) amplitudes (share of the diameter) and phases (radians) of a smooth bend of both axes.
    """

    shape: LesionShape
    diameter_mm: float
    half_height_mm: float
    rim_mm: float
    angle: float
    mirrored: bool
    warp: tuple[float, float, float, float]

    @property
    def reach_mm(self) -> float:
        """No part of it lies farther from its centre along an axis of the plane."""
        reach: float = self.shape.step * max(self.shape.distance.shape) / 2 * self.diameter_mm
        return reach

    def distance_mm(self, x: FloatArray, y: FloatArray, z: FloatArray) -> NDArray[np.float32]:
        """Signed distance at points (mm from its centre; all broadcast), negative inside.

        d3 = d2(x, y) + D (1 - sqrt(1 - (z / h)^2)) for |z| <= h with D the depth of the outline, and outside beyond.
        """
        from scipy import ndimage

        u, v = x / self.diameter_mm, y / self.diameter_mm
        u, v = np.broadcast_arrays(u, v)
        turned = np.cos(self.angle) * u - np.sin(self.angle) * v, np.sin(self.angle) * u + np.cos(self.angle) * v
        first = -turned[0] if self.mirrored else turned[0]
        a, b, phase_a, phase_b = self.warp
        bent = first + a * np.sin(3 * turned[1] + phase_a), turned[1] + b * np.sin(3 * first + phase_b)
        middle = (np.asarray(self.shape.distance.shape) - 1) / 2
        places = np.stack([bent[axis] / self.shape.step + middle[axis] for axis in range(2)])
        flat = ndimage.map_coordinates(self.shape.distance, places, order=1, mode="nearest") * self.diameter_mm
        height = np.clip(z / self.half_height_mm, -1, 1)
        depth = self.shape.depth * self.diameter_mm * (1 - np.sqrt(1 - height**2))
        beyond = np.where(np.abs(z) > self.half_height_mm, 1e3, 0.0)
        return np.asarray(flat + depth + beyond, dtype=np.float32)


def draw_body(
    bank: ShapeBank,
    side: Side,
    generator: np.random.Generator,
    *,
    diameter_mm: tuple[float, float] = (4.0, 30.0),
    rim_mm: tuple[float, float] = (1.0, 2.0),
) -> LesionBody:
    """Draw outline, size (log-uniform), height (0.8 to 1.2 of the diameter), turn, mirror, bend and rim.

    Args:
        bank: of outlines.
        side: whose outlines.
        generator: of every draw.
        diameter_mm, rim_mm: smallest and largest.
    """
    shape = bank.draw(side, generator)
    diameter = float(np.exp(generator.uniform(*np.log(diameter_mm))))
    bend = generator.uniform(0, 0.05, 2)
    phases = generator.uniform(0, 2 * np.pi, 2)
    return LesionBody(
        shape=shape,
        diameter_mm=diameter,
        half_height_mm=float(generator.uniform(0.4, 0.6)) * diameter,
        rim_mm=float(generator.uniform(*rim_mm)),
        angle=float(generator.uniform(0, 2 * np.pi)),
        mirrored=bool(generator.random() < 0.5),
        warp=(float(bend[0]), float(bend[1]), float(phases[0]), float(phases[1])),
    )


def soft_fraction(
    body: LesionBody,
    centre: tuple[float, float, float],
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    *,
    finer: int = 2,
) -> NDArray[np.float32]:
    """(X, Y, Z) share of every voxel that is lesion: the mean of clip(0.5 - d3 / rim, 0, 1) over finer points.

    The mean over the voxel's extent along the third axis is the slice profile.

    Args:
        body: the lesion.
        centre: voxel index of its centre, need not be whole.
        shape, spacing_mm: of the grid, straight axes.
        finer: points a voxel along each axis.
    """
    share = np.zeros(shape, dtype=np.float32)
    reach = (body.reach_mm, body.reach_mm, body.half_height_mm)
    box, lines = [], []
    for axis in range(3):
        extent = reach[axis] / spacing_mm[axis] + 1
        low = max(0, int(np.floor(centre[axis] - extent)))
        high = min(shape[axis], int(np.ceil(centre[axis] + extent)) + 1)
        if low >= high:
            return share
        offsets = (np.arange(finer) + 0.5) / finer - 0.5
        places = (np.arange(low, high)[:, None] + offsets).ravel() - centre[axis]
        box.append(slice(low, high))
        lines.append(places * spacing_mm[axis])
    distance = body.distance_mm(lines[0][:, None, None], lines[1][None, :, None], lines[2][None, None, :])
    fine = np.clip(0.5 - distance / body.rim_mm, 0, 1)
    sides = [(part.stop - part.start, finer) for part in box]
    share[tuple(box)] = fine.reshape(*sides[0], *sides[1], *sides[2]).mean((1, 3, 5))
    return share
