"""Guidance by the gradient of a log-density: classifiers, uncertainty measures, similarity to a measurement.

A shift g of the score enters as x0 <- x0 + (sigma_t^2 / alpha_t) g, which is exact: the noise that rules derive from x0
becomes eps - sigma_t g. References: Dhariwal and Nichol 2021 (arXiv 2105.05233), algorithm 2; Bansal et al. 2023
(2302.07121); Ye et al. 2024 (2409.15761).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser, Prediction
from skiagraph.diffusion.schedule import Schedule, as_time, expand_like

__all__ = ["Energy", "EnergyGradient", "EnergyTerm", "Through"]

Through = Literal["state", "x0", "network"]


class EnergyTerm(Protocol):
    """A log-density up to a constant."""

    def __call__(self, x: Tensor, t: Tensor, x0: Tensor, cond: Condition) -> Tensor:
        """Per sample (B,): what guidance should increase, from the noisy state x at time t, or from x0-hat."""
        ...


@dataclass(frozen=True, eq=False)
class Energy:
    """x0 <- x0 + (sigma^2 / alpha) g with g = scale grad log p, per sample.

    Args:
        base: the denoiser to be guided.
        term: log-density to increase.
        scale: gamma; 0 leaves the base untouched and the term uncalled.
        through: where the gradient is taken. "state": at x_t, with x0-hat held constant (noisy classifiers); "x0": at
            x0-hat with the noise held constant, g = scale / alpha grad_x0; "network": at x_t through the denoiser.
        interval: (lowest, highest) sigma^2 / (alpha^2 + sigma^2) at which it acts.
        trust: largest root mean square of sigma g over a sample (in units of the noise); longer ones are shortened.
    """

    base: Denoiser
    term: EnergyTerm
    scale: float = 1.0
    through: Through = "state"
    interval: tuple[float, float] = (0.0, 1.0)
    trust: float = math.inf

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise ValueError(f"scale: found {self.scale}; allowed a finite number.")
        if self.through not in get_args(Through):
            raise ValueError(f"through: found {self.through!r}; allowed {', '.join(map(repr, get_args(Through)))}.")
        if not 0 <= self.interval[0] < self.interval[1] <= 1:
            raise ValueError(f"interval: found {self.interval}; allowed 0 <= lowest < highest <= 1.")
        if not self.trust > 0:
            raise ValueError(f"trust: found {self.trust}; allowed a positive number.")

    @property
    def schedule(self) -> Schedule:
        """The base's schedule."""
        return self.base.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """The guided prediction."""
        t = as_time(t)
        alpha, sigma = self.schedule(t)
        share = sigma**2 / (alpha**2 + sigma**2)
        acts = (share >= self.interval[0]) & (share <= self.interval[1]) & (sigma > 0)
        if self.scale == 0 or not bool(acts.any()):
            return self.base(x, t, cond)
        prediction, gradient = self._gradient(x, t, cond, alpha)
        shift = expand_like(self.scale * sigma, x) * gradient  # sigma g, in units of the noise
        if self.trust < math.inf:
            size = torch.linalg.vector_norm(shift.flatten(1), dim=1) / math.sqrt(shift[0].numel())
            shift = expand_like((self.trust / size.clamp(min=1e-30)).clamp(max=1), shift) * shift
        guided = prediction.x0 + expand_like(sigma / alpha, x) * shift
        return replace(prediction, x0=torch.where(_shaped(acts, x), guided, prediction.x0))

    def _gradient(self, x: Tensor, t: Tensor, cond: Condition, alpha: Tensor) -> tuple[Prediction, Tensor]:
        if self.through == "network":
            with torch.enable_grad():
                state = x.detach().requires_grad_()
                prediction = self.base(state, t, cond)
                gradient = _slope(self.term(state, t, prediction.x0, cond), state)
            log_var = None if prediction.log_var is None else prediction.log_var.detach()
            return Prediction(prediction.x0.detach(), log_var), gradient
        prediction = self.base(x, t, cond)
        if self.through == "state":
            return prediction, EnergyGradient(self.term)(x, t, prediction.x0, cond)
        with torch.enable_grad():
            x0 = prediction.x0.detach().requires_grad_()
            gradient = _slope(self.term(x.detach(), t, x0, cond), x0)
        return prediction, gradient / expand_like(alpha, gradient)


@dataclass(frozen=True, eq=False)
class EnergyGradient:
    """g = scale grad_x log p(x_t), as the mean drift of ancestral sampling (`DDPM(mean_drift=...)`).

    Args:
        term: log-density to increase.
        scale: gamma.
    """

    term: EnergyTerm
    scale: float = 1.0

    def __call__(self, x: Tensor, t: Tensor, x0: Tensor, cond: Condition = EMPTY) -> Tensor:
        """g of x's shape; x0 is held constant."""
        with torch.enable_grad():
            state = x.detach().requires_grad_()
            gradient = _slope(self.term(state, t, x0.detach(), cond), state)
        return self.scale * gradient


def _slope(value: Tensor, at: Tensor) -> Tensor:
    """Gradient of each sample's value with respect to that sample."""
    if value.shape != at.shape[:1] or value.is_complex():
        raise ValueError(
            f"term: found values of shape {tuple(value.shape)} {value.dtype}; allowed one real number per sample, "
            f"({at.shape[0]},)."
        )
    if not value.requires_grad:
        raise ValueError("term: found values that do not depend on what they are differentiated by; see `through`.")
    (gradient,) = torch.autograd.grad(value.sum(), at)
    return gradient.detach()


def _shaped(acts: Tensor, x: Tensor) -> Tensor:
    return acts.to(x.device).reshape(-1, *[1] * (x.dim() - 1)) if acts.dim() else acts.to(x.device)
