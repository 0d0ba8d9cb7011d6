"""The levels of noise that images walk through, and the measure that pushes them, from filled settings."""

from __future__ import annotations

import math

from torch import Tensor

from skiagraph.diffusion import Levels
from skiagraph.diffusion.grid import Quadratic, Snapped
from skiagraph.diffusion.guidance import measure
from skiagraph.diffusion.guidance.measures import Measure
from skiagraph.errors import InputError
from skiagraph.tasks.synthesize.kit import Kit
from skiagraph.tasks.synthesize.settings import SynthesizeSettings

__all__ = ["chosen_measure", "walk_times"]


def chosen_measure(settings: SynthesizeSettings) -> Measure | None:
    """The measure of filled settings with its options; None for no push."""
    guide = settings.guide
    if guide.measure in (None, "none"):
        return None
    names = {"log_odds_target": ("target", "delta", "runner_up"), "log_odds_abs": ("runner_up",)}
    options = {name: getattr(guide, name) for name in names.get(str(guide.measure), ())}
    options = {name: value for name, value in options.items() if value is not None}
    options.setdefault("target", 0.5) if guide.measure == "log_odds_target" else None
    return measure(str(guide.measure), **options)


def walk_times(kit: Kit, settings: SynthesizeSettings) -> Tensor:
    """Times of the whole walk, noisiest first, then the clean end; snapped to the levels the prior was trained at."""
    walk, table = settings.walk, kit.table
    levels = walk.levels or 36
    stride = _stride(kit)
    try:
        if walk.grid == "uniform":
            names = table.respaced(f"ddim{levels}").indices
            times = Levels(stride=names[1] - names[0] if len(names) > 1 else len(table))(table)
        else:
            grid = Quadratic(levels) if stride == 1 else Snapped(levels, multiple=stride)
            times = grid(table)
    except (ValueError, TypeError) as error:
        raise InputError(f"walk.levels: {error}") from None
    if kit.trained_times is not None:
        outside = [int(time) for time in times[:-1].tolist() if int(time) not in kit.trained_times]
        if outside:
            raise InputError(
                f"walk: the levels {', '.join(map(str, outside[:4]))} ... are not among the {len(kit.trained_times)} "
                f"levels that {kit.name!r} and its classifiers were all trained at; take walk.grid quadratic, or "
                "uniform with levels of those"
            )
    return times


def _stride(kit: Kit) -> int:
    """The stride of the trained times, 1 where all were trained."""
    return 1 if kit.trained_times is None else max(1, math.gcd(*kit.trained_times))
