"""DPM-Solver++ of second order with one evaluation a step (Lu et al. 2022, arXiv 2211.01095, algorithms 2 and 4).

With lambda = log(alpha / sigma) and h = lambda_s - lambda_t, x0 is extrapolated to the middle of the step from its last
two values: D = x0 + (x0 - x0_before) h / (2 h_before).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import Condition, Denoiser
from skiagraph.diffusion.grid import Grid, LogSNR
from skiagraph.diffusion.rules.flow import is_clean, leave_clean_end, needed
from skiagraph.diffusion.schedule import expand_like
from skiagraph.diffusion.streams import Streams

__all__ = ["DPMSolverPP2M", "DPMSolverPP2MSDE", "Memory"]


@dataclass(frozen=True, eq=False)
class Memory:
    """The estimate of the step before, and its log(alpha / sigma)."""

    x0: Tensor
    half_log_snr: Tensor


@dataclass(frozen=True)
class DPMSolverPP2M:
    """x_s = (sigma_s / sigma_t) x_t + alpha_s (1 - exp(-h)) D: deterministic, second order; works both ways.

    The first step, and that to the clean end, use D = x0.
    """

    order: ClassVar[int] = 2
    evaluations_per_step: ClassVar[int] = 1

    def preferred_grid(self, steps: int) -> Grid:
        """`LogSNR`: the solver's own variable."""
        return LogSNR(steps)

    def __call__(
        self,
        denoiser: Denoiser,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        cond: Condition,
        streams: Streams | None,
        carry: Memory | None,
    ) -> tuple[Tensor, Tensor, Memory | None]:
        """One step from time t to time s."""
        schedule = denoiser.schedule
        if is_clean(schedule, t):
            return *leave_clean_end(denoiser, x, t, s, cond), None
        (_, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
        here, there = 0.5 * schedule.log_snr(t), 0.5 * schedule.log_snr(s)
        x0 = denoiser(x, t, cond).x0
        slope = _extrapolation(x0, here, there, carry)
        gain = -alpha_s * torch.expm1(here - there)
        return expand_like(sigma_s / sigma_t, x) * x + expand_like(gain, x) * slope, x0, Memory(x0, here)


@dataclass(frozen=True)
class DPMSolverPP2MSDE:
    """x_s = (sigma_s / sigma_t) exp(-h) x_t + alpha_s (1 - exp(-2 h)) D + sigma_s sqrt(1 - exp(-2 h)) n.

    The reverse diffusion with exact fresh noise: mean and variance of the samples converge with second order. From
    noisy to clean only.
    """

    order: ClassVar[int] = 2
    evaluations_per_step: ClassVar[int] = 1

    def preferred_grid(self, steps: int) -> Grid:
        """`LogSNR`: the solver's own variable."""
        return LogSNR(steps)

    def __call__(
        self,
        denoiser: Denoiser,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        cond: Condition,
        streams: Streams | None,
        carry: Memory | None,
    ) -> tuple[Tensor, Tensor, Memory | None]:
        """One step from time t to a cleaner time s."""
        schedule = denoiser.schedule
        (_, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
        here, there = 0.5 * schedule.log_snr(t), 0.5 * schedule.log_snr(s)
        if not bool(there > here):
            raise ValueError("s: found a time noisier than t; this rule only walks from noisy to clean.")
        x0 = denoiser(x, t, cond).x0
        slope = _extrapolation(x0, here, there, carry)
        decay = torch.exp(here - there)
        fresh = -torch.expm1(2 * (here - there))
        mean = expand_like(sigma_s / sigma_t * decay, x) * x + expand_like(alpha_s * fresh, x) * slope
        if is_clean(schedule, s):
            return mean, x0, None
        noise = needed(streams, "DPM-Solver++ SDE draws noise").normal_like(x)
        return mean + expand_like(sigma_s * fresh.sqrt(), x) * noise, x0, Memory(x0, here)


def _extrapolation(x0: Tensor, here: Tensor, there: Tensor, carry: Memory | None) -> Tensor:
    """D, or x0 itself where there is no step before or none behind (an infinite step to the clean end)."""
    if carry is None or not bool(torch.isfinite(there)) or not bool(torch.isfinite(carry.half_log_snr)):
        return x0
    ratio = (there - here) / (here - carry.half_log_snr)
    return x0 + expand_like(0.5 * ratio, x0) * (x0 - carry.x0)
