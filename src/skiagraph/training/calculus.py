"""From the record of a prior to the objects of `skiagraph.diffusion`, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from skiagraph.diffusion import (
    EDM,
    Cosine,
    DiscreteTable,
    NetworkDenoiser,
    NetworkTime,
    Schedule,
    VPLinear,
    cosine_table,
    linear_table,
)
from skiagraph.errors import DataError, InputError
from skiagraph.training.record import PriorRecord, ScheduleRecord

__all__ = ["build_denoiser", "build_schedule", "schedule_record"]


def _table(alpha_bar: list[float]) -> DiscreteTable:
    return DiscreteTable(tuple(alpha_bar))


_SCHEDULES: Mapping[str, Callable[..., Schedule]] = {
    "vp_linear": VPLinear,
    "cosine": Cosine,
    "edm": EDM,
    "linear_table": linear_table,
    "cosine_table": cosine_table,
    "table": _table,
}


def build_schedule(record: ScheduleRecord) -> Schedule:
    """Build the schedule that a record names."""
    if record.kind not in _SCHEDULES:
        raise DataError(f"schedule: found kind {record.kind!r}, allowed: {', '.join(_SCHEDULES)}.")
    try:
        return _SCHEDULES[record.kind](**record.settings)
    except (TypeError, ValueError) as error:
        raise DataError(f"schedule {record.kind!r}: its settings do not fit ({error}).") from error


def schedule_record(schedule: Schedule) -> ScheduleRecord:
    """Return the record of a schedule; a table is written level by level."""
    for kind, known in _SCHEDULES.items():
        if isinstance(known, type) and type(schedule) is known:
            values: dict[str, Any] = dataclasses.asdict(schedule)  # type: ignore[call-overload]
            return ScheduleRecord(kind=kind, settings=values)
    if not isinstance(schedule, DiscreteTable):
        raise InputError(f"schedule: found {type(schedule).__name__}, which prior.json has no name for.")
    if len(schedule) != schedule.original_steps:
        raise InputError("schedule: found a respaced table; store the table of training and respace it for sampling.")
    return ScheduleRecord(kind="table", settings={"alpha_bar": list(schedule.alpha_bar)})


def build_denoiser(record: PriorRecord, network: nn.Module, schedule: Schedule | None = None) -> NetworkDenoiser:
    """Make the denoiser of a prior.

    Args:
        record: the prior's record.
        network: its network.
        schedule: the schedule to use; None takes the prior's own (a respaced table is the usual other choice).
    """
    if record.parametrisation == "own" or record.schedule is None or record.time is None:
        kind = record.architecture.kind
        raise InputError(
            f"prior {record.name!r}: its kind {kind!r} is called in its own way; use the task made for it."
        )
    try:
        return NetworkDenoiser(
            network,
            build_schedule(record.schedule) if schedule is None else schedule,
            parametrisation=record.parametrisation,
            time=NetworkTime(record.time.kind, record.time.scale),  # type: ignore[arg-type]
            learned_variance=record.learned_variance,
            sigma_data=record.sigma_data,
            accepts=frozenset(record.conditions),
            concatenated=tuple(record.concatenated),
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"prior {record.name!r}: no denoiser can be made of its record ({error}).") from error
