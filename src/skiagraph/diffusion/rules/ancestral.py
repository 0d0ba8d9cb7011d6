"""DDPM's ancestral step, with the variances and the mean drift of the guided-diffusion lineage.

References: Ho et al. 2020 (arXiv 2006.11239); Nichol and Dhariwal 2021 (2102.09672); Dhariwal and Nichol 2021
(2105.05233), algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, get_args

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import Condition, Denoiser, Prediction
from skiagraph.diffusion.grid import Grid, Uniform
from skiagraph.diffusion.reverse import ReverseStep, reverse_step
from skiagraph.diffusion.rules.flow import is_clean, needed
from skiagraph.diffusion.schedule import DiscreteTable, Schedule, expand_like
from skiagraph.diffusion.streams import Streams

__all__ = ["DDPM", "MeanDrift", "Variance"]

Variance = Literal["small", "large", "learned"]


class MeanDrift(Protocol):
    """A gradient of a log-density with respect to the state, to be added to the mean times the variance."""

    def __call__(self, x: Tensor, t: Tensor, x0: Tensor, cond: Condition) -> Tensor:
        """g of x's shape."""
        ...


@dataclass(frozen=True)
class DDPM:
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
    evaluations_per_step: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.variance not in get_args(Variance):
            raise ValueError(f"variance: found {self.variance!r}; allowed {', '.join(map(repr, get_args(Variance)))}.")

    def preferred_grid(self, steps: int) -> Grid:
        """`Uniform`; for learned variances the respaced table's `Levels`."""
        return Uniform(steps)

    def __call__(
        self, denoiser: Denoiser, x: Tensor, t: Tensor, s: Tensor, cond: Condition, streams: Streams | None, carry: None
    ) -> tuple[Tensor, Tensor, None]:
        """One step from time t to a cleaner time s."""
        schedule = denoiser.schedule
        prediction = denoiser(x, t, cond)
        x0 = prediction.x0
        step = reverse_step(schedule, t, s)
        mean = expand_like(step.of_x0, x) * x0 + expand_like(step.of_x, x) * x
        log_var = self._log_variance(schedule, prediction, step, t, s)
        if self.mean_drift is not None:
            mean = mean + torch.exp(log_var) * self.mean_drift(x, t, x0, cond)
        if is_clean(schedule, s) and not self.final_noise:
            return mean, x0, None
        noise = needed(streams, "DDPM draws noise at every step").normal_like(x)
        return mean + torch.exp(0.5 * log_var) * noise, x0, None

    def _log_variance(
        self, schedule: Schedule, prediction: Prediction, step: ReverseStep, t: Tensor, s: Tensor
    ) -> Tensor:
        if self.variance != "learned":
            large = self.variance == "large" and not is_clean(schedule, s)
            return expand_like(step.log_large if large else step.log_small, prediction.x0)
        if prediction.log_var is None:
            raise ValueError("variance: found 'learned', but the denoiser predicts none; allowed 'small' or 'large'.")
        if not isinstance(schedule, DiscreteTable) or float(t) - float(s) != 1:
            raise ValueError(
                f"variance: found 'learned' on a step from {float(t):g} to {float(s):g}; learned variances belong to "
                "neighbouring levels. Respace the table and walk its Levels()."
            )
        return prediction.log_var
