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
from functools import lru_cache

import torch
from torch import Tensor

from skiagraph.diffusion.grid import Grid, LogSNR
from skiagraph.diffusion.rules.solver import Leg, Solver
from skiagraph.diffusion.schedule import NoiseLevel

__all__ = ["History", "UniPC", "exponential_weights"]


@dataclass(frozen=True, eq=False)
class History:
    """What UniPC remembers: the corrected state its last step began from; estimates and levels, newest first."""

    state: Tensor
    estimates: tuple[Tensor, ...]
    levels: tuple[NoiseLevel, ...]


def exponential_weights(step: float, places: Sequence[float]) -> tuple[float, ...]:
    """w_k of the module's equation, float64.

    Args:
        step: h, not 0.
        places: where x0 is known, as tau / h; all different (0 is the step's beginning, 1 its end).
    """
    return _weights(step, tuple(places))


@lru_cache(maxsize=4096)
def _weights(step: float, places: tuple[float, ...]) -> tuple[float, ...]:
    nodes = torch.tensor(places, dtype=torch.float64)
    powers = torch.arange(len(places))
    moments = torch.tensor([_moment(step, int(i)) for i in powers], dtype=torch.float64)
    return tuple(torch.linalg.solve(nodes[None, :] ** powers[:, None], moments).tolist())


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
class UniPC(Solver):
    """Predictor of order p and corrector of order p + 1, one evaluation a step; converges with order p + 1.

    The first steps use the values there are. The step to the clean end takes x0. The last step is not corrected, as
    that would need one more evaluation. Works from clean to noisy as well.

    Differs from the released code in that the weights always solve the full moment conditions, which makes them
    independent of the paper's B(h); the released code puts 1/2 for the single weight of order 2.

    Args:
        predictor_order: p, 1 to 3.
    """

    predictor_order: int = 2

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

    def advance(self, leg: Leg, carry: History | None) -> tuple[Tensor, Tensor, History | None]:
        """One step."""
        x, x0 = leg.x, leg.estimate()
        if leg.here.is_pure_noise:
            return leg.flow(x0), x0, None
        estimates: tuple[Tensor, ...] = (x0,)
        levels: tuple[NoiseLevel, ...] = (leg.here,)
        if carry is not None:
            estimates, levels = estimates + carry.estimates, levels + carry.levels
            x = _step(carry.state, carry.levels[0], leg.here, estimates, levels)
        history = History(x, estimates[: self.predictor_order], levels[: self.predictor_order])
        if leg.there.is_clean:
            return leg.there.alpha * x0, x0, history
        return _step(x, leg.here, leg.there, history.estimates, history.levels), x0, history


def _step(
    x: Tensor, here: NoiseLevel, there: NoiseLevel, estimates: Sequence[Tensor], levels: Sequence[NoiseLevel]
) -> Tensor:
    """The state at `there` from that at `here`, with x0 known at `levels`."""
    step = there.half_log_snr - here.half_log_snr
    places = [(level.half_log_snr - here.half_log_snr) / step for level in levels]
    result = (there.sigma / here.sigma) * x
    for weight, estimate in zip(exponential_weights(step, places), estimates, strict=True):
        result = result + (there.alpha * weight) * estimate
    return result
