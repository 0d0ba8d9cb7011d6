"""UniPC: a multistep predictor whose next evaluation also corrects the step before (Zhao et al. 2023, 2302.04867).

With lambda = log(alpha / sigma), h = lambda_s - lambda_t and x0 as a polynomial in lambda,

    x_s = (sigma_s / sigma_t) x_t + alpha_s sum_k w_k x0_k,   w_k = integral_0^h exp(tau - h) L_k(tau) d tau

where L_k are the Lagrange polynomials through the known values: the predictor knows those up to t, the corrector
also that at s. Both are one formula.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import Condition, Denoiser
from skiagraph.diffusion.grid import Grid, LogSNR
from skiagraph.diffusion.rules.flow import flow_step, is_clean, is_pure_noise, leave_clean_end
from skiagraph.diffusion.schedule import expand_like
from skiagraph.diffusion.streams import Streams

__all__ = ["History", "UniPC", "exponential_weights"]


@dataclass(frozen=True, eq=False)
class History:
    """What UniPC remembers: the corrected state its last step began from; estimates and times, newest first."""

    state: Tensor
    estimates: tuple[Tensor, ...]
    times: tuple[Tensor, ...]


def exponential_weights(step: float, places: Sequence[float]) -> list[float]:
    """w_k of the module's equation, float64.

    Args:
        step: h, not 0.
        places: where x0 is known, as tau / h; all different (0 is the step's beginning, 1 its end).
    """
    nodes = torch.tensor(list(places), dtype=torch.float64)
    powers = torch.arange(len(places))
    moments = torch.tensor([_moment(step, int(i)) for i in powers], dtype=torch.float64)
    weights: list[float] = torch.linalg.solve(nodes[None, :] ** powers[:, None], moments).tolist()
    return weights


def _moment(step: float, power: int) -> float:
    """h integral_0^1 exp(h (u - 1)) u^power du."""
    if abs(step) < 1:
        terms = (math.factorial(power) * (-step) ** j / math.factorial(power + j + 1) for j in range(24))
        return step * math.fsum(terms)
    value = -math.expm1(-step)
    for i in range(1, power + 1):
        value = 1 - i * value / step
    return value


@dataclass(frozen=True)
class UniPC:
    """Predictor of order p and corrector of order p + 1, one evaluation a step; converges with order p + 1.

    The first steps use the values there are. The step to the clean end takes x0. The last step is not corrected, as
    that would need one more evaluation. Works from clean to noisy as well.

    Differs from the released code in that the weights always solve the full moment conditions, which makes them
    independent of the paper's B(h); the released code puts 1/2 for the single weight of order 2.

    Args:
        predictor_order: p, 1 to 3.
    """

    predictor_order: int = 2

    evaluations_per_step: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.predictor_order not in (1, 2, 3):
            raise ValueError(f"predictor_order: found {self.predictor_order}; allowed 1, 2 or 3.")

    @property
    def order(self) -> int:
        """p + 1."""
        return self.predictor_order + 1

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
        carry: History | None,
    ) -> tuple[Tensor, Tensor, History | None]:
        """One step from time t to time s."""
        if is_clean(denoiser.schedule, t):
            return *leave_clean_end(denoiser, x, t, s, cond), None
        x0 = denoiser(x, t, cond).x0
        if is_pure_noise(denoiser.schedule, t):
            return flow_step(denoiser.schedule, x, x0, t, s), x0, None
        estimates, times = [x0], [t]
        if carry is not None:
            known = (x0, *carry.estimates), (t, *carry.times)
            x = _step(denoiser, carry.state, carry.times[0], t, *known)
            estimates += carry.estimates
            times += carry.times
        history = History(x, tuple(estimates[: self.predictor_order]), tuple(times[: self.predictor_order]))
        if is_clean(denoiser.schedule, s):
            return expand_like(denoiser.schedule(s)[0], x) * x0, x0, history
        return _step(denoiser, x, t, s, history.estimates, history.times), x0, history


def _step(
    denoiser: Denoiser, x: Tensor, t: Tensor, s: Tensor, estimates: Sequence[Tensor], times: Sequence[Tensor]
) -> Tensor:
    """From t to s with x0 known at `times`."""
    schedule = denoiser.schedule
    (_, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
    here, there = (0.5 * float(schedule.log_snr(time)) for time in (t, s))
    places = [(0.5 * float(schedule.log_snr(time)) - here) / (there - here) for time in times]
    result = expand_like(sigma_s / sigma_t, x) * x
    for weight, estimate in zip(exponential_weights(there - here, places), estimates, strict=True):
        result = result + expand_like(alpha_s * weight, x) * estimate
    return result
