"""Euler and Heun steps of the probability flow in rho = sigma / alpha, with optional churn (Karras et al. 2022)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import Condition, Denoiser
from skiagraph.diffusion.grid import Grid, Karras, Uniform
from skiagraph.diffusion.rules.flow import flow_step, is_clean, is_pure_noise, leave_clean_end, needed
from skiagraph.diffusion.schedule import expand_like
from skiagraph.diffusion.streams import Streams

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

    def __call__(self, denoiser: Denoiser, x: Tensor, t: Tensor, streams: Streams | None) -> tuple[Tensor, Tensor]:
        """(state, time) after adding noise, or unchanged."""
        schedule = denoiser.schedule
        alpha, sigma = schedule(t)
        rho = sigma / alpha
        if self.gamma == 0 or not self.low <= float(rho) <= self.high:
            return x, t
        ceiling = torch.exp(-0.5 * schedule.log_snr(torch.tensor(schedule.span[0], dtype=torch.float64)))
        raised = torch.minimum((1 + self.gamma) * rho, ceiling)
        if not bool(raised > rho):
            return x, t
        noisier = schedule.time_of(-2 * torch.log(raised))
        alpha_n, sigma_n = schedule(noisier)
        fresh = self.inflation * (sigma_n**2 - (alpha_n * rho) ** 2).clamp(min=0).sqrt()
        noise = needed(streams, f"churn with gamma = {self.gamma} draws noise").normal_like(x)
        return expand_like(alpha_n / alpha, x) * x + expand_like(fresh, x) * noise, noisier


@dataclass(frozen=True)
class Euler:
    """u_s = u_t + (rho_s - rho_t) (u_t - x0) / rho_t, u = x / alpha, after optional churn.

    Without churn this equals DDIM with eta = 0.

    Args:
        churn: fresh noise before each step; acts on steps from noisy to clean only.
    """

    churn: Churn = Churn()

    order: ClassVar[int] = 1
    evaluations_per_step: ClassVar[int] = 1

    def preferred_grid(self, steps: int) -> Grid:
        """`Uniform`, as for DDIM."""
        return Uniform(steps)

    def __call__(
        self, denoiser: Denoiser, x: Tensor, t: Tensor, s: Tensor, cond: Condition, streams: Streams | None, carry: None
    ) -> tuple[Tensor, Tensor, None]:
        """One step from time t to time s."""
        if is_clean(denoiser.schedule, t):
            return *leave_clean_end(denoiser, x, t, s, cond), None
        x, t = _churned(self.churn, denoiser, x, t, s, streams)
        x0 = denoiser(x, t, cond).x0
        return flow_step(denoiser.schedule, x, x0, t, s), x0, None


@dataclass(frozen=True)
class Heun:
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

    def __call__(
        self, denoiser: Denoiser, x: Tensor, t: Tensor, s: Tensor, cond: Condition, streams: Streams | None, carry: None
    ) -> tuple[Tensor, Tensor, None]:
        """One step from time t to time s."""
        schedule = denoiser.schedule
        if is_clean(schedule, t):
            return *leave_clean_end(denoiser, x, t, s, cond), None
        x, t = _churned(self.churn, denoiser, x, t, s, streams)
        x0 = denoiser(x, t, cond).x0
        guess = flow_step(schedule, x, x0, t, s)
        if is_clean(schedule, s) or is_pure_noise(schedule, t):
            return guess, x0, None
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
        slope_t = (x - expand_like(alpha_t, x) * x0) / expand_like(sigma_t, x)
        slope_s = (guess - expand_like(alpha_s, x) * denoiser(guess, s, cond).x0) / expand_like(sigma_s, x)
        half = 0.5 * (sigma_s - alpha_s * sigma_t / alpha_t)  # alpha_s (rho_s - rho_t) / 2
        return expand_like(alpha_s / alpha_t, x) * x + expand_like(half, x) * (slope_t + slope_s), x0, None


def _churned(
    churn: Churn, denoiser: Denoiser, x: Tensor, t: Tensor, s: Tensor, streams: Streams | None
) -> tuple[Tensor, Tensor]:
    schedule = denoiser.schedule
    if churn.gamma > 0 and bool(schedule.log_snr(s) < schedule.log_snr(t)):
        raise ValueError(
            f"churn: found gamma = {churn.gamma} on a step from clean to noisy; allowed 0 there (inversion)."
        )
    return churn(denoiser, x, t, streams)
