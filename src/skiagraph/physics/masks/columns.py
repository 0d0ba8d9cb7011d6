"""Masks of whole k-space columns (lines along the last axis) around a fully sampled centre."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from skiagraph.physics.masks.draws import Draws, covering_bernoulli, covering_subsets, needed, random_subsets

__all__ = [
    "EquispacedColumns",
    "ExactColumns",
    "RandomColumns",
    "VariableDensityColumns",
    "centre_columns",
    "exact_lines",
    "nominal_lines",
]


def centre_columns(width: int, centre: int) -> Tensor:
    """(W,) boolean, on in the `centre` columns width // 2 - centre // 2 ... about zero frequency."""
    columns = torch.arange(width)
    first = width // 2 - centre // 2
    return (columns >= first) & (columns < first + centre)


def nominal_lines(width: int, acceleration: float, centre: int) -> float:
    """Expected lines of the nominal acceleration R: centre + (width - centre) / R, more than width / R."""
    _check(width, acceleration, centre)
    return centre + (width - centre) / acceleration


def exact_lines(width: int, acceleration: float, centre: int = 0) -> int:
    """Lines for which the effective acceleration is R: width / R rounded, the centre included."""
    _check(width, acceleration, centre)
    lines = max(1, math.floor(width / acceleration + 0.5))
    if lines < centre:
        raise ValueError(
            f"centre: found {centre} lines, more than the {lines} of {width} columns at acceleration {acceleration}; "
            "take fewer centre lines or a lower acceleration."
        )
    return lines


def _check(width: int, acceleration: float, centre: int) -> None:
    if width < 1:
        raise ValueError(f"width: found {width}; the number of columns is >= 1.")
    if not 1 <= acceleration < math.inf:
        raise ValueError(f"acceleration: found {acceleration}; it must be finite and >= 1 (1 samples everything).")
    if not 0 <= centre <= width:
        raise ValueError(f"centre: found {centre}; allowed 0 to the width, {width} columns.")


def _as_mask(columns: Tensor) -> Tensor:
    """(..., W) boolean -> (..., 1, 1, W) float32."""
    return columns[..., None, None, :].float()


def _with_centre(others: Tensor, width: int, centre: int) -> Tensor:
    """Place (..., W - centre) booleans outside the fully sampled centre -> (..., W)."""
    inside = centre_columns(width, centre).to(others.device)
    columns = inside.expand(*others.shape[:-1], width).clone()
    columns[..., ~inside] = others
    return columns


@dataclass(frozen=True)
class RandomColumns:
    """The centre always, every other column independently with probability 1 / R (measurement-score, section 6.4).

    The number of lines varies from mask to mask about `nominal_lines`; the effective acceleration is below R.

    Args:
        width: W, number of columns.
        acceleration: R >= 1, nominal.
        centre: number of fully sampled columns about zero frequency.
    """

    width: int
    acceleration: float
    centre: int

    def __post_init__(self) -> None:
        _check(self.width, self.acceleration, self.centre)

    def draw(self, draws: Draws) -> Tensor:
        """(B, 1, 1, W)."""
        on = draws.uniform(self.width) < 1 / self.acceleration
        return _as_mask(on | centre_columns(self.width, self.centre).to(on.device))

    def covering(self, draws: Draws, count: int | None = None) -> Tensor:
        """(B, ceil(R), 1, 1, W): masks of one and the same number of lines, ceil((W - centre) / R) beside the centre.

        A random partition of the other columns, filled up with random repeats. Every mask has the expected number of
        lines of `draw` (rounded up) and is uniform among the masks of that number.
        """
        others = self.width - self.centre
        keep = math.ceil(round(others / self.acceleration, 9))
        count = math.ceil(self.acceleration) if count is None else count
        return _as_mask(_with_centre(covering_subsets(draws, others, keep, count), self.width, self.centre))


@dataclass(frozen=True)
class ExactColumns:
    """The centre and a fixed number of other columns, uniformly at random.

    Args:
        width: W, number of columns.
        acceleration: R >= 1.
        centre: number of fully sampled columns about zero frequency, counted among the lines.
        counting: "exact" for W / R lines in all, so that the effective acceleration is R; "nominal" for the expected
            number of `RandomColumns`, centre + (W - centre) / R; both rounded.
    """

    width: int
    acceleration: float
    centre: int
    counting: Literal["exact", "nominal"] = "exact"

    def __post_init__(self) -> None:
        if self.counting not in ("exact", "nominal"):
            raise ValueError(f'counting: found {self.counting!r}; allowed are "exact" and "nominal".')
        _ = self.lines

    @property
    def lines(self) -> int:
        """Number of sampled columns of every mask, the centre included."""
        if self.counting == "exact":
            return exact_lines(self.width, self.acceleration, self.centre)
        return math.floor(nominal_lines(self.width, self.acceleration, self.centre) + 0.5)

    def draw(self, draws: Draws) -> Tensor:
        """(B, 1, 1, W)."""
        others = random_subsets(draws, self.width - self.centre, self.lines - self.centre)
        return _as_mask(_with_centre(others, self.width, self.centre))

    def covering(self, draws: Draws, count: int | None = None) -> Tensor:
        """(B, count, 1, 1, W): each mask with the law of `draw`; by default ceil((W - centre) / (lines - centre))."""
        others, keep = self.width - self.centre, self.lines - self.centre
        count = needed(others, keep) if count is None else count
        return _as_mask(_with_centre(covering_subsets(draws, others, keep, count), self.width, self.centre))


