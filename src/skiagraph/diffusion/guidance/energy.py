"""Guidance by the gradient of a log-density: classifiers, uncertainty measures, similarity to a measurement.

A shift g of the score enters as x0 <- x0 + (sigma_t^2 / alpha_t) g, which is exact: the noise that rules derive from x0
becomes eps - sigma_t g. References: Dhariwal and Nichol 2021 (arXiv 2105.05233), algorithm 2; Bansal et al. 2023
(2302.07121); Ye et al. 2024 (2409.15761).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser, Prediction
from skiagraph.diffusion.guidance.every import Every
from skiagraph.diffusion.guidance.evidence import GuidanceStep
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

    Order is visible in the expression: `Energy(Clip(net), term)` clips first and may leave the range again, which is
    how guided-diffusion does it; `Clip(Energy(net, term))` clips last.

    Args:
        base: the denoiser to be guided.
        term: log-density to increase.
        scale: gamma; 0 leaves the base untouched and the term uncalled.
        through: where the gradient is taken. "state": at x_t, with x0-hat held constant (noisy classifiers); "x0": at
            x0-hat with the noise held constant, g = scale / alpha grad_x0; "network": at x_t through the denoiser.
        interval: (lowest, highest) sigma^2 / (alpha^2 + sigma^2) at which it acts.
        trust: largest root mean square of sigma g over a sample (in units of the noise); longer ones are shortened.
        normalised: `scale` is the size of the push relative to the noise found, kappa: sigma g = kappa RMS(eps) times
            the gradient divided by its RMS. Where a gradient vanishes its direction is rounding noise: not a default.
        every: guide at some levels of the walk only; None for all.
        until: samples whose term has reached this value are not pushed at this evaluation; inf pushes always.
        observe: called with a `GuidanceStep` at every evaluation of the term, such as an `Evidence`.
    """

    base: Denoiser
    term: EnergyTerm
    scale: float = 1.0
    through: Through = "state"
    interval: tuple[float, float] = (0.0, 1.0)
    trust: float = math.inf
    normalised: bool = False
    every: Every | None = None
    until: float = math.inf
    observe: Callable[[GuidanceStep], None] | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise ValueError(f"scale: found {self.scale}; allowed a finite number.")
        if self.through not in get_args(Through):
            raise ValueError(f"through: found {self.through!r}; allowed {', '.join(map(repr, get_args(Through)))}.")
        if not 0 <= self.interval[0] < self.interval[1] <= 1:
            raise ValueError(f"interval: found {self.interval}; allowed 0 <= lowest < highest <= 1.")
        if not self.trust > 0:
            raise ValueError(f"trust: found {self.trust}; allowed a positive number.")
        if math.isnan(self.until):
            raise ValueError("until: found nan; allowed a value of the term, or inf to push always.")

    @property
    def schedule(self) -> Schedule:
        """The base's schedule."""
        return self.base.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """The guided prediction."""
        t = as_time(t)
        alpha, sigma = self.schedule(t)
        acts = self._acts(t, alpha, sigma)
        if self.scale == 0 or not bool(acts.any()):
            return self.base(x, t, cond)
        prediction, value, gradient = self._gradient(x, t, cond, alpha)
        acts = acts.to(x.device) & (value < self.until)
        shift = self._shift(x, prediction.x0, gradient, alpha, sigma)  # sigma g, in units of the noise
        size = _root_mean_square(shift)
        if self.trust < math.inf:
            shift = expand_like((self.trust / size.clamp(min=1e-30)).clamp(max=1), shift) * shift
        guided = prediction.x0 + expand_like(sigma / alpha, x) * shift
        guided = torch.where(acts.reshape(-1, *[1] * (x.dim() - 1)), guided, prediction.x0)
        if self.observe is not None:
            outside = (guided.abs() > 1).flatten(1).double().mean(1)
            self.observe(GuidanceStep(t, value, acts, size, acts & (size > self.trust), outside))
        return replace(prediction, x0=guided)

    def _acts(self, t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        share = sigma**2 / (alpha**2 + sigma**2)
        acts = (share >= self.interval[0]) & (share <= self.interval[1]) & (sigma > 0)
        return acts if self.every is None else acts & ((sigma == 0) | self.every.acts(t))

    def _shift(self, x: Tensor, x0: Tensor, gradient: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        factor = self.scale if self.every is None else self.scale * self.every.factor
        if not self.normalised:
            return expand_like(factor * sigma, x) * gradient
        noise = expand_like(1 / sigma, x) * x - expand_like(alpha / sigma, x) * x0
        size = _root_mean_square(gradient).clamp(min=torch.finfo(gradient.dtype).tiny)
        return expand_like(factor * _root_mean_square(noise) / size, x) * gradient

    def _gradient(self, x: Tensor, t: Tensor, cond: Condition, alpha: Tensor) -> tuple[Prediction, Tensor, Tensor]:
        if self.through == "network":
            with torch.enable_grad():
                state = x.detach().requires_grad_()
                prediction = self.base(state, t, cond)
                value, gradient = _slope(self.term(state, t, prediction.x0, cond), state, t, alpha)
            log_var = None if prediction.log_var is None else prediction.log_var.detach()
            return Prediction(prediction.x0.detach(), log_var), value, gradient
        prediction = self.base(x, t, cond)
        with torch.enable_grad():
            x0, state = prediction.x0.detach(), x.detach()
            at = (state if self.through == "state" else x0).requires_grad_()
            value, gradient = _slope(self.term(state, t, x0, cond), at, t, alpha)
        return prediction, value, gradient if self.through == "state" else gradient / expand_like(alpha, gradient)


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
        if self.scale == 0:
            return torch.zeros_like(x)
        with torch.enable_grad():
            state = x.detach().requires_grad_()
            _, gradient = _slope(self.term(state, t, x0.detach(), cond), state, t, None)
        return self.scale * gradient


def _slope(value: Tensor, at: Tensor, t: Tensor, alpha: Tensor | None) -> tuple[Tensor, Tensor]:
    """Each sample's value, and its gradient with respect to that sample."""
    if value.shape != at.shape[:1] or value.is_complex():
        raise ValueError(
            f"term: found values of shape {tuple(value.shape)} {value.dtype}; allowed one real number per sample, "
            f"({at.shape[0]},)."
        )
    if not value.requires_grad:
        raise ValueError("term: found values that do not depend on what they are differentiated by; see `through`.")
    (gradient,) = torch.autograd.grad(value.sum(), at)
    bad = ~gradient.isfinite().flatten(1).all(1)
    if bool(bad.any()):
        _refuse(bad, t, alpha)
    return value.detach(), gradient.detach()


def _refuse(bad: Tensor, t: Tensor, alpha: Tensor | None) -> None:
    """Raise for gradients that are not finite, naming samples and noise level."""
    which = bad.nonzero().flatten().tolist()
    times = ", ".join(f"{time:g}" for time in sorted(set(t.expand(len(bad))[bad.to(t.device)].tolist()))[:4])
    signal = "" if alpha is None else f" (alpha {float(alpha.min()):.4g} to {float(alpha.max()):.4g})"
    raise FloatingPointError(
        f"guidance: found a gradient that is not finite at t = {times}{signal} for "
        f"samples {', '.join(map(str, which[:16]))} of a batch of {len(bad)}. Lower the scale, set a trust region, or "
        "check the classifier on these noise levels."
    )


def _root_mean_square(x: Tensor) -> Tensor:
    """(B,) root mean square of a sample's numbers."""
    size: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1) / math.sqrt(x[0].numel())
    return size
