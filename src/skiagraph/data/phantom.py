"""A generated head: different for every seed, with scalp, skull, folded cortex, ventricles and deep nuclei."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.volume import Volume
from skiagraph.errors import InputError

__all__ = ["Ellipsoid", "head_phantom"]

AIR, BONE, CSF, GREY, DEEP_GREY, WHITE, SCALP, MUSCLE, EYE = 0.0, 0.06, 0.16, 0.52, 0.6, 0.75, 1.0, 0.45, 0.2


@dataclass(frozen=True)
class Ellipsoid:
    """One structure of the phantom: centre and half axes in mm of the head's frame, turn about z in degrees, value."""

    centre_mm: tuple[float, float, float]
    half_axes_mm: tuple[float, float, float]
    value: float
    turn_degrees: float = 0.0


@dataclass(frozen=True)
class _Frame:
    """Coordinates (X, Y, Z) in mm of every voxel and the random stream of the head."""

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    z: NDArray[np.float32]
    spacing_mm: float
    generator: np.random.Generator

    def inside(self, shape: Ellipsoid) -> NDArray[np.bool_]:
        """Return the voxels inside an ellipsoid."""
        reach = max(shape.half_axes_mm)
        lines = (self.x[:, 0, 0], self.y[0, :, 0], self.z[0, 0, :])
        near = [np.abs(line - centre) <= reach for line, centre in zip(lines, shape.centre_mm, strict=True)]
        box = np.ix_(*near)
        found = np.zeros(self.x.shape, dtype=bool)
        if all(side.any() for side in near):
            part = _Frame(self.x[box], self.y[box], self.z[box], self.spacing_mm, self.generator)
            found[box] = part.radius(shape) < 1.0
        return found

    def radius(self, shape: Ellipsoid) -> NDArray[np.float32]:
        """Return the radius in units of the ellipsoid's surface: 1 on it."""
        angle = np.deg2rad(shape.turn_degrees)
        x, y, z = (self.x - shape.centre_mm[0], self.y - shape.centre_mm[1], self.z - shape.centre_mm[2])
        along = np.cos(angle) * x + np.sin(angle) * y
        across = -np.sin(angle) * x + np.cos(angle) * y
        a, b, c = shape.half_axes_mm
        radius: NDArray[np.float32] = np.sqrt((along / a) ** 2 + (across / b) ** 2 + (z / c) ** 2)
        return radius

    def smooth_noise(self, width_mm: float) -> NDArray[np.float32]:
        """Draw a smooth random field of unit standard deviation with correlation length `width_mm`."""
        from scipy import ndimage

        step = max(1, int(width_mm / (2.5 * self.spacing_mm)))
        coarse = [-(-size // step) + 1 for size in self.x.shape]
        white = self.generator.standard_normal(coarse, dtype=np.float32)
        field = ndimage.gaussian_filter(white, width_mm / (step * self.spacing_mm), mode="wrap")
        if step > 1:
            field = ndimage.zoom(field, step, order=1)
        field = field[: self.x.shape[0], : self.x.shape[1], : self.x.shape[2]]
        unit: NDArray[np.float32] = ((field - field.mean()) / field.std()).astype(np.float32)
        return unit

    def jitter(self, value: float, relative: float) -> float:
        """Draw a size or intensity around `value` with the given relative standard deviation (cut at 2.5)."""
        return float(value * (1 + relative * np.clip(self.generator.standard_normal(), -2.5, 2.5)))


def _shells(frame: _Frame, size: tuple[float, float, float]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return an image of scalp, muscle and skull, and the depth in mm below the inner surface of the skull."""
    brain = Ellipsoid((0.0, 0.0, 15.0), size, CSF)
    wave = 1.0 + 0.02 * frame.smooth_noise(30.0)
    radius = frame.radius(brain) * wave
    thickness = float(np.mean(size))
    depth = (1.0 - radius) * thickness
    marrow = np.abs(depth + frame.jitter(5.5, 0.15)) < frame.jitter(1.5, 0.2)
    skull = frame.jitter(9.0, 0.1)
    scalp = skull + frame.jitter(7.0, 0.15)
    image = np.full(frame.x.shape, AIR, dtype=np.float32)
    image[depth > -scalp] = frame.jitter(SCALP, 0.08)
    image[(depth > -scalp) & (np.abs(depth + skull + 1.5) < 1.5)] = MUSCLE
    image[depth > -skull] = BONE
    image[marrow] = frame.jitter(0.5, 0.15)
    image[depth > 0] = CSF
    return image, depth.astype(np.float32)


def _cortex(frame: _Frame, image: NDArray[np.float32], depth: NDArray[np.float32]) -> None:
    """Paint folded grey matter around white matter: sulci are level sets of a smooth random field."""
    from scipy import ndimage

    folds = frame.smooth_noise(frame.jitter(3.9, 0.06))
    reach = frame.jitter(24.0, 0.1)
    sulci = (np.abs(folds) < 0.17) & (depth < reach) & (depth > 0)
    fissure = (
        (np.abs(frame.x) < frame.jitter(1.3, 0.2)) & ((frame.z > 20) | (frame.y > 35) | (frame.y < -45)) & (depth < 42)
    )
    fluid = sulci | fissure | (depth < frame.jitter(3.0, 0.2))
    distance = ndimage.distance_transform_edt(~fluid, sampling=frame.spacing_mm)
    brain = depth > 0
    ribbon = frame.jitter(3.0, 0.08)
    image[brain & ~fluid] = frame.jitter(WHITE, 0.03)
    image[brain & ~fluid & (distance < ribbon)] = frame.jitter(GREY, 0.03)
    image[brain & fluid] = frame.jitter(CSF, 0.1)


def _deep_structures(frame: _Frame) -> list[Ellipsoid]:
    """Draw ventricles, nuclei, callosum and some small spots, nearly but not exactly symmetric."""
    shapes = []
    for side in (-1.0, 1.0):
        j = frame.jitter
        wide = j(5.0, 0.25)
        deep = j(DEEP_GREY, 0.04)
        shapes += [
            Ellipsoid((side * j(28, 0.05), j(-2, 0.5), 8.0), (j(8, 0.1), j(16, 0.1), j(11, 0.1)), deep, side * 12),
            Ellipsoid((side * j(17, 0.05), j(16, 0.1), 14.0), (j(6, 0.1), j(10, 0.1), j(12, 0.1)), deep, side * 15),
            Ellipsoid((side * j(10, 0.08), j(-14, 0.1), 10.0), (j(8, 0.1), j(13, 0.1), j(9, 0.1)), deep, side * -20),
            Ellipsoid((side * j(10, 0.1), j(14, 0.2), 22.0), (wide, j(18, 0.12), j(7, 0.15)), CSF, side * 15),
            Ellipsoid((side * j(19, 0.1), j(-28, 0.1), 18.0), (wide, j(20, 0.15), j(7, 0.2)), CSF, side * -22),
            Ellipsoid((side * j(28, 0.05), j(-12, 0.2), -8.0), (j(6, 0.1), j(20, 0.1), j(6, 0.1)), GREY, side * 8),
        ]
    shapes.append(Ellipsoid((0.0, -12.0, 8.0), (frame.jitter(1.8, 0.3), 14.0, 9.0), CSF))
    for _ in range(int(frame.generator.integers(8, 20))):
        place = frame.generator.uniform((-45, -55, -10), (45, 55, 60))
        value = float(frame.generator.choice([CSF, GREY, 1.0]))
        half = frame.generator.uniform(1.2, 3.0, 3)
        shapes.append(
            Ellipsoid(
                (float(place[0]), float(place[1]), float(place[2])),
                (float(half[0]), float(half[1]), float(half[2])),
                value,
            )
        )
    return shapes


def _below(frame: _Frame, image: NDArray[np.float32], depth: NDArray[np.float32]) -> None:
    """Paint cerebellum, brain stem, eyes, air sinuses and the muscles of neck and face."""
    j = frame.jitter
    low = (frame.z < -38) & (depth > -9)
    image[low] = MUSCLE * (1 + 0.15 * frame.smooth_noise(4.0)[low])
    cerebellum = frame.inside(Ellipsoid((0.0, -52.0, -32.0), (j(48, 0.05), j(32, 0.05), j(24, 0.05)), GREY))
    leaves = np.sin((frame.z + 0.35 * frame.y + 2.0 * frame.smooth_noise(8.0)) * 2 * np.pi / j(7.0, 0.1))
    image[cerebellum] = np.where(leaves[cerebellum] > 0.2, j(WHITE, 0.03), j(GREY, 0.03))
    image[frame.inside(Ellipsoid((0.0, -22.0, -30.0), (j(13, 0.08), j(13, 0.08), 40.0), WHITE))] = j(WHITE, 0.03)
    for side in (-1.0, 1.0):
        eye = Ellipsoid((side * j(32, 0.04), j(64, 0.02), -28.0), (12.0, 12.0, 12.0), EYE)
        image[frame.inside(Ellipsoid(eye.centre_mm, (17.0, 17.0, 16.0), SCALP))] = 0.8
        image[frame.inside(eye)] = j(EYE, 0.1)
    image[frame.inside(Ellipsoid((0.0, 62.0, -42.0), (j(16, 0.1), j(24, 0.1), j(20, 0.1)), AIR))] = 0.02


def head_phantom(seed: int, *, spacing_mm: float = 1.5) -> Volume:
    """Generate a T1-like head: (X, Y, Z) float32 with an affine, white matter near 0.75, scalp near 1, air 0.

    Sizes, thicknesses, intensities, folds and small structures are drawn from `seed`: two seeds give two heads. It is
    no anatomy and stands in only where no sample head can be had, and in tests.

    Args:
        seed: any integer.
        spacing_mm: voxel edge, 0.75 to 6 mm.
    """
    from scipy import ndimage

    if not 0.75 <= spacing_mm <= 6.0:
        raise InputError(f"spacing_mm is {spacing_mm}; 0.75 to 6 mm are allowed")
    generator = np.random.default_rng(np.random.SeedSequence([0x5C1A, int(seed) & 0xFFFFFFFF, int(seed) < 0]))
    low, high = np.array([-96.0, -116.0, -66.0]), np.array([96.0, 116.0, 111.0])
    axes = [np.arange(a, b, spacing_mm, dtype=np.float32) for a, b in zip(low, high, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    frame = _Frame(x, y, z, spacing_mm, generator)
    size = (frame.jitter(68.0, 0.03), frame.jitter(86.0, 0.03), frame.jitter(72.0, 0.03))
    image, depth = _shells(frame, size)
    _cortex(frame, image, depth)
    for shape in _deep_structures(frame):
        image[frame.inside(shape) & (depth > 6)] = frame.jitter(shape.value, 0.02)
    _below(frame, image, depth)
    texture = 1 + 0.025 * frame.smooth_noise(3.0) + 0.02 * frame.smooth_noise(25.0)
    image = ndimage.gaussian_filter(image * texture, 0.6 / spacing_mm)
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = low
    return Volume(np.maximum(image, 0.0).astype(np.float32), affine, f"generated head, seed {seed}")
