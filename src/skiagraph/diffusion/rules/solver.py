"""What solvers share: the step to be made, the deterministic way to make it, and how a walk leaves the clean end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from skiagraph.diffusion.denoiser import Condition, Denoiser
from skiagraph.diffusion.grid import Grid, Uniform
from skiagraph.diffusion.schedule import NoiseLevel, noise_level
from skiagraph.diffusion.streams import Streams

__all__ = ["Leg", "Solver"]


@dataclass(frozen=True, eq=False, slots=True)
class Leg:
    """One step to be made, with the noise levels at its ends.

    Args:
        denoiser: estimates x_0.
        x: (B, ...) state at time t.
        t, s: times before and after, ().
        cond: named conditions for the denoiser.
        streams: one random stream per sample, or None.
        here, there: noise levels at t and s.
    """

    denoiser: Denoiser
    x: Tensor
    t: Tensor
    s: Tensor
    cond: Condition
    streams: Streams | None
    here: NoiseLevel
    there: NoiseLevel

    def estimate(self) -> Tensor:
        """x0-hat of the state."""
        return self.denoiser(self.x, self.t, self.cond).x0

    def flow(self, x0: Tensor) -> Tensor:
        """x_s = (sigma_s / sigma_t) x_t + (alpha_s - sigma_s alpha_t / sigma_t) x0, for s cleaner or noisier than t."""
        kept = self.there.sigma / self.here.sigma
        return kept * self.x + (self.there.alpha - kept * self.here.alpha) * x0

    def noise(self, why: str) -> Tensor:
        """Standard normal numbers of the state's shape, or an error that says what draws them."""
        if self.streams is None:
            raise ValueError(f"streams: found None, but {why}; pass Streams with one seed per sample.")
        return self.streams.normal_like(self.x)

    def leave_clean_end(self) -> tuple[Tensor, Tensor]:
        """First step of an inversion, from sigma_t = 0, where the noise is unknown: (state at s, x0).

        The noise is that which the denoiser finds in the clean image seen as a state at s: with u = x / alpha_t,
        x0 = D(alpha_s u, s) and x_s = alpha_s u + sigma_s (alpha_s u - alpha_s x0) / sigma_s = alpha_s (2 u - x0).
        """
        state = (self.there.alpha / self.here.alpha) * self.x
        x0: Tensor = self.denoiser(state, self.s, self.cond).x0
        return 2 * state - self.there.alpha * x0, x0


class Solver(ABC):
    """A rule made of `advance`: looks up both noise levels, refuses or leaves the clean end, and advances."""

    evaluations_per_step: ClassVar[int] = 1

    @property
    @abstractmethod
    def order(self) -> int:
        """Order of convergence."""

    @abstractmethod
    def advance(self, leg: Leg, carry: Any) -> tuple[Tensor, Tensor, Any]:
        """Make one step that does not begin at the clean end: (state at s, estimate of x_0, what to remember)."""

    def preferred_grid(self, steps: int) -> Grid:
        """`Uniform`: first-order errors weigh most where images form, not at the clean end."""
        return Uniform(steps)

    def refuse_ascent(self) -> None:
        """Raise where this rule cannot walk from clean to noisy; deterministic rules can."""
        return

    def __call__(
        self, denoiser: Denoiser, x: Tensor, t: Tensor, s: Tensor, cond: Condition, streams: Streams | None, carry: Any
    ) -> tuple[Tensor, Tensor, Any]:
        """One step from time t to time s."""
        here, there = noise_level(denoiser.schedule, t), noise_level(denoiser.schedule, s)
        if there.rho > here.rho:
            self.refuse_ascent()
        leg = Leg(denoiser, x, t, s, cond, streams, here, there)
        if here.is_clean:
            return *leg.leave_clean_end(), None
        return self.advance(leg, carry)
