"""What the rivals with a diffusion prior share: the walk at a given budget, and where it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from skiagraph.diffusion import DDIM, DDPM, Denoiser, DPMSolverPP2M, Grid, Partial, Rule, Streams, perturb
from skiagraph.diffusion.guidance import Clip
from skiagraph.diffusion.sampling import final, preferred_grid, trajectory
from skiagraph.diffusion.schedule import Schedule

__all__ = ["RuleName", "Walk", "noised", "start_time"]

RuleName = Literal["ddim", "ddpm", "dpmpp"]
_RULES: dict[str, Callable[[], Rule]] = {"ddim": DDIM, "ddpm": DDPM, "dpmpp": DPMSolverPP2M}


@dataclass(frozen=True)
class Walk:
    """A solver with as many steps as network calls are allowed.

    Args:
        calls: steps.
        rule: "ddim", "ddpm" (small variance) or "dpmpp" (DPM-Solver++ 2M).
        strength: share of the noise levels walked, in (0, 1]; 1 starts from pure noise.
        clip: x0-hat cut to [-1, 1] before the rule sees it.
    """

    calls: int
    rule: RuleName = "dpmpp"
    strength: float = 1.0
    clip: bool = True

    def __post_init__(self) -> None:
        if self.calls < 1:
            raise ValueError(f"calls: found {self.calls}; allowed at least 1.")
        if self.rule not in _RULES:
            raise ValueError(f"rule: found {self.rule!r}; allowed {', '.join(_RULES)}.")
        if not 0 < self.strength <= 1:
            raise ValueError(f"strength: found {self.strength}; allowed above 0, up to 1.")

    def grid(self, schedule: Schedule) -> Grid:
        """As many steps as calls, from the start of `strength` to the clean end."""
        whole = preferred_grid(_RULES[self.rule](), self.calls)
        if self.strength == 1:
            return whole
        start = start_time(schedule, self.strength)
        return _Resized(type(whole), self.calls, start)

    def run(
        self, denoiser: Denoiser, x: Tensor, streams: Streams, wrap: Callable[[Rule], Rule] | None = None
    ) -> Tensor:
        """The last state of the walk, from a state x at its first time; `wrap` may change the rule."""
        rule = _RULES[self.rule]()
        rule = rule if wrap is None else wrap(rule)
        seen = Clip(denoiser) if self.clip else denoiser
        return final(trajectory(seen, x, self.grid(denoiser.schedule), rule, streams=streams)).clamp(-1, 1)


@dataclass(frozen=True)
class _Resized:
    """The part of a grid below `start` with a given number of steps: the whole grid is refined until it has them."""

    kind: type
    steps: int
    start: float

    def __call__(self, schedule: Schedule) -> Tensor:
        low, high = self.steps, 64 * self.steps
        while low < high:  # steps of the part grow with those of the whole
            middle = (low + high) // 2
            if len(Partial(self.kind(middle), self.start)(schedule)) - 1 < self.steps:
                low = middle + 1
            else:
                high = middle
        times = Partial(self.kind(low), self.start)(schedule)
        surplus = len(times) - 1 - self.steps
        return times if surplus <= 0 else torch.cat([times[:1], times[1 + surplus :]])


def start_time(schedule: Schedule, strength: float) -> float:
    """The level a walk of that strength starts at: index round(strength T) - 1 of a table of T levels."""
    noisiest, clean = schedule.span
    if noisiest > 1:
        return float(max(round(strength * (noisiest + 1)) - 1, 0))
    return clean + strength * (noisiest - clean)


def noised(schedule: Schedule, images: Tensor, strength: float, streams: Streams) -> Tensor:
    """A draw from the exact marginal of that strength, alpha y + sigma e; pure noise for strength 1."""
    noise = streams.normal_like(images)
    if strength == 1:
        return noise
    return perturb(schedule, images, start_time(schedule, strength), noise)
