"""DDPM's ancestral step, with the variances and the mean drift of the guided-diffusion lineage.

References: Ho et al. 2020 (arXiv 2006.11239); Nichol and Dhariwal 2021 (2102.09672); Dhariwal and Nichol 2021
(2105.05233), algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, get_args

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import Condition, Prediction
from skiagraph.diffusion.reverse import reverse_step
from skiagraph.diffusion.rules.solver import Leg, Solver
from skiagraph.diffusion.schedule import DiscreteTable, expand_like, remembered

__all__ = ["DDPM", "MeanDrift", "Variance"]

Variance = Literal["small", "large", "learned"]


class MeanDrift(Protocol):
    """A gradient of a log-density with respect to the state, to be added to the mean times the variance."""

    def __call__(self, x: Tensor, t: Tensor, x0: Tensor, cond: Condition) -> Tensor:
        """g of x's shape."""
        ...


@dataclass(frozen=True)
class DDPM(Solver):
    """x_s ~ N(mean + v g, v): mean of q(x_s | x_t, x0), v a chosen variance, g an optional drift.

    The drift is how guided-diffusion guides ancestral sampling. It is not the shift of x0 that guidance wrappers make,
    which moves the mean by (alpha_s / alpha_t) sigma_t^2 (1 - r) g: the two agree for short steps only. Use it to agree
    with that lineage, and the wrappers otherwise.

    Args:
        variance: "small" sigma_s^2 (1 - r), "large" sigma_t^2 (1 - r) with r = (rho_s / rho_t)^2, or "learned" (steps
            between neighbouring levels of a table, from a denoiser that predicts it).
        mean_drift: g(x_t, t, x0, cond); None for none.
        final_noise: also add noise in the step to the clean end, with the variance of the step before.
    """

    variance: Variance = "small"
    mean_drift: MeanDrift | None = None
    final_noise: bool = False

    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.variance not in get_args(Variance):
            raise ValueError(f"variance: found {self.variance!r}; allowed {', '.join(map(repr, get_args(Variance)))}.")

    def refuse_ascent(self) -> None:
        """An ancestral step only goes from noisy to clean."""
        raise ValueError("s: found a time noisier than t; an ancestral step goes from noisy to clean.")

    def advance(self, leg: Leg, carry: None) -> tuple[Tensor, Tensor, None]:
        """One step."""
        prediction = leg.denoiser(leg.x, leg.t, leg.cond)
        x0 = prediction.x0
        step = _posterior(leg.denoiser.schedule, float(leg.t), float(leg.s))
        mean = expand_like(step.of_x0, x0) * x0 + expand_like(step.of_x, x0) * leg.x
        log_var = self._log_variance(leg, prediction)
        if self.mean_drift is not None:
            mean = mean + torch.exp(log_var) * self.mean_drift(leg.x, leg.t, x0, leg.cond)
        if leg.there.is_clean and not self.final_noise:
            return mean, x0, None
        return mean + torch.exp(0.5 * log_var) * leg.noise("DDPM draws noise at every step"), x0, None

    def _log_variance(self, leg: Leg, prediction: Prediction) -> Tensor:
        schedule = leg.denoiser.schedule
        if self.variance != "learned":
            step = _posterior(schedule, float(leg.t), float(leg.s))
            large = self.variance == "large" and not leg.there.is_clean
            return expand_like(step.log_large if large else step.log_small, prediction.x0)
        if prediction.log_var is None:
            raise ValueError("variance: found 'learned', but the denoiser predicts none; allowed 'small' or 'large'.")
        if not isinstance(schedule, DiscreteTable) or float(leg.t) - float(leg.s) != 1:
            raise ValueError(
                f"variance: found 'learned' on a step from {float(leg.t):g} to {float(leg.s):g}; learned variances "
                "belong to neighbouring levels. Respace the table and walk its Levels()."
            )
        return prediction.log_var


_posterior = remembered(reverse_step)
