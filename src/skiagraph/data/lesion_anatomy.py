"""Brains as shares of tissue, moved, turned, mirrored and bent onto the grid of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Anatomy", "Pose", "posed", "smooth_noise"]

FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One brain, ready to be shown in any contrast.

    Attributes:
        name, group: of the head, and of all its forms.
        parts: (4, X, Y, Z) float32 on a grid of `spacing_mm`, axes right, anterior, superior: shares of fluid, grey and
            white matter, and the residual texture; the shares sum to 1 inside the brain and 0 outside.
        spacing_mm: of that grid, equal along all axes.
    """

    name: str
    group: str
    parts: NDArray[np.float32]
    spacing_mm: float


@dataclass(frozen=True)
class Pose:
    """Where images lie in a brain, and how much the brain is changed from case to case.

    Attributes:
        pixels, pixel_mm: in-plane grid, square.
        slices, slice_mm: number and thickness of axial slices, from the brain's top downwards.
        top_mm: distance of the first slice's upper face below the brain's top.
        rotation_degrees: largest turn in the plane; half of it about the other axes.
        bend_mm: standard deviation of a smooth bend.
    """

    pixels: int = 96
    pixel_mm: float = 2.0
    slices: int = 22
    slice_mm: float = 4.0
    top_mm: float = 16.0
    rotation_degrees: float = 8.0
    bend_mm: float = 3.0

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel edges of the images."""
        return self.pixel_mm, self.pixel_mm, self.slice_mm


def posed(anatomy: Anatomy, pose: Pose, generator: np.random.Generator) -> tuple[NDArray[np.float32], int]:
    """(4, X, Y, Z * n) parts on the images' grid, turned, bent and mirrored, n thin slices a slice; and n."""
    from scipy import ndimage

    thin = max(1, round(pose.slice_mm / anatomy.spacing_mm))
    steps = np.array([pose.pixel_mm, pose.pixel_mm, pose.slice_mm / thin])
    shape = (pose.pixels, pose.pixels, pose.slices * thin)
    brain = anatomy.parts[:3].sum(0) > 0.5
    found = [np.flatnonzero(brain.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    middle = np.array([(line[0] + line[-1]) / 2 for line in found])
    top = float(found[2][-1]) + 0.5
    lines = [(np.arange(side) - (side - 1) / 2) * step for side, step in zip(shape, steps, strict=True)]
    grid = np.stack(np.meshgrid(*lines, indexing="ij"))
    turns = np.radians(generator.uniform(-pose.rotation_degrees, pose.rotation_degrees, 3)) * (0.5, 0.5, 1)
    scale = generator.uniform(0.95, 1.05, 3)
    mirror = -1.0 if generator.random() < 0.5 else 1.0
    matrix = _rotation(turns) @ np.diag([mirror * scale[0], scale[1], scale[2]])
    bend = np.stack([smooth_noise(shape, steps, 25.0, generator) for _ in range(3)]) * pose.bend_mm
    points = np.einsum("ij,j...->i...", matrix, grid + bend)
    depth = (pose.top_mm + pose.slices * pose.slice_mm / 2) / anatomy.spacing_mm
    centre = np.array([middle[0], middle[1], top - depth])
    places = points / anatomy.spacing_mm + centre[:, None, None, None]
    parts = [ndimage.map_coordinates(part, places, order=1, mode="constant") for part in anatomy.parts]
    return np.stack(parts).astype(np.float32), thin


def _rotation(turns: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.eye(3)
    for axis, angle in enumerate(turns):
        one, other = [(1, 2), (0, 2), (0, 1)][axis]
        turn = np.eye(3)
        turn[[one, other], [one, other]] = np.cos(angle)
        turn[one, other], turn[other, one] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def smooth_noise(
    shape: tuple[int, ...], steps: FloatArray, width_mm: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Gaussian field of unit variance and about this width; wide ones are drawn on a coarser grid.

    Args:
        shape, steps: of the grid, steps in mm.
        width_mm: standard deviation of the smoothing.
        generator: of the draws.
    """
    from scipy import ndimage

    coarse = np.maximum(1, np.floor(width_mm / (2 * np.asarray(steps)))).astype(int)
    drawn = generator.normal(size=[-(-side // step) + 1 for side, step in zip(shape, coarse, strict=True)])
    width = [width_mm / (step * factor) for step, factor in zip(steps, coarse, strict=True)]
    field = ndimage.gaussian_filter(drawn, width, mode="wrap")
    if coarse.max() > 1:
        lines = [np.arange(side) / factor for side, factor in zip(shape, coarse, strict=True)]
        field = ndimage.map_coordinates(field, np.stack(np.meshgrid(*lines, indexing="ij")), order=1)
    else:
        field = field[tuple(slice(0, side) for side in shape)]
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-12))
