"""Timing of contestants in rounds: every round runs each of them once, in an order of its own, so drift hits all."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Effort", "Row", "Section", "Spread", "race", "rows_of", "spread", "timed"]

Action = Callable[[], object]


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Args:
        rounds: rounds of every race.
        shortest: seconds that one measurement lasts at least; faster actions are repeated within it.
        sizes: image sides for the networks.
        slices: slices for the samplers.
    """

    rounds: int = 7
    shortest: float = 0.2
    sizes: tuple[int, ...] = (64, 128)
    slices: int = 4


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of repeated measurements."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One contestant in one case.

    Args:
        case: what is measured.
        contestant: who.
        cost: seconds per call, or any other unit that its section names.
        ratio: this contestant's cost over ours within the same round (above 1: ours is faster); None for ours.
        notes: further columns, as text.
    """

    case: str
    contestant: str
    cost: Spread
    ratio: Spread | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A table with what must be known to read it.

    Args:
        title: heading.
        setting: sentences on what was compared.
        unit: "s", "ms" or "us": the unit the costs are shown in.
        rows: the table.
        extra: names of the further columns.
        remarks: sentences after the table, e.g. on numerical agreement.
    """

    title: str
    setting: str
    unit: str
    rows: Sequence[Row]
    extra: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles; all three are the value itself where there is one only."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(statistics.median(values), low, high)


def race(
    contestants: Mapping[str, Action],
    *,
    rounds: int,
    shortest: float,
    synchronise: Action = lambda: None,
) -> dict[str, list[float]]:
    """Seconds per call of every contestant in every round.

    Each contestant is called twice beforehand (warm-up, and to find how many calls fill `shortest`); the garbage
    collector rests during measurements.

    Args:
        contestants: name to action.
        rounds: number of rounds.
        shortest: seconds that one measurement lasts at least.
        synchronise: waits until the device is done.
    """
    calls = {name: _calls(action, shortest, synchronise) for name, action in contestants.items()}
    measured: dict[str, list[float]] = {name: [] for name in contestants}
    order, shuffler = list(contestants), random.Random(0)
    for _ in range(rounds):
        shuffler.shuffle(order)
        for name in order:
            measured[name].append(timed(contestants[name], calls[name], synchronise))
    return measured


def _calls(action: Action, shortest: float, synchronise: Action) -> int:
    timed(action, 1, synchronise)
    once = timed(action, 1, synchronise)
    return max(1, round(shortest / max(once, 1e-7)))


def timed(action: Action, calls: int = 1, synchronise: Action = lambda: None) -> float:
    """Seconds per call of an action, without garbage collection."""
    gc.collect()
    gc.disable()
    try:
        synchronise()
        started = time.perf_counter()
        for _ in range(calls):
            action()
        synchronise()
        return (time.perf_counter() - started) / calls
    finally:
        gc.enable()


def rows_of(case: str, measured: Mapping[str, Sequence[float]], ours: str, per: float = 1.0) -> list[Row]:
    """Rows of one race: costs divided by `per`, and ratios to `ours` paired by round."""
    base = measured[ours]
    rows: list[Row] = []
    for name, values in measured.items():
        paired = [value / reference for value, reference in zip(values, base, strict=True)]
        rows.append(
            Row(case, name, spread([value / per for value in values]), None if name == ours else spread(paired))
        )
    return rows
