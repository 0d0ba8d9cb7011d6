"""Whether a prior is what the settings were made for: schedule, time, size, channels, range."""

from __future__ import annotations

from skiagraph.diffusion import DiscreteTable, NetworkDenoiser, Schedule, cosine_table, linear_table
from skiagraph.errors import InputError
from skiagraph.tasks.segment.command_settings import ExpectedPrior
from skiagraph.tasks.segment.labelled_prior import LabelledPrior

__all__ = ["require_expected"]


def require_expected(prior: LabelledPrior, expected: ExpectedPrior) -> None:
    """Refuse a prior that is not as expected, naming all differences with both values.

    Args:
        prior: as loaded.
        expected: what is not None is held.
    """
    schedule, denoiser = prior.denoiser.schedule, prior.denoiser
    time = denoiser.network_time.kind if isinstance(denoiser, NetworkDenoiser) else None
    found = {
        "schedule": _kind(schedule),
        "steps": len(schedule) if isinstance(schedule, DiscreteTable) else None,
        "time": time,
        "size": prior.shape[1] if len(set(prior.shape[1:])) == 1 else tuple(prior.shape[1:]),
        "channels": prior.shape[0],
        "low": prior.low,
        "high": prior.high,
    }
    wanted = expected.model_dump()
    differ = [
        f"{name}: the prior has {found[name]!r}, the settings expect {value!r}"
        for name, value in wanted.items()
        if value is not None and found[name] != value
    ]
    if differ:
        raise InputError(
            f"prior {prior.name!r} is not the one these settings were made for ({'; '.join(differ)}); use a prior "
            "trained that way, or settings of your own"
        )


def _kind(schedule: Schedule) -> str:
    """ "linear" or "cosine" for the tables of that name, else the name of its class."""
    if not isinstance(schedule, DiscreteTable):
        return type(schedule).__name__
    for name, table in (("linear", linear_table), ("cosine", cosine_table)):
        try:
            known = table(len(schedule))
        except ValueError:
            continue
        if max(abs(one - other) for one, other in zip(known.alpha_bar, schedule.alpha_bar, strict=True)) < 1e-9:
            return name
    return "another table"
