"""The exact ancestral step of a known x_0, q(x_s | x_t, x_0), for any schedule, and the variances people put beside it.

With r = (rho_s / rho_t)^2, rho = sigma / alpha (Ho et al. 2020, equations 6 and 7, written for any alpha and sigma):

    mean = alpha_s (1 - r) x_0 + (alpha_s / alpha_t) r x_t
    small variance = sigma_s^2 (1 - r)         ("betatilde": exact for a known x_0)
    large variance = sigma_t^2 (1 - r)         ("beta": exact for x_0 ~ N(0, 1) when variance preserving)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skiagraph.diffusion.schedule import DiscreteTable, Schedule, as_time, expand_like

__all__ = ["ReverseStep", "learned_log_variance", "reverse_step"]


@dataclass(frozen=True, eq=False)
class ReverseStep:
    """Coefficients, float64, of the ancestral step from t to s: mean = of_x0 x_0 + of_x x_t, and two log-variances.

    At the clean end the small variance is 0; its logarithm is then replaced by that of the step before (level 1 to 0 of
    a discrete table), or by the large one where there is no such step, as guided-diffusion does.
    """

    of_x0: Tensor
    of_x: Tensor
    log_small: Tensor
    log_large: Tensor


def reverse_step(schedule: Schedule, t: Tensor | float, s: Tensor | float) -> ReverseStep:
    """The ancestral step from time t to a cleaner time s; both () or (B,)."""
    t, s = as_time(t), as_time(s)
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
    ratio = (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2
    if bool((ratio > 1).any()):
        raise ValueError("s: found a time noisier than t; an ancestral step goes from noisy to clean.")
    log_large = torch.log(sigma_t**2 * (1 - ratio))
    log_small = torch.where(sigma_s > 0, torch.log(sigma_s**2 * (1 - ratio)), _floor(schedule, t, log_large))
    return ReverseStep(alpha_s * (1 - ratio), alpha_t * sigma_s**2 / (alpha_s * sigma_t**2), log_small, log_large)


def learned_log_variance(schedule: Schedule, t: Tensor | float, output: Tensor) -> Tensor:
    """Log-variance of the step from level t to t - 1 from a network's output v: u log(large) + (1 - u) log(small).

    u = (v + 1) / 2; Nichol and Dhariwal 2021, equation 15.

    Args:
        schedule: a discrete table.
        t: levels, () or (B,), each at least 0.
        output: v, (B, C, ...), about [-1, 1]; not clipped.
    """
    t = as_time(t)
    step = reverse_step(schedule, t, t - 1)
    fraction = 0.5 * (output + 1)
    return fraction * expand_like(step.log_large, output) + (1 - fraction) * expand_like(step.log_small, output)


def _floor(schedule: Schedule, t: Tensor, log_large: Tensor) -> Tensor:
    if not isinstance(schedule, DiscreteTable) or len(schedule) < 2:
        return log_large
    level = torch.tensor([0.0, 1.0], dtype=torch.float64, device=t.device)
    _, sigma = schedule(level)
    rho = torch.exp(-0.5 * schedule.log_snr(level))
    return torch.log(sigma[0] ** 2 * (1 - (rho[0] / rho[1]) ** 2)).expand_as(log_large)