@dataclass(frozen=True)
class EquispacedColumns:
    """Every R-th column from a random offset, and the centre.

    Column j is on when (j + o) mod R < 1 with o uniform in [0, R), which is meaningful for fractional R and gives each
    column the probability 1 / R.

    Args:
        width: W, number of columns.
        acceleration: R >= 1, nominal.
        centre: number of fully sampled columns about zero frequency.
    """

    width: int
    acceleration: float
    centre: int

    def __post_init__(self) -> None:
        _check(self.width, self.acceleration, self.centre)

    def draw(self, draws: Draws) -> Tensor:
        """(B, 1, 1, W)."""
        return self._combs(draws, 1)[:, 0]

    def covering(self, draws: Draws, count: int | None = None) -> Tensor:
        """(B, ceil(R), 1, 1, W): the comb and its shifts by one column; line counts differ by at most a few."""
        least = math.ceil(self.acceleration)
        count = least if count is None else count
        if count < least:
            raise ValueError(
                f"count: found {count}; {least} shifted combs are needed at acceleration {self.acceleration}."
            )
        return self._combs(draws, count)

    def _combs(self, draws: Draws, count: int) -> Tensor:
        offset = draws.uniform(1).double() * self.acceleration
        shift = torch.arange(count, device=offset.device)[:, None]
        columns = torch.arange(self.width, device=offset.device)
        on = (columns + shift + offset.unsqueeze(1)) % self.acceleration < 1
        return _as_mask(on | centre_columns(self.width, self.centre).to(on.device))


@dataclass(frozen=True)
class VariableDensityColumns:
    """The centre, and other columns independently with a probability that falls towards high frequencies.

    p_j = min(1, floor / R + c (1 - |k_j| / (W // 2 + 1))^power) with c such that the expected number of lines is
    `nominal_lines`.

    Args:
        width: W, number of columns.
        acceleration: R >= 1, nominal.
        centre: number of fully sampled columns about zero frequency.
        power: decay of the density, >= 0.
        floor: least probability as a fraction of 1 / R, in (0, 1].
    """

    width: int
    acceleration: float
    centre: int
    power: float = 2.0
    floor: float = 0.5

    def __post_init__(self) -> None:
        _check(self.width, self.acceleration, self.centre)
        if self.power < 0:
            raise ValueError(f"power: found {self.power}; it must be >= 0.")
        if not 0 < self.floor <= 1:
            raise ValueError(f"floor: found {self.floor}; allowed (0, 1], 1 for a constant density.")

    def probability(self) -> Tensor:
        """(W,) float64 inclusion probability of every column."""
        return _column_density(self.width, self.acceleration, self.centre, self.power, self.floor).clone()

    def draw(self, draws: Draws) -> Tensor:
        """(B, 1, 1, W)."""
        u = draws.uniform(self.width)
        return _as_mask(u < self.probability().to(u.device))

    def covering(self, draws: Draws, count: int | None = None) -> Tensor:
        """(B, count, 1, 1, W) with the law of `draw` each; by default the ceiling of R / floor masks."""
        probability = self.probability()
        count = math.ceil(round(1 / float(probability.min()), 9)) if count is None else count
        return _as_mask(covering_bernoulli(draws, probability, count))


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _column_density(width: int, acceleration: float, centre: int, power: float, floor: float) -> Tensor:
    position = (torch.arange(width, dtype=torch.float64) - width // 2).abs() / (width // 2 + 1)
    shape, inside = (1 - position).clamp(min=0) ** power, centre_columns(width, centre)
    if acceleration == 1:
        return torch.ones(width, dtype=torch.float64)
    low, high = 0.0, 1e6
    for _ in range(100):
        middle = (low + high) / 2
        density = (floor / acceleration + middle * shape).clamp(max=1.0)
        density[inside] = 1.0
        low, high = (
            (middle, high) if float(density.sum()) < nominal_lines(width, acceleration, centre) else (low, middle)
        )
    return density
