"""Receive fields of circular loops around a head, from the law of Biot and Savart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Loop", "loop_field", "ring_of_loops", "sensitivity_maps"]

GRID_STEP_MM = 4.0
WIRE_RADIUS_MM = 4.0


@dataclass(frozen=True)
class Loop:
    """One circular receive loop.

    Attributes:
        centre_mm: (x, y, z) of the loop's centre.
        normal: unit vector of its axis.
        radius_mm: radius of the loop.
        gain: complex receiver gain (amplitude and cable phase).
    """

    centre_mm: tuple[float, float, float]
    normal: tuple[float, float, float]
    radius_mm: float
    gain: complex = 1.0


def loop_field(loop: Loop, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the magnetic field (..., 3) of a loop carrying unit current, times 2 pi / mu0, at points (..., 3) in mm.

    With axial distance h, distance from the axis r, loop radius a, Q = (a + r)^2 + h^2, D = (a - r)^2 + h^2 + w^2,
    m = 4 a r / Q and the complete elliptic integrals K(m), E(m):

        B_h = Q^(-1/2) (K + E (a^2 - r^2 - h^2) / D),    B_r = h / (r Q^(1/2)) (-K + E (a^2 + r^2 + h^2) / D),

    where w = 4 mm stands for the thickness of the wire and keeps the field finite on it (Smythe, *Static and Dynamic
    Electricity*, 7.10). The value of gain is not applied here.
    """
    from scipy.special import ellipe, ellipk

    axis = np.asarray(loop.normal, dtype=np.float64)
    offset = points_mm - np.asarray(loop.centre_mm)
    height = offset @ axis
    radial = offset - height[..., None] * axis
    distance = np.maximum(np.linalg.norm(radial, axis=-1), 1e-6)
    a = loop.radius_mm
    q = (a + distance) ** 2 + height**2 + WIRE_RADIUS_MM**2
    d = (a - distance) ** 2 + height**2 + WIRE_RADIUS_MM**2
    m = 4 * a * distance / q
    k, e = ellipk(m), ellipe(m)
    along = (k + e * (a**2 - distance**2 - height**2) / d) / np.sqrt(q)
    outward = height / (distance * np.sqrt(q)) * (-k + e * (a**2 + distance**2 + height**2) / d)
    field: NDArray[np.float64] = along[..., None] * axis + (outward / distance)[..., None] * radial
    return field


def ring_of_loops(
    generator: np.random.Generator, count: int, half_width_mm: float, half_length_mm: float
) -> tuple[Loop, ...]:
    """Draw `count` loops on an ellipse around a head of the given half width (x) and half length (y) in mm.

    Jittered per loop: angle by 15 % of the spacing, distance from the head 30 to 50 mm, height by +-20 mm, radius by
    10 %, tilt by 8 degrees, gain by 10 % and any cable phase; the whole ring is turned by a random angle.
    """
    spacing = 2 * np.pi / count
    first = generator.uniform(0, 2 * np.pi)
    loops = []
    for index in range(count):
        angle = first + spacing * (index + generator.uniform(-0.15, 0.15))
        gap = generator.uniform(30.0, 50.0)
        x, y = (half_width_mm + gap) * np.cos(angle), (half_length_mm + gap) * np.sin(angle)
        inward = np.array([-x / (half_width_mm + gap) ** 2, -y / (half_length_mm + gap) ** 2, 0.0])
        normal = inward / np.linalg.norm(inward) + generator.normal(0.0, np.deg2rad(8.0), 3)
        normal /= np.linalg.norm(normal)
        reach = 0.5 * spacing * np.hypot(half_width_mm + gap, half_length_mm + gap) / np.sqrt(2.0)
        radius = float(np.clip(1.25 * reach, 20.0, 65.0) * generator.uniform(0.9, 1.1))
        gain = complex(generator.uniform(0.9, 1.1) * np.exp(1j * generator.uniform(0, 2 * np.pi)))
        centre = (float(x), float(y), float(generator.uniform(-20.0, 20.0)))
        loops.append(Loop(centre, (float(normal[0]), float(normal[1]), float(normal[2])), radius, gain))
    return tuple(loops)


@lru_cache(maxsize=16)
def _interpolation(start_mm: float, stop_mm: float, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coarse positions (n,) every 4 mm and the cubic-spline matrix (count, n) from them to `count` positions."""
    from scipy.interpolate import make_interp_spline

    length = abs(stop_mm - start_mm)
    along = np.linspace(0.0, length, max(5, round(length / GRID_STEP_MM) + 1))
    matrix = make_interp_spline(along, np.eye(along.size), k=3)(np.linspace(0.0, length, count))
    return start_mm + np.sign(stop_mm - start_mm) * along, np.ascontiguousarray(matrix)


def sensitivity_maps(
    loops: tuple[Loop, ...], x_mm: NDArray[np.float64], y_mm: NDArray[np.float64]
) -> NDArray[np.complex64]:
    """Return the receive fields gain (B_x - i B_y) of all loops in the plane z = 0, (loops, rows, columns).

    Args:
        loops: the receive loops.
        x_mm: (columns,) evenly spaced positions along a row; y_mm: (rows,) along a column; either may decrease.

    The fields are computed every 4 mm and interpolated with a cubic spline.
    """
    coarse_x, to_x = _interpolation(float(x_mm[0]), float(x_mm[-1]), x_mm.size)
    coarse_y, to_y = _interpolation(float(y_mm[0]), float(y_mm[-1]), y_mm.size)
    grid_y, grid_x = np.meshgrid(coarse_y, coarse_x, indexing="ij")
    points = np.stack([grid_x, grid_y, np.zeros_like(grid_x)], axis=-1)
    maps = np.empty((len(loops), y_mm.size, x_mm.size), dtype=np.complex64)
    for index, loop in enumerate(loops):
        field = loop_field(loop, points)
        maps[index] = to_y @ (loop.gain * (field[..., 0] - 1j * field[..., 1])) @ to_x.T
    return maps
