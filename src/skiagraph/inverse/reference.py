"""The released measurement-score sampler, step by step (measurement-score, section 6.1), quirks included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from skiagraph.diffusion.schedule import DiscreteTable, noise_level
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.view_rule import ViewRule, ViewStep
from skiagraph.physics.operator import LinearOperator

__all__ = ["MaskSchedule", "ReferenceCarry", "ReferenceMeasurementScore"]


class MaskSchedule(Protocol):
    """A source of single masks with memory: (draws, memory) -> (mask, memory); memory None starts afresh."""

    def draw(self, draws: Any, memory: Any) -> tuple[Tensor, Any]:
        """The next mask of each sample."""
        ...


@dataclass(frozen=True)
class ReferenceCarry:
    """Streams and memory of the mask schedule, and the last aggregate (stale where nothing was covered)."""

    masks: Streams
    memory: Any
    estimate: Tensor


@dataclass(frozen=True)
class ReferenceMeasurementScore(ViewRule[ReferenceCarry]):
    """The released rule: w sequential views with re-injection at the same level, coverage by value, stale entries kept.

    Args:
        operator: T, image -> full measurement.
        masks: mask schedule with memory (`ReferenceColumnSchedule`, `ReferenceCellSchedule`, or recorded masks).
        views: w, masks per level.
        eta: 1 for generation, 0.85 for inverse problems.
        kind: "generate", "image" (inverse problem, data step after aggregation on a copy) or "mri" (inside the loop).
        measured: for inverse problems a function of the estimate and the view's mask that gives the data-consistent
            estimate: `ReleasedImageStep` (mask None) or `ReleasedColumnStep`.
        clip: clamp the estimate to [-1, 1].

    The state is the full measurement; each call needs a `DiscreteTable` and consecutive levels t, t - 1 (-1 is clean).
    Per level it draws, in this order: w times a mask and one Gaussian of full shape, then one more Gaussian; those of
    the last level are drawn and not used. After the walk the released code clamps generated images to [-1, 1] and
    combines coils by T^H, which is left to the caller.
    """

    operator: LinearOperator
    masks: MaskSchedule
    views: int = 3
    eta: float = 1.0
    kind: Literal["generate", "image", "mri"] = "generate"
    measured: Callable[[Tensor, Tensor | None], Tensor] | None = None
    clip: bool = False

    def __post_init__(self) -> None:
        if self.views < 1:
            raise ValueError(f"views: found {self.views}; at least 1 mask per level is needed.")
        if (self.measured is None) != (self.kind == "generate"):
            raise ValueError(f"measured: {'missing' if self.measured is None else 'given'} for kind {self.kind!r}.")

    def step(self, now: ViewStep, carry: ReferenceCarry | None) -> tuple[Tensor, Tensor, ReferenceCarry]:
        """All views of a level, then one step of the released sampler."""
        schedule, x = now.schedule, now.x
        if not isinstance(schedule, DiscreteTable):
            raise ValueError("denoiser.schedule: the released sampler walks a DiscreteTable level by level.")
        if carry is None:
            carry = ReferenceCarry(now.streams.fork("masks"), None, torch.zeros_like(x))
        total, cover, memory = torch.zeros_like(x), torch.zeros_like(x.real if x.is_complex() else x), carry.memory
        for _ in range(self.views):
            mask, memory = self.masks.draw(carry.masks, memory)
            mask = mask.to(x.device)
            estimate, noise = self._view(now, x, mask)
            total, cover = total + estimate, cover + mask
            x = self._reinject(schedule, x, now.t, estimate, noise, now.streams)
        aggregate = total / cover.clamp(min=1)
        aggregate = torch.where(aggregate != 0, aggregate, carry.estimate)
        x_s, out = self._step(schedule, x, now.t, aggregate, now.streams)
        return x_s, out, ReferenceCarry(carry.masks, memory, aggregate)

    def _view(self, now: ViewStep, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Estimate M T x0_hat of one view (data-consistent for MRI), and the predicted noise in measurement space."""
        level = now.level
        alpha, sigma = level.alpha, level.sigma
        image = now.denoiser(x, now.t, mask, now.cond).x0
        u = self.operator.adjoint(mask * x)
        eps = (u / alpha - image) * (alpha / sigma)
        estimate = mask * self.operator.forward(image)
        if self.kind == "mri" and self.measured is not None:
            estimate = self.measured(estimate, mask)
        return estimate, self.operator.forward(eps)

    def _reinject(
        self, schedule: DiscreteTable, x: Tensor, t: Tensor, estimate: Tensor, noise: Tensor, streams: Streams
    ) -> Tensor:
        """A DDIM step "from t + 1 to t" on the entries that are not 0, by value."""
        level = float(t)
        bar = noise_level(schedule, level).alpha ** 2
        above = 0.0 if level + 1 > schedule.span[0] else noise_level(schedule, level + 1).alpha ** 2
        variance = self.eta**2 * (1 - bar) / (1 - above) * (1 - above / bar)
        fresh = streams.normal_like(x)
        value = bar**0.5 * estimate + max(1 - bar - variance, 0.0) ** 0.5 * noise
        if level > 0:
            value = value + variance**0.5 * fresh
        return torch.where(estimate != 0, value, x)

    def _step(
        self, schedule: DiscreteTable, x: Tensor, t: Tensor, aggregate: Tensor, streams: Streams
    ) -> tuple[Tensor, Tensor]:
        """From level t to t - 1 with the re-injected state; returns the new state and the (clipped) estimate."""
        bar = noise_level(schedule, t).alpha ** 2
        below = noise_level(schedule, t - 1).alpha ** 2 if float(t) > 0 else 1.0
        rho = ((1 - bar) / bar) ** 0.5
        out = aggregate
        if self.kind == "image" and self.measured is not None:
            out = self.measured(aggregate, None)
        clipped = out.clamp(-1, 1) if self.clip else out
        fresh = streams.normal_like(x)
        if self.kind == "generate":
            noise = (x / bar**0.5 - clipped) / rho
            variance = self.eta**2 * (1 - below) / (1 - bar) * (1 - bar / below)
            value = below**0.5 * clipped + max(1 - below - variance, 0.0) ** 0.5 * noise
            return (value + variance**0.5 * fresh if float(t) > 0 else value), clipped
        if float(t) == 0:
            return clipped, clipped
        noise = (x / bar**0.5 - out) / rho
        mixed = self.eta * fresh + (1 - self.eta**2) ** 0.5 * noise
        return below**0.5 * clipped + (1 - below) ** 0.5 * mixed, clipped
