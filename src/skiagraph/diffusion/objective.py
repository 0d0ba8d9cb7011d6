"""Training on clean images: the denoising objective, its weights, and the times it is evaluated at.

Losses are per sample (B,); the training loop reduces them once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser
from skiagraph.diffusion.schedule import DiscreteTable, Schedule, as_time, perturb

__all__ = [
    "AntitheticTimes",
    "EDMWeight",
    "LogNormalTimes",
    "MinSNRWeight",
    "ObjectiveResult",
    "P2Weight",
    "TimeDraws",
    "UniformTimes",
    "Weight",
    "data_weight",
    "denoising_loss",
    "noise_weight",
    "velocity_weight",
]

Weight = Callable[[Schedule, Tensor], Tensor]
"""Weight of |x0 - x0_hat|^2 at times t: float64, of t's shape."""


@dataclass(frozen=True)
class ObjectiveResult:
    """What an objective returns for a batch of B items; nothing is reduced over the batch.

    Args:
        loss: (B,) float32 or float64, differentiable.
        level: (B,) log-SNR of each item's noise, for the log; NaN where it does not apply.
        extra: further (B,) values to log by name; NaN where they do not apply.
    """

    loss: Tensor
    level: Tensor
    extra: Mapping[str, Tensor] = field(default_factory=dict)


class TimeDraws(Protocol):
    """The random draws that time samplers need; `Streams` has them."""

    def __len__(self) -> int:
        """Number of samples B."""
        ...

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """(B, *shape) uniform in [0, 1)."""
        ...

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """(B, *shape) standard normal."""
        ...


def data_weight(schedule: Schedule, t: Tensor) -> Tensor:
    """1: mean squared error of x0."""
    return torch.ones_like(as_time(t))


def noise_weight(schedule: Schedule, t: Tensor) -> Tensor:
    """SNR = 1 / rho^2: mean squared error of eps, the usual DDPM objective."""
    return torch.exp(schedule.log_snr(t))


def velocity_weight(schedule: Schedule, t: Tensor) -> Tensor:
    """SNR + 1: mean squared error of v when variance preserving."""
    return torch.exp(schedule.log_snr(t)) + 1


@dataclass(frozen=True)
class EDMWeight:
    """(rho^2 + s_d^2) / (rho s_d)^2: unit weight on the output of an EDM-preconditioned network (Karras et al. 2022).

    Args:
        sigma_data: s_d, standard deviation of the data; > 0.
    """

    sigma_data: float = 0.5

    def __call__(self, schedule: Schedule, t: Tensor) -> Tensor:
        """Weight at times t."""
        return torch.exp(schedule.log_snr(t)) + self.sigma_data**-2


@dataclass(frozen=True)
class MinSNRWeight:
    """min(SNR, gamma): the eps objective without its emphasis on the lowest noise (Hang et al. 2023, arXiv 2303.09556).

    Args:
        gamma: bound, > 0; 5 in the paper.
    """

    gamma: float = 5.0

    def __call__(self, schedule: Schedule, t: Tensor) -> Tensor:
        """Weight at times t."""
        return torch.exp(schedule.log_snr(t)).clamp(max=self.gamma)


@dataclass(frozen=True)
class P2Weight:
    """SNR (k + SNR)^(-q): the eps objective with less weight on low noise (Choi et al. 2022, arXiv 2204.00227).

    Args:
        k: > 0; 1 in the paper.
        q: exponent; 0 is the eps objective, 0.5 with k = 1 is eps weighted by sigma when variance preserving.
    """

    k: float = 1.0
    q: float = 1.0

    def __call__(self, schedule: Schedule, t: Tensor) -> Tensor:
        """Weight at times t."""
        snr = torch.exp(schedule.log_snr(t))
        return snr * (self.k + snr) ** -self.q


def denoising_loss(
    denoiser: Denoiser,
    x0: Tensor,
    t: Tensor,
    noise: Tensor,
    cond: Condition = EMPTY,
    weight: Weight = noise_weight,
) -> Tensor:
    """weight_t times the mean over pixels of |x0 - x0_hat(alpha_t x0 + sigma_t noise, t)|^2, per sample (B,).

    Args:
        denoiser: the denoiser in training.
        x0: (B, C, ...) clean images.
        t: (B,) times, one per sample, or ().
        noise: standard normal of x0's shape.
        cond: conditions of the batch.
        weight: function of schedule and times.
    """
    t = as_time(t)
    error = denoiser(perturb(denoiser.schedule, x0, t, noise), t, cond).x0 - x0
    squared = torch.view_as_real(error).square() if error.is_complex() else error.square()
    factor = weight(denoiser.schedule, t).to(device=squared.device, dtype=squared.dtype)
    return factor * squared.flatten(1).mean(1)


@dataclass(frozen=True)
class UniformTimes:
    """Times uniform over the levels 0 ... T-1 of a table, or over [finest, noisiest] of a continuous schedule."""

    def __call__(self, schedule: Schedule, draws: TimeDraws) -> Tensor:
        """(B,) float64 times."""
        return _placed(schedule, draws.uniform(dtype=torch.float64))


@dataclass(frozen=True)
class AntitheticTimes:
    """Uniform times in pairs that mirror each other, u and 1 - u: the second half of the batch answers the first.

    Each time alone is uniform, but depends on the batch around it. Needs an even number of samples or leaves one alone.
    """

    def __call__(self, schedule: Schedule, draws: TimeDraws) -> Tensor:
        """(B,) float64 times."""
        share = draws.uniform(dtype=torch.float64)
        half = len(draws) // 2
        mirrored = (1 - share[:half]).clamp(max=math.nextafter(1.0, 0.0))
        return _placed(schedule, torch.cat([share[: len(draws) - half], mirrored]))


@dataclass(frozen=True)
class LogNormalTimes:
    """log rho ~ N(mean, deviation^2), clipped to the schedule (Karras et al. 2022: -1.2 and 1.2).

    Args:
        mean, deviation: of log(sigma / alpha), natural logarithm; deviation > 0.
    """

    mean: float = -1.2
    deviation: float = 1.2

    def __post_init__(self) -> None:
        if not self.deviation > 0:
            raise ValueError(f"deviation: found {self.deviation}; allowed a positive number.")

    def __call__(self, schedule: Schedule, draws: TimeDraws) -> Tensor:
        """(B,) float64 times."""
        log_rho = self.mean + self.deviation * draws.normal(dtype=torch.float64)
        ends = schedule.log_snr(torch.tensor([schedule.span[0], schedule.finest], dtype=torch.float64))
        return schedule.time_of((-2 * log_rho).clamp(float(ends[0]), float(ends[1])))


def _placed(schedule: Schedule, share: Tensor) -> Tensor:
    """Times at uniform shares in [0, 1)."""
    if isinstance(schedule, DiscreteTable):
        return (share * len(schedule)).floor()
    return schedule.finest + share * (schedule.span[0] - schedule.finest)
