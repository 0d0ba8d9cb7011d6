"""Algorithm 1 of the measurement-score paper: views one after the other, each written back into the state.

Selectable beside the default (`MeasurementScore`), which denoises all views of the same state at once. Coverage is read
from the masks, and any noise schedule and grid will do; `reference.py` holds the released variant with its quirks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Prediction
from skiagraph.diffusion.sampling import Rule
from skiagraph.diffusion.schedule import NoiseLevel, Schedule, noise_level
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.data_consistency import DataStep
from skiagraph.inverse.measurement_score import ScoreCarry, first_carry, warn_uncovered
from skiagraph.inverse.mixing import DDNMMixing
from skiagraph.inverse.view_rule import ViewRule, ViewStep
from skiagraph.inverse.views import LevelViews, ViewSource, draw_views
from skiagraph.physics.operator import LinearOperator

__all__ = ["SequentialMeasurementScore"]


@dataclass(frozen=True)
class SequentialMeasurementScore(ViewRule[ScoreCarry]):
    """w views in a row; the coordinates that a view covers are noised again at the same level before the next one.

        s_hat = M T x0_hat(M z);  z <- alpha s_hat + sqrt(sigma^2 - tau^2) T eps_hat + tau n on M,
        tau = eta sigma sqrt(1 - (rho / rho_+)^2), rho_+ the level before (infinite at the start)

    (measurement-score, section 6.1, step 2d); then the average of the s_hat over the masks that cover, the data step on
    it, and the solver's step from the state as it was left. `inject="new"` replaces the second line by the literal
    z <- alpha s_hat + sigma n: far less variance, an ablation only (section 9.1).

    Differs from the released sampler in that coverage is read from the masks and masks are drawn per sample; uncovered
    coordinates are counted.

    Args:
        operator: T, image -> full measurement.
        views: source of the w masks of a level, covering or independent.
        solver: rule of one evaluation per step that goes on from the re-injected state.
        data_step: data consistency on the average; None samples from the prior.
        inject: "predicted" (keep the predicted noise) or "new" (all-new noise).
        eta: share of fresh noise in the re-injection, in [0, 1]; 1 for generation, 0.85 for inverse problems.
    """

    operator: LinearOperator
    views: ViewSource | LevelViews
    solver: Rule = field(default_factory=DDNMMixing)
    data_step: DataStep | None = None
    inject: Literal["predicted", "new"] = "predicted"
    eta: float = 0.85

    def __post_init__(self) -> None:
        if self.inject not in ("predicted", "new"):
            raise ValueError(f'inject: found {self.inject!r}; allowed are "predicted" and "new".')
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta: found {self.eta}; allowed 0 to 1.")

    def step(self, now: ViewStep, carry: ScoreCarry | None) -> tuple[Tensor, Tensor, ScoreCarry]:
        """All views of a level, then the solver's step."""
        carry = first_carry(now) if carry is None else carry
        x, level = now.x, now.level
        before = None if carry.previous is None else noise_level(now.schedule, carry.previous)
        masks = draw_views(self.views, carry.masks, level.rho).to(x.device)
        total, cover = torch.zeros_like(x), masks.sum(1).to(x.dtype.to_real())
        for mask in masks.unbind(1):
            estimate, noise = self._view(now, x, mask)
            total = total + estimate
            again = self._again(level, before, estimate, noise, now.streams)
            x = torch.where(mask > 0, again, x)
        average = torch.where(cover > 0, total / cover.clamp(min=1), carry.estimate)
        missed = carry.uncovered + (cover == 0).flatten(1).sum(1)
        step = self.data_step
        moved = average if step is None else step(average, now.schedule, now.t, final=now.final)
        given = _Given(now.schedule, moved)
        x_s, out, solver = self.solver(given, x, now.t, now.s, now.cond, now.streams, carry.solver)
        if now.final:
            warn_uncovered(missed)
        return x_s, out, ScoreCarry(carry.masks, average, missed, solver, now.t)

    def _view(self, now: ViewStep, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """M T x0_hat of one view of the state x and T eps_hat."""
        level = now.level
        image = now.denoiser(x, now.t, mask, now.cond).x0
        eps = (self.operator.adjoint(mask * x) - level.alpha * image) / level.sigma
        return mask * self.operator.forward(image), self.operator.forward(eps)

    def _again(
        self, level: NoiseLevel, before: NoiseLevel | None, estimate: Tensor, noise: Tensor, streams: Streams
    ) -> Tensor:
        """The estimate at the noise level again."""
        share = 0.0 if before is None else (level.rho / before.rho) ** 2
        drawn = level.sigma if self.inject == "new" else self.eta * level.sigma * max(1 - share, 0.0) ** 0.5
        kept = max(level.sigma**2 - drawn**2, 0.0) ** 0.5
        again: Tensor = level.alpha * estimate + kept * noise + drawn * streams.normal_like(estimate)
        return again


class _Given:
    """A denoiser that has already answered, for one step of a solver that asks once."""

    def __init__(self, schedule: Schedule, estimate: Tensor) -> None:
        self.schedule, self.estimate, self.asked = schedule, estimate, False

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        if self.asked:
            raise ValueError(
                "solver: it evaluates the denoiser more than once per step, which views written back into the state do "
                "not allow; take DDIM, DDNMMixing or a multistep solver, or the parallel MeasurementScore."
            )
        self.asked = True
        return Prediction(self.estimate)
