"""DPM-Solver++ of second order with one evaluation a step (Lu et al. 2022, arXiv 2211.01095, algorithms 2 and 4).

With lambda = log(alpha / sigma) and h = lambda_s - lambda_t, x0 is extrapolated to the middle of the step from its last
two values: D = x0 + (x0 - x0_before) h / (2 h_before).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from skiagraph.diffusion.grid import Grid, LogSNR
from skiagraph.diffusion.rules.solver import Leg, Solver

__all__ = ["DPMSolverPP2M", "DPMSolverPP2MSDE", "Memory"]


@dataclass(frozen=True, eq=False)
class Memory:
    """The estimate of the step before, and its log(alpha / sigma)."""

    x0: Tensor
    half_log_snr: float


class _Extrapolating(Solver):
    """The extrapolation; the first step, and that to the clean end, use D = x0."""

    order: ClassVar[int] = 2

    def preferred_grid(self, steps: int) -> Grid:
        """`LogSNR`: the solver's own variable."""
        return LogSNR(steps)

    def advance(self, leg: Leg, carry: Memory | None) -> tuple[Tensor, Tensor, Memory]:
        """One step."""
        x0 = leg.estimate()
        here, there = leg.here.half_log_snr, leg.there.half_log_snr
        slope = x0
        if carry is not None and math.isfinite(there) and math.isfinite(carry.half_log_snr):
            slope = x0 + (0.5 * (there - here) / (here - carry.half_log_snr)) * (x0 - carry.x0)
        return self._land(leg, slope), x0, Memory(x0, here)

    @abstractmethod
    def _land(self, leg: Leg, slope: Tensor) -> Tensor:
        """The state at s from D."""


@dataclass(frozen=True)
class DPMSolverPP2M(_Extrapolating):
    """x_s = (sigma_s / sigma_t) x_t + alpha_s (1 - exp(-h)) D: deterministic, second order; works both ways.

    alpha_s (1 - exp(-h)) is alpha_s - sigma_s alpha_t / sigma_t: the step of the flow, with D in the place of x0.
    """

    def _land(self, leg: Leg, slope: Tensor) -> Tensor:
        return leg.flow(slope)


@dataclass(frozen=True)
class DPMSolverPP2MSDE(_Extrapolating):
    """x_s = (sigma_s / sigma_t) exp(-h) x_t + alpha_s (1 - exp(-2 h)) D + sigma_s sqrt(1 - exp(-2 h)) n.

    The reverse diffusion with exact fresh noise: mean and variance of the samples converge with second order. From
    noisy to clean only.
    """

    def refuse_ascent(self) -> None:
        """Noise is only ever exchanged on the way down."""
        raise ValueError("s: found a time noisier than t; this rule only walks from noisy to clean.")

    def _land(self, leg: Leg, slope: Tensor) -> Tensor:
        here, there = leg.here, leg.there
        decay = math.exp(here.half_log_snr - there.half_log_snr)
        fresh = -math.expm1(2 * (here.half_log_snr - there.half_log_snr))
        mean = (there.sigma / here.sigma * decay) * leg.x + (there.alpha * fresh) * slope
        if there.is_clean:
            return mean
        return mean + (there.sigma * math.sqrt(fresh)) * leg.noise("DPM-Solver++ SDE draws noise")
