"""Time grids: from the noisiest time to the clean end, as objects that any schedule can answer.

Which grid a solver likes matters as much as the solver (Karras et al. 2022, arXiv 2206.00364, appendix D; Lu et al.
2022, 2211.01095), so grids are arguments and each rule names the one it prefers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from skiagraph.diffusion.schedule import DiscreteTable, Schedule

__all__ = ["Ascending", "Grid", "Karras", "Levels", "LogSNR", "Partial", "Quadratic", "Snapped", "Uniform"]


@runtime_checkable
class Grid(Protocol):
    """Makes the times of a walk on a schedule."""

    def __call__(self, schedule: Schedule) -> Tensor:
        """(n + 1,) float64 times on the CPU, for n steps."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Equal steps in the schedule's own time, from the noisiest to the clean time.

    Args:
        steps: number of steps, at least 1.
    """

    steps: int

    def __post_init__(self) -> None:
        _check_steps(self.steps)

    def __call__(self, schedule: Schedule) -> Tensor:
        """(steps + 1,) times."""
        return torch.linspace(*schedule.span, self.steps + 1, dtype=torch.float64)


@dataclass(frozen=True)
class LogSNR:
    """Equal steps in log-SNR from the noisiest to the finest time, then (with `clean`) one step to the clean end.

    Args:
        steps: number of steps, at least 1.
        clean: end at the clean time; otherwise at the schedule's `finest` time.
    """

    steps: int
    clean: bool = True

    def __post_init__(self) -> None:
        _check_steps(self.steps)

    def __call__(self, schedule: Schedule) -> Tensor:
        """(steps + 1,) times."""
        return _spread(schedule, self.steps, self.clean, lambda log_rho: log_rho, lambda value: value)


@dataclass(frozen=True)
class Karras:
    """Equal steps in rho^(1/exponent), rho = sigma / alpha, then (with `clean`) one step to the clean end.

    Karras et al. 2022, equation 5.

    Args:
        steps: number of steps, at least 1.
        exponent: 7 in the paper; 1 makes steps equal in rho, large values approach equal steps in log-SNR; > 0.
        clean: end at the clean time; otherwise at the schedule's `finest` time.
    """

    steps: int
    exponent: float = 7.0
    clean: bool = True

    def __post_init__(self) -> None:
        _check_steps(self.steps)
        if not 0 < self.exponent < math.inf:
            raise ValueError(f"exponent: found {self.exponent}; allowed a positive finite number.")

    def __call__(self, schedule: Schedule) -> Tensor:
        """(steps + 1,) times."""
        power = self.exponent
        return _spread(schedule, self.steps, self.clean, lambda r: torch.exp(r / power), lambda v: power * torch.log(v))


@dataclass(frozen=True)
class Levels:
    """Every level of a discrete table, noisiest first, then the clean end: T steps, or fewer with a `stride`.

    Args:
        stride: keep the levels 0, stride, 2 stride, ...; prefer `DiscreteTable.respaced` for learned variances.
    """

    stride: int = 1

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ValueError(f"stride: found {self.stride}; allowed at least 1.")

    def __call__(self, schedule: Schedule) -> Tensor:
        """(levels + 1,) times."""
        if not isinstance(schedule, DiscreteTable):
            found = type(schedule).__name__
            raise TypeError(f"schedule: found {found}; Levels needs a DiscreteTable. Use Uniform or LogSNR.")
        return torch.tensor([*reversed(range(0, len(schedule), self.stride)), -1], dtype=torch.float64)


@dataclass(frozen=True)
class Quadratic:
    """Original times t_k = round(top (k / (n - 1))^2) of a discrete table, k = 0 ... n - 1, then the clean end.

    Dense where the noise is low, which is where measurement guidance acts: n = 50 keeps 49 levels, 9 of them below
    sigma^2 = 0.02, where 50 uniform levels have 2. Times that round to the same level are walked once.

    Args:
        points: n, at least 2.
        top: noisiest time, in the table of training; at least n - 1.
    """

    points: int
    top: int = 996

    def __post_init__(self) -> None:
        _check_points(self.points, self.top, 1)

    def __call__(self, schedule: Schedule) -> Tensor:
        """(levels + 1,) times."""
        return _of_original_times(schedule, _quadratic(self.points, self.top, 1))


@dataclass(frozen=True)
class Snapped:
    """`Quadratic` on multiples of a stride: t_k = m round((top / m) (k / (n - 1))^2), then the clean end.

    For networks trained at multiples of m only; n = 50 and m = 4 keep 48 levels.

    Args:
        points: n, at least 2.
        top: noisiest time, in the table of training; a multiple of m.
        multiple: m, at least 1.
    """

    points: int
    top: int = 996
    multiple: int = 4

    def __post_init__(self) -> None:
        _check_points(self.points, self.top, self.multiple)

    def __call__(self, schedule: Schedule) -> Tensor:
        """(levels + 1,) times."""
        return _of_original_times(schedule, _quadratic(self.points, self.top, self.multiple))


@dataclass(frozen=True)
class Partial:
    """The part of a grid between two times: begins exactly at `start`, ends exactly at `stop`.

    Args:
        grid: the whole grid.
        start: time to begin at (partial noising); None keeps the grid's own beginning.
        stop: time to end at; None keeps the grid's own end.
    """

    grid: Grid
    start: float | None = None
    stop: float | None = None

    def __call__(self, schedule: Schedule) -> Tensor:
        """The ends, with the grid's times that lie strictly between them."""
        times = self.grid(schedule)
        first = times[0] if self.start is None else torch.tensor(float(self.start), dtype=torch.float64)
        last = times[-1] if self.stop is None else torch.tensor(float(self.stop), dtype=torch.float64)
        low, high = min(float(first), float(last)), max(float(first), float(last))
        if (float(last) - float(first)) * float(times[-1] - times[0]) <= 0 or low < times.min() or high > times.max():
            raise ValueError(
                f"start, stop: found {self.start}, {self.stop}; allowed two different times inside the grid, "
                f"which goes from {float(times[0]):g} to {float(times[-1]):g}, in its direction."
            )
        inside = times[(times > low) & (times < high)]
        return torch.cat([first.reshape(1), inside, last.reshape(1)])


