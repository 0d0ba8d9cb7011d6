"""The variational term that teaches a network its variance, and the hybrid objective it is part of.

Nichol and Dhariwal 2021 (arXiv 2102.09672), section 3.1: loss = weight |eps - eps_hat|^2 + coefficient L_vb, where the
mean is held constant in L_vb, so that only the variance learns from it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser, Prediction
from skiagraph.diffusion.objective import Weight, noise_weight
from skiagraph.diffusion.reverse import reverse_step
from skiagraph.diffusion.schedule import DiscreteTable, Schedule, as_time, expand_like, perturb

__all__ = ["hybrid_loss", "variational_term"]

_HALF_BIN = 1 / 255  # half the distance between grey levels of 8-bit images on [-1, 1]
_OPEN = 0.999  # beyond it a bin reaches to infinity
_FLOOR = 1e-12


def variational_term(schedule: Schedule, prediction: Prediction, x0: Tensor, state: Tensor, t: Tensor) -> Tensor:
    """Bits per number, (B,), of the step from level t to t - 1 under the learned variance.

    Levels above 0: KL of the true step N(mean(x_0, x_t), betatilde) to the model's N(mean(x0-hat, x_t), exp(log_var)).
    Level 0: -log of the model's mass on the 8-bit bin around x_0, open beyond 0.999, with the normal distribution
    function taken as (1 + tanh(sqrt(2 / pi) (u + 0.044715 u^3))) / 2. No gradient flows into x0-hat.

    Args:
        schedule: a discrete table.
        prediction: of a denoiser with learned variance, at (state, t).
        x0: (B, ...) clean images in [-1, 1].
        state: x_t.
        t: () or (B,) levels, whole numbers of at least 0.
    """
    if prediction.log_var is None or not isinstance(schedule, DiscreteTable):
        raise ValueError(
            f"prediction: found {'no' if prediction.log_var is None else 'a'} log-variance on a "
            f"{type(schedule).__name__}; the variational term needs a learned variance on a DiscreteTable."
        )
    t = as_time(t)
    step = reverse_step(schedule, t, t - 1)
    of_x0, of_x, log_small = (expand_like(value, x0) for value in (step.of_x0, step.of_x, step.log_small))
    guess = prediction.x0.detach()
    difference = of_x0 * (x0 - guess)
    log_var = prediction.log_var
    divergence = 0.5 * (log_var - log_small - 1 + (log_small - log_var).exp() + difference**2 * (-log_var).exp())
    first = _bin_cost(x0, of_x0 * guess + of_x * state, log_var)
    return torch.where(expand_like(t == 0, x0).bool(), first, divergence).flatten(1).mean(1) / math.log(2)


def hybrid_loss(
    denoiser: Denoiser,
    x0: Tensor,
    t: Tensor,
    noise: Tensor,
    cond: Condition = EMPTY,
    *,
    weight: Weight = noise_weight,
    coefficient: float = 1.0,
) -> Tensor:
    """weight_t mean |x0 - x0_hat|^2 + coefficient L_vb per sample, (B,), from one evaluation.

    `P2Weight(1, 0.5)` with coefficient 1 is the objective of Luo et al. 2024; `noise_weight` with (levels / 1000), the
    unweighted one with the variational term in the usual proportion.

    Args:
        denoiser: with learned variance.
        x0: (B, C, ...) clean images in [-1, 1].
        t: () or (B,) levels.
        noise: standard normal of x0's shape.
        cond: conditions of the batch.
        weight: of |x0 - x0_hat|^2; function of schedule and times.
        coefficient: of the variational term, >= 0; 0 leaves it out.
    """
    if not 0 <= coefficient < math.inf:
        raise ValueError(f"coefficient: found {coefficient}; allowed 0 or a positive finite number.")
    t = as_time(t)
    state = perturb(denoiser.schedule, x0, t, noise)
    prediction = denoiser(state, t, cond)
    squared = (prediction.x0 - x0).square().flatten(1).mean(1)
    loss = weight(denoiser.schedule, t).to(squared) * squared
    if coefficient == 0:
        return loss
    return loss + coefficient * variational_term(denoiser.schedule, prediction, x0, state, t)


def _bin_cost(x0: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """-log of the mass on the bin around x_0, in nats."""
    scale = torch.exp(-0.5 * log_var)
    upper, lower = _normal(scale * (x0 - mean + _HALF_BIN)), _normal(scale * (x0 - mean - _HALF_BIN))
    mass = torch.where(x0 < -_OPEN, upper, torch.where(x0 > _OPEN, 1 - lower, upper - lower))
    return -torch.log(mass.clamp(min=_FLOOR))


def _normal(u: Tensor) -> Tensor:
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))
