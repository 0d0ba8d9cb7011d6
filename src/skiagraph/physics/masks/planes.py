"""Masks of points in a plane of k-space: Poisson disc and radial spokes on the grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from skiagraph.physics.masks.draws import Draws

__all__ = ["PoissonDisc2D", "RadialOnGrid"]

_SATURATION = 0.547  # covered share of the plane at which random sequential adsorption of discs stops
_SHRINKS = 40  # the radii shrink by a tenth at most so often; 0.9^40 is below a sixtieth


@dataclass(frozen=True)
class PoissonDisc2D:
    """Points at least a radius apart, denser towards the centre, with an exact number of points.

    Points are visited in random order and kept unless they lie within the radius of a kept one; radii grow with the
    distance k from the centre (1 at the farthest edge midpoint) as r^2 = 0.70 / p(k), p(k) = 1 / R_o (1 - slope k)^2.
    If too few points fit, all radii shrink by a tenth and the same order is visited again, at most 40 times; if more
    fit than needed, the first ones are kept. Every loop is bounded.

    Args:
        height: H, first phase-encoding axis.
        width: W, second phase-encoding axis.
        acceleration: R >= 1; round(H W / R) points in all.
        centre: side of the fully sampled square about zero frequency, in points, counted among the points.
        slope: decay of the density towards the edge, in [0, 1); 0 for a constant density.

    Reference:
        Cook, ACM Trans. Graph. 5, 1986 (dart throwing).
    """

    height: int
    width: int
    acceleration: float
    centre: int = 0
    slope: float = 0.5

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"height, width: found {self.height}, {self.width}; both are >= 1.")
        if not 1 <= self.acceleration < math.inf:
            raise ValueError(f"acceleration: found {self.acceleration}; it must be finite and >= 1.")
        if not 0 <= self.centre <= min(self.height, self.width):
            raise ValueError(f"centre: found {self.centre}; allowed 0 ... {min(self.height, self.width)}.")
        if not 0 <= self.slope < 1:
            raise ValueError(f"slope: found {self.slope}; allowed [0, 1), 0 for a constant density.")
        if self.points < self.centre**2:
            raise ValueError(
                f"centre: found {self.centre}, a square of {self.centre**2} points, more than the {self.points} of "
                f"acceleration {self.acceleration}; take a smaller centre or a lower acceleration."
            )

    @property
    def points(self) -> int:
        """Number of sampled points of every mask, the centre included."""
        return max(1, math.floor(self.height * self.width / self.acceleration + 0.5))

    def radius(self) -> Tensor:
        """(H, W) float64 distance, in grid steps, that points keep from a point kept here, before any shrinking."""
        row = (torch.arange(self.height, dtype=torch.float64) - self.height // 2) / max(self.height / 2, 1)
        column = (torch.arange(self.width, dtype=torch.float64) - self.width // 2) / max(self.width / 2, 1)
        distance = torch.hypot(row[:, None], column).clamp(max=1)
        shape = (1 - self.slope * distance) ** 2
        others = max(self.points - self.centre**2, 1)
        density = shape * (others / float(shape.sum()))
        return (4 * _SATURATION / (math.pi * density.clamp(max=1))).sqrt()

    def draw(self, draws: Draws) -> Tensor:
        """(B, 1, H, W)."""
        orders = draws.permutation(self.height * self.width)
        masks = torch.zeros(orders.shape, dtype=torch.float32)
        for mask, order in zip(masks, orders.tolist(), strict=True):
            mask[torch.tensor(self._chosen(order), dtype=torch.int64)] = 1
        return masks.reshape(-1, 1, self.height, self.width).to(orders.device)

    def _chosen(self, order: list[int]) -> list[int]:
        top, left = self.height // 2 - self.centre // 2, self.width // 2 - self.centre // 2
        rows, columns = range(top, top + self.centre), range(left, left + self.centre)
        square = [row * self.width + column for row in rows for column in columns]
        wanted = self.points - len(square)
        radii: list[float] = self.radius().flatten().tolist()
        for _ in range(_SHRINKS):
            found = self._darts(order, radii, square, wanted)
            if len(found) == wanted:
                return square + found
            radii = [0.9 * radius for radius in radii]
        inside = set(square)
        return square + [point for point in order if point not in inside][:wanted]

    def _darts(self, order: list[int], radii: list[float], square: list[int], wanted: int) -> list[int]:
        """The first `wanted` points in this order that keep their distance, or as many as fit."""
        blocked = bytearray(self.height * self.width)
        for point in square:
            blocked[point] = 1
        found: list[int] = []
        for point in order:
            if len(found) == wanted:
                break
            if not blocked[point]:
                found.append(point)
                self._block(blocked, point, radii[point])
        return found

    def _block(self, blocked: bytearray, point: int, radius: float) -> None:
        """Mark all points nearer than `radius`, and the point itself."""
        row, column = divmod(point, self.width)
        blocked[point] = 1
        reach = math.ceil(radius) - 1
        for other in range(max(0, row - reach), min(self.height, row + reach + 1)):
            half = math.ceil(math.sqrt(radius**2 - (other - row) ** 2)) - 1
            first, last = max(0, column - half), min(self.width, column + half + 1)
            if last > first:
                blocked[other * self.width + first : other * self.width + last] = b"\x01" * (last - first)


@dataclass(frozen=True)
class RadialOnGrid:
    """Spokes through the centre of k-space, rounded to the grid, from a random starting angle.

    Args:
        height: H, in points.
        width: W, in points.
        spokes: number of diameters, >= 1.
        angles: "even" for pi / spokes between neighbours, "golden" for pi / golden ratio (111.2 degrees).
    """

    height: int
    width: int
    spokes: int
    angles: Literal["even", "golden"] = "even"

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"height, width: found {self.height}, {self.width}; both are >= 1.")
        if self.spokes < 1:
            raise ValueError(f"spokes: found {self.spokes}; it must be >= 1.")
        if self.angles not in ("even", "golden"):
            raise ValueError(f'angles: found {self.angles!r}; allowed are "even" and "golden".')

    def draw(self, draws: Draws) -> Tensor:
        """(B, 1, H, W)."""
        step = math.pi / self.spokes if self.angles == "even" else math.pi * (math.sqrt(5) - 1) / 2
        start = draws.uniform(1).double() * math.pi
        angle = (start + step * torch.arange(self.spokes, device=start.device)).unsqueeze(2)
        reach = math.ceil(2 * math.hypot(self.height, self.width) / 2)
        along = torch.arange(-reach, reach + 1, device=start.device) / 2
        row = (self.height // 2 + along * angle.sin()).round().long()
        column = (self.width // 2 + along * angle.cos()).round().long()
        inside = (row >= 0) & (row < self.height) & (column >= 0) & (column < self.width)
        index = torch.where(inside, row * self.width + column, self.height // 2 * self.width + self.width // 2)
        mask = torch.zeros(len(draws), self.height * self.width, device=start.device)
        return mask.scatter_(1, index.flatten(1), 1.0).reshape(-1, 1, self.height, self.width)
