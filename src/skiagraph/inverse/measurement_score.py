"""Sampling with measurement scores: denoise masked views, average where they overlap, step (measurement-score, section
6).

`MeasurementScore` is the default rule: a covering set of views of one z_t goes through the network in one batch, the
average is a denoiser of the full measurement, and any solver rule takes the step. `reference.py` holds the released
one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, PartialDenoiser, Prediction
from skiagraph.diffusion.sampling import Rule
from skiagraph.diffusion.schedule import Schedule
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.data_consistency import DataStep
from skiagraph.inverse.mixing import DDNMMixing
from skiagraph.physics.operator import LinearOperator

__all__ = ["MeasurementScore", "ScoreCarry", "ViewSource"]


class ViewSource(Protocol):
    """Draws a set of masks per sample, (B, w, 1, 1 or H, W); covering sets leave no coordinate at 0."""

    def __call__(self, draws: Streams) -> Tensor:
        """One set of w masks for each sample of `draws`."""
        ...


@dataclass(frozen=True)
class ScoreCarry:
    """What the rule remembers between steps: the streams of the masks, the last full estimate, the solver's memory.

    `uncovered` counts, per sample, coordinates that no view covered so far (they keep their earlier estimate).
    """

    masks: Streams
    estimate: Tensor
    uncovered: Tensor
    solver: Any = None


@dataclass(frozen=True)
class MeasurementScore:
    """Default measurement-score rule: parallel views, coverage by mask, any solver.

    z_hat = sum_i M_i T x0_hat_i / sum_i M_i (or, with `average="full"`, the mean of T x0_hat_i over all views: for
    denoisers trained to fill in what they do not see); then the data step on z_hat; then the solver's step.

    Differs from the released rule: all views see the same z_t (no re-injection), a batch of any size, coverage read
    from the masks and never from values.

    Args:
        operator: T, image -> full measurement (coil-weighted Fourier transform, or identity for images).
        views: source of covering masks.
        solver: rule that takes the step; default the DDNM mixing with eta 0.85.
        data_step: data consistency on z_hat; None samples from the prior.
        average: "observed" or "full".
    """

    operator: LinearOperator
    views: ViewSource
    solver: Rule = field(default_factory=DDNMMixing)
    data_step: DataStep | None = None
    average: Literal["observed", "full"] = "observed"

    order: int = 1

    def __post_init__(self) -> None:
        if self.average not in ("observed", "full"):
            raise ValueError(f'average: found {self.average!r}; allowed are "observed" and "full".')

    def __call__(
        self,
        denoiser: PartialDenoiser,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        cond: Condition,
        streams: Streams | None,
        carry: ScoreCarry | None,
    ) -> tuple[Tensor, Tensor, ScoreCarry]:
        """One step of the full measurement x from time t to time s."""
        if streams is None:
            raise ValueError("streams: found None, but masks are drawn at every step; pass one stream per sample.")
        if carry is None:
            counts = torch.zeros(len(streams), dtype=torch.long, device=x.device)
            carry = ScoreCarry(streams.fork("masks"), torch.zeros_like(x), counts)
        full = _FullDenoiser(self, denoiser, carry, float(s) == denoiser.schedule.span[1])
        x_s, estimate, solver = self.solver(full, x, t, s, cond, streams, carry.solver)
        return x_s, estimate, ScoreCarry(carry.masks, full.last, carry.uncovered + full.missed, solver)


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
        masks = self.rule.views(self.carry.masks).to(x.device)
        items, views = masks.shape[:2]
        flat = masks.flatten(0, 1)
        images = self.partial(x.repeat_interleave(views, 0), t, flat, cond).x0
        if self.rule.average == "full":
            average = self.rule.operator.forward(images.reshape(items, views, *images.shape[1:]).mean(1))
        else:
            estimates = self.rule.operator.repeated(views).forward(images)
            weights = flat.to(images.dtype)
            total = (weights * estimates).reshape(items, views, *estimates.shape[1:]).sum(1)
            cover = masks.sum(1).to(weights)
            self.missed = self.missed + (cover == 0).flatten(1).sum(1)
            average = torch.where(cover > 0, total / cover.clamp(min=1), self.last)
        self.last = average
        step = self.rule.data_step
        return Prediction(average if step is None else step(average, self.schedule, t, final=self.final))
