"""Pseudo-inverse guidance: the likelihood of a Gaussian around x0-hat (Song et al. 2023, PiGDM)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser, Prediction
from skiagraph.diffusion.schedule import Schedule, expand_like
from skiagraph.inverse.noise_levels import check_noise
from skiagraph.physics.operator import LinearOperator, conjugate_gradient, inner_product, per_sample

__all__ = ["PiGDM"]


@dataclass(frozen=True)
class PiGDM:
    """Denoiser: x0 + (sigma^2 / alpha) J^T A^T (r_t^2 A A^T + nu^2)^-1 (y - A x0), J = d x0 / d x_t.

    Exact for a Gaussian prior when r_t^2 is the variance of x0 given x_t. A^T (r^2 A A^T + nu^2)^-1 is evaluated as
    (r^2 A^T A + nu^2)^-1 A^T by conjugate gradients.

    Args:
        denoiser: ordinary prior, differentiable in x.
        operator: A.
        measurement: y.
        noise_std: nu > 0 (complex: per part), a number or (B,).
        sigma_data: s in the default r_t^2 = rho_t^2 s^2 / (rho_t^2 + s^2).
        variance: another r_t^2 as function of t.
        iterations: conjugate-gradient steps.
    """

    denoiser: Denoiser
    operator: LinearOperator
    measurement: Tensor
    noise_std: float | Tensor
    sigma_data: float = 0.5
    variance: Callable[[Tensor], Tensor] | None = None
    iterations: int = 20

    def __post_init__(self) -> None:
        if not check_noise(self.measurement, self.noise_std):
            raise ValueError(f"noise_std: found {self.noise_std}; PiGDM needs a noise level > 0.")

    @property
    def schedule(self) -> Schedule:
        """Schedule of the prior."""
        return self.denoiser.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """Guided estimate of x0."""
        alpha, sigma = self.schedule(t)
        rho2 = (sigma / alpha) ** 2
        spread = self.variance(t) if self.variance is not None else 1 / (1 / rho2 + 1 / self.sigma_data**2)
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            x0 = self.denoiser(leaf, t, cond).x0
            pull = self._solve(self.measurement - self.operator.forward(x0.detach()), spread)
            (gradient,) = torch.autograd.grad(inner_product(pull, x0).sum(), leaf)
        return Prediction(x0.detach() + expand_like(sigma**2 / alpha, x) * gradient)

    def _solve(self, residual: Tensor, spread: Tensor) -> Tensor:
        rhs = self.operator.adjoint(residual)
        width, noise = expand_like(spread, rhs), per_sample(self.noise_std, rhs, "noise_std") ** 2

        def normal(z: Tensor) -> Tensor:
            return width * self.operator.normal(z) + noise * z

        return conjugate_gradient(normal, rhs, torch.zeros_like(rhs), self.iterations, 0.0)
