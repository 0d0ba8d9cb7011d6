"""Schedules that are closed forms of a continuous time.

References: Song et al. 2021 (arXiv 2011.13456); Nichol and Dhariwal 2021 (2102.09672); Karras et al. 2022 (2206.00364).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from skiagraph.diffusion.schedule.interface import as_time

__all__ = ["EDM", "Cosine", "VPLinear"]


@dataclass(frozen=True)
class VPLinear:
    """Variance-preserving schedule with linear beta(t) = beta_min + t (beta_max - beta_min), t in [0, 1].

        B(t) = beta_min t + (beta_max - beta_min) t^2 / 2,  alpha^2 = exp(-B),  sigma^2 = 1 - exp(-B)

    Song et al. 2021, equations 32 and 33.

    Args:
        beta_min, beta_max: rate of noise at t = 0 and t = 1; 0 < beta_min <= beta_max.
        finest: time of the last evaluation before the clean end, in (0, 1).
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    finest: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.beta_min <= self.beta_max < math.inf:
            raise ValueError(f"beta_min, beta_max: found {self.beta_min}, {self.beta_max}; allowed 0 < min <= max.")
        _check_between("finest", self.finest, 0.0, 1.0)

    @property
    def span(self) -> tuple[float, float]:
        """(1, 0): noisiest and clean time."""
        return 1.0, 0.0

    def _integral(self, t: Tensor | float) -> Tensor:
        t = as_time(t)
        return self.beta_min * t + 0.5 * (self.beta_max - self.beta_min) * t * t

    def __call__(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """(alpha, sigma) at t in [0, 1]."""
        integral = self._integral(t)
        return torch.exp(-0.5 * integral), torch.sqrt(-torch.expm1(-integral))

    def log_snr(self, t: Tensor | float) -> Tensor:
        """-log(exp(B(t)) - 1)."""
        return -torch.log(torch.expm1(self._integral(t)))

    def time_of(self, log_snr: Tensor | float) -> Tensor:
        """Root of B(t) = log(1 + exp(-log_snr))."""
        integral = torch.nn.functional.softplus(-torch.as_tensor(log_snr, dtype=torch.float64))
        slope = self.beta_max - self.beta_min
        return 2 * integral / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * slope * integral))


@dataclass(frozen=True)
class Cosine:
    """Cosine schedule: alpha = cos(theta) / cos(theta_0), theta = (pi/2) (t + shift) / (1 + shift), t in [0, 1].

    Nichol and Dhariwal 2021, equation 17, in continuous time. alpha reaches 0 at t = 1, so walks start at `noisiest`.

    Args:
        shift: offset that keeps the noise of the first steps from vanishing; > 0.
        noisiest: largest time, in (finest, 1).
        finest: time of the last evaluation before the clean end, in (0, noisiest).
    """

    shift: float = 0.008
    noisiest: float = 0.9946
    finest: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.shift < math.inf:
            raise ValueError(f"shift: found {self.shift}; allowed a positive finite number.")
        _check_between("noisiest", self.noisiest, 0.0, 1.0)
        _check_between("finest", self.finest, 0.0, self.noisiest)

    @property
    def span(self) -> tuple[float, float]:
        """(noisiest, 0): noisiest and clean time."""
        return self.noisiest, 0.0

    @property
    def _origin(self) -> float:
        return 0.5 * math.pi * self.shift / (1 + self.shift)

    def _angle(self, t: Tensor | float) -> Tensor:
        return 0.5 * math.pi * (as_time(t) + self.shift) / (1 + self.shift)

    def __call__(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """(alpha, sigma) at t in [0, noisiest]."""
        theta, origin = self._angle(t), self._origin
        sigma = torch.sqrt((torch.sin(theta - origin) * torch.sin(theta + origin)).clamp(min=0)) / math.cos(origin)
        return torch.cos(theta) / math.cos(origin), sigma

    def log_snr(self, t: Tensor | float) -> Tensor:
        """2 log(alpha / sigma)."""
        alpha, sigma = self(t)
        return 2 * torch.log(alpha / sigma)

    def time_of(self, log_snr: Tensor | float) -> Tensor:
        """Inverse of `log_snr`, through cos^2(theta) = cos^2(theta_0) / (1 + exp(-log_snr))."""
        level = torch.as_tensor(log_snr, dtype=torch.float64)
        cos2 = math.cos(self._origin) ** 2 * torch.sigmoid(level)
        sin2 = torch.sigmoid(-level) + math.sin(self._origin) ** 2 * torch.sigmoid(level)
        theta = torch.atan2(sin2.sqrt(), cos2.sqrt())
        return theta * (1 + self.shift) / (0.5 * math.pi) - self.shift


@dataclass(frozen=True)
class EDM:
    """Variance-exploding schedule of Karras et al. 2022: alpha = 1, sigma = t.

    Args:
        sigma_min: time of the last evaluation before the clean end t = 0; > 0, in the units of the data.
        sigma_max: noisiest time; > sigma_min.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise ValueError(f"sigma_min, sigma_max: found {self.sigma_min}, {self.sigma_max}; allowed 0 < min < max.")

    @property
    def span(self) -> tuple[float, float]:
        """(sigma_max, 0): noisiest and clean time."""
        return self.sigma_max, 0.0

    @property
    def finest(self) -> float:
        """sigma_min."""
        return self.sigma_min

    def __call__(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """(1, t)."""
        t = as_time(t)
        return torch.ones_like(t), t.clone()

    def log_snr(self, t: Tensor | float) -> Tensor:
        """-2 log t."""
        return -2 * torch.log(as_time(t))

    def time_of(self, log_snr: Tensor | float) -> Tensor:
        """exp(-log_snr / 2)."""
        return torch.exp(-0.5 * torch.as_tensor(log_snr, dtype=torch.float64))


def _check_between(name: str, value: float, low: float, high: float) -> None:
    if not low < value < high:
        raise ValueError(f"{name}: found {value}; allowed strictly between {low} and {high}.")