@dataclass(frozen=True)
class Ascending:
    """A grid walked backwards, from clean to noisy: with a deterministic rule this encodes an image (inversion)."""

    grid: Grid

    def __call__(self, schedule: Schedule) -> Tensor:
        """The grid's times in reverse order."""
        return self.grid(schedule).flip(0)


def _quadratic(points: int, top: int, multiple: int) -> list[int]:
    """Original times, ascending, without repetition."""
    squares = ((k / (points - 1)) ** 2 for k in range(points))
    return sorted({multiple * round(top // multiple * square) for square in squares})


def _of_original_times(schedule: Schedule, original: list[int]) -> Tensor:
    """Positions in a table of times in the table of training, noisiest first, then the clean end."""
    if not isinstance(schedule, DiscreteTable):
        raise TypeError(f"schedule: found {type(schedule).__name__}; needs a DiscreteTable. Use Karras or LogSNR.")
    place = {time: position for position, time in enumerate(schedule.indices)}
    missing = [time for time in original if time not in place]
    if missing:
        raise ValueError(
            f"grid: found {len(missing)} times that are not among the {len(place)} of the table ({missing[0]} is the "
            f"first; the table has {', '.join(map(str, list(place)[:4]))} ... {schedule.indices[-1]}); a network is "
            "reliable at the times it was trained on. Use Snapped with the stride of the table, or a smaller `top`."
        )
    return torch.tensor([*(place[time] for time in reversed(original)), -1], dtype=torch.float64)


def _check_points(points: int, top: int, multiple: int) -> None:
    for name, value, least in (("points", points, 2), ("multiple", multiple, 1), ("top", top, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name}: found {value!r}; allowed a whole number of at least {least}.")
    if top % multiple or top // multiple < points - 1:
        raise ValueError(
            f"top: found {top} for {points} points; allowed a multiple of {multiple} of at least "
            f"{multiple * (points - 1)}."
        )


class _Map(Protocol):
    def __call__(self, value: Tensor, /) -> Tensor: ...


def _spread(schedule: Schedule, steps: int, clean: bool, forward: _Map, inverse: _Map) -> Tensor:
    """Times equally spread in forward(log rho) between the schedule's noisiest and finest time; ends are exact."""
    noisiest, clean_time = schedule.span
    ends = torch.tensor([noisiest, schedule.finest], dtype=torch.float64)
    count = steps if clean else steps + 1
    log_rho = -0.5 * schedule.log_snr(ends)
    values = forward(log_rho)
    share = torch.linspace(0, 1, count, dtype=torch.float64) if count > 1 else torch.zeros(1, dtype=torch.float64)
    times = schedule.time_of(-2 * inverse(torch.lerp(values[0], values[1], share)))
    times[0] = noisiest
    if count > 1:
        times[-1] = schedule.finest
    return torch.cat([times, torch.tensor([clean_time], dtype=torch.float64)]) if clean else times


def _check_steps(steps: int) -> None:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps: found {steps!r}; allowed a whole number of at least 1.")
