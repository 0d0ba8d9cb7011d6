"""Euler and Heun steps of the probability flow in rho = sigma / alpha, with optional churn (Karras et al. 2022)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from skiagraph.diffusion.grid import Grid, Karras
from skiagraph.diffusion.rules.solver import Leg, Solver
from skiagraph.diffusion.schedule import noise_level

__all__ = ["Churn", "Euler", "Heun"]


@dataclass(frozen=True)
class Churn:
    """Fresh noise before a step: rho is raised to (1 + gamma) rho where rho lies in a range, never beyond the schedule.

    Karras et al. 2022, algorithm 2; there gamma = min(S_churn / steps, sqrt(2) - 1).

    Args:
        gamma: relative increase of rho, >= 0; 0 is off.
        low, high: range of rho in which it acts (S_min and S_max).
        inflation: standard deviation of the fresh noise relative to exact (S_noise), > 0.
    """

    gamma: float = 0.0
    low: float = 0.0
    high: float = math.inf
    inflation: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < math.inf:
            raise ValueError(f"gamma: found {self.gamma}; allowed 0 or a positive finite number.")
        if not 0 <= self.low <= self.high:
            raise ValueError(f"low, high: found {self.low}, {self.high}; allowed 0 <= low <= high.")
        if not 0 < self.inflation < math.inf:
            raise ValueError(f"inflation: found {self.inflation}; allowed a positive finite number.")

    def __call__(self, leg: Leg) -> Leg:
        """The step from a noisier state and time, or the step unchanged."""
        schedule, here = leg.denoiser.schedule, leg.here
        if self.gamma == 0 or not self.low <= here.rho <= self.high:
            return leg
        raised = min((1 + self.gamma) * here.rho, noise_level(schedule, schedule.span[0]).rho)
        if not raised > here.rho:
            return leg
        t = schedule.time_of(-2 * math.log(raised))
        noisier = noise_level(schedule, t)
        fresh = self.inflation * math.sqrt(max(noisier.sigma**2 - (noisier.alpha * here.rho) ** 2, 0.0))
        noise = leg.noise(f"churn with gamma = {self.gamma} draws noise")
        return replace(leg, x=(noisier.alpha / here.alpha) * leg.x + fresh * noise, t=t, here=noisier)


class _Churned(Solver):
    """A solver that may add noise before its step."""

    churn: Churn

    def refuse_ascent(self) -> None:
        """Without churn the walk may go from clean to noisy."""
        if self.churn.gamma > 0:
            found = f"found gamma = {self.churn.gamma} on a step from clean to noisy"
            raise ValueError(f"churn: {found}; allowed 0 there (inversion).")


@dataclass(frozen=True)
class Euler(_Churned):
    """u_s = u_t + (rho_s - rho_t) (u_t - x0) / rho_t, u = x / alpha, after optional churn.

    Without churn this equals DDIM with eta = 0.

    Args:
        churn: fresh noise before each step; acts on steps from noisy to clean only.
    """

    churn: Churn = Churn()

    order: ClassVar[int] = 1

    def advance(self, leg: Leg, carry: None) -> tuple[Tensor, Tensor, None]:
        """One step."""
        leg = self.churn(leg)
        x0 = leg.estimate()
        return leg.flow(x0), x0, None


@dataclass(frozen=True)
class Heun(_Churned):
    """Euler's step, then the trapezoid of the slopes at both ends: second order, two evaluations (Karras et al. 2022).

        d = (u_t - x0(t)) / rho_t,  d' = (u' - x0(s)) / rho_s at Euler's u',  u_s = u_t + (rho_s - rho_t) (d + d') / 2

    Steps into and out of the clean end, or out of pure noise (alpha = 0), stay Euler's. Also walks from clean to noisy.

    Args:
        churn: fresh noise before each step; acts on steps from noisy to clean only.
    """

    churn: Churn = Churn()

    order: ClassVar[int] = 2
    evaluations_per_step: ClassVar[int] = 2

    def preferred_grid(self, steps: int) -> Grid:
        """`Karras`: dense towards the clean end, where Euler's last step must be short."""
        return Karras(steps)

    def advance(self, leg: Leg, carry: None) -> tuple[Tensor, Tensor, None]:
        """One step."""
        leg = self.churn(leg)
        here, there = leg.here, leg.there
        x0 = leg.estimate()
        guess = leg.flow(x0)
        if there.is_clean or here.is_pure_noise:
            return guess, x0, None
        slope_t = (leg.x - here.alpha * x0) / here.sigma
        slope_s = (guess - there.alpha * replace(leg, x=guess, t=leg.s).estimate()) / there.sigma
        half = 0.5 * (there.sigma - there.alpha * here.sigma / here.alpha)  # alpha_s (rho_s - rho_t) / 2
        return (there.alpha / here.alpha) * leg.x + half * (slope_t + slope_s), x0, None
