"""Sampling with measurement scores: denoise masked views, average where they overlap, step (measurement-score, section
6).

`MeasurementScore` is the default rule: a covering set of views of one z_t goes through the network in one batch, the
average is a denoiser of the full measurement, and any solver rule takes the step. `reference.py` holds the released
one.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, PartialDenoiser, Prediction
from skiagraph.diffusion.sampling import Rule
from skiagraph.diffusion.schedule import Schedule, noise_level
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.data_consistency import DataStep
from skiagraph.inverse.mixing import DDNMMixing
from skiagraph.inverse.view_rule import ViewRule, ViewStep
from skiagraph.inverse.views import LevelViews, ViewSource, draw_views
from skiagraph.physics.operator import LinearOperator

__all__ = [
    "MeasurementScore",
    "ScoreCarry",
    "UncoveredWarning",
    "ViewSource",
    "first_carry",
    "warn_uncovered",
]


class UncoveredWarning(UserWarning):
    """Some coordinates of a finished walk were not covered by any mask at some level."""


@dataclass(frozen=True)
class ScoreCarry:
    """What the rule remembers between steps: the streams of the masks, the last full estimate, the solver's memory.

    `uncovered` counts, per sample, coordinates that no view covered, over all levels so far (they keep their earlier
    estimate); `previous` is the time of the level before, for rules that need it.
    """

    masks: Streams
    estimate: Tensor
    uncovered: Tensor
    solver: Any = None
    previous: Tensor | None = None


def first_carry(now: ViewStep) -> ScoreCarry:
    """The memory at the start of a walk."""
    counts = torch.zeros(len(now.streams), dtype=torch.long, device=now.x.device)
    return ScoreCarry(now.streams.fork("masks"), torch.zeros_like(now.x), counts)


def warn_uncovered(missed: Tensor) -> None:
    """Warn where coordinates were left out, with their number per sample summed over all levels."""
    if bool(missed.any()):
        warnings.warn(
            f"views: {int((missed > 0).sum())} of {len(missed)} samples have coordinates that no mask covered at some "
            f"level (up to {int(missed.max())} over all levels); they kept an earlier estimate. Draw covering sets.",
            UncoveredWarning,
            stacklevel=4,
        )


@dataclass(frozen=True)
class MeasurementScore(ViewRule[ScoreCarry]):
    """Default measurement-score rule: parallel views, coverage by mask, any solver.

    z_hat = sum_i M_i T x0_hat_i / sum_i M_i (or, with `average="full"`, the mean of T x0_hat_i over all views: for
    denoisers trained to fill in what they do not see); then the data step on z_hat; then the solver's step.

    Differs from the released rule: all views see the same z_t (no re-injection), a batch of any size, coverage read
    from the masks and never from values. A walk that left coordinates out ends with an `UncoveredWarning`.

    Args:
        operator: T, image -> full measurement (coil-weighted Fourier transform, or identity for images).
        views: source of covering masks, the same for all noise levels or chosen by them (`DensitySchedule`).
        solver: rule that takes the step; default the DDNM mixing with eta 0.85.
        data_step: data consistency on z_hat; None samples from the prior.
        average: "observed" or "full".
        corrector: c >= 0: before each level a Langevin step of length h = c sigma_t^2 with a set of views of its own,
            z + h (average of alpha_t T x0_hat - z) / sigma_t^2 + sqrt(2 h) n; 0 for none. Doubles the evaluations.
    """

    operator: LinearOperator
    views: ViewSource | LevelViews
    solver: Rule = field(default_factory=DDNMMixing)
    data_step: DataStep | None = None
    average: Literal["observed", "full"] = "observed"
    corrector: float = 0.0

    def __post_init__(self) -> None:
        if self.average not in ("observed", "full"):
            raise ValueError(f'average: found {self.average!r}; allowed are "observed" and "full".')
        if not 0 <= self.corrector < 1:
            raise ValueError(f"corrector: found {self.corrector}; allowed 0 (none) to below 1, such as 0.05.")

    def step(self, now: ViewStep, carry: ScoreCarry | None) -> tuple[Tensor, Tensor, ScoreCarry]:
        """A set of views of one state, then the solver's step."""
        carry = first_carry(now) if carry is None else carry
        full = _FullDenoiser(self, now.denoiser, carry, now.final)
        x = self._corrected(full, now) if self.corrector > 0 else now.x
        x_s, estimate, solver = self.solver(full, x, now.t, now.s, now.cond, now.streams, carry.solver)
        missed = carry.uncovered + full.missed
        if full.final:
            warn_uncovered(missed)
        return x_s, estimate, ScoreCarry(carry.masks, full.last, missed, solver, now.t)

    def _corrected(self, full: _FullDenoiser, now: ViewStep) -> Tensor:
        """One Langevin step with the measurement score at the level t, on the coordinates that are covered."""
        level, x = now.level, now.x
        average, cover = full.average(x, now.t, now.cond)
        drift = self.corrector * (level.alpha * average - x)
        noise = (2 * self.corrector) ** 0.5 * level.sigma * now.streams.normal_like(x)
        return torch.where(cover > 0, x + drift + noise, x)


class _FullDenoiser:
    """The average over a fresh set of views, as denoiser of the full measurement, for one step of the solver."""

    def __init__(self, rule: MeasurementScore, partial: PartialDenoiser, carry: ScoreCarry, final: bool) -> None:
        self.rule, self.partial, self.carry, self.final = rule, partial, carry, final
        self.last = carry.estimate
        self.missed = torch.zeros_like(carry.uncovered)

    @property
    def schedule(self) -> Schedule:
        return self.partial.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        average, cover = self.average(x, t, cond)
        if self.rule.average == "observed":
            self.missed = self.missed + (cover == 0).flatten(1).sum(1)
            average = torch.where(cover > 0, average, self.last)
        self.last = average
        step = self.rule.data_step
        return Prediction(average if step is None else step(average, self.schedule, t, final=self.final))

    def average(self, x: Tensor, t: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        """Average over a fresh set of views (0 where none covers), and how many views cover each coordinate."""
        masks = draw_views(self.rule.views, self.carry.masks, noise_level(self.schedule, t).rho).to(x.device)
        items, views = masks.shape[:2]
        flat = masks.flatten(0, 1)
        images = self.partial(x.repeat_interleave(views, 0), t, flat, cond).x0
        cover = masks.sum(1).to(images.dtype)
        if self.rule.average == "full":
            full = self.rule.operator.forward(images.reshape(items, views, *images.shape[1:]).mean(1))
            return full, torch.ones_like(cover)
        estimates = self.rule.operator.repeated(views).forward(images)
        total = (flat.to(images.dtype) * estimates).reshape(items, views, *estimates.shape[1:]).sum(1)
        return total / cover.clamp(min=1), cover
