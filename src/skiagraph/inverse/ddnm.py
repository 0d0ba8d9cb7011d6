"""DDNM: the estimate keeps its null-space part, the data set the rest (Wang et al. 2023, arXiv 2212.00490)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser, Prediction
from skiagraph.diffusion.schedule import Schedule
from skiagraph.inverse.noise_levels import check_noise
from skiagraph.physics.operator import LinearOperator

__all__ = ["DDNM"]


@dataclass(frozen=True)
class DDNM:
    """Denoiser of the posterior: x0 - A^+ (A x0 - y); with noise, argmin |A x - y|^2 / nu^2 + |x - x0|^2 / r_t^2.

    Use it with `DDNMMixing` (eta 0.85, the published setting). r_t^2 = rho_t^2 s^2 / (rho_t^2 + s^2).

    Args:
        denoiser: ordinary prior.
        operator: A.
        measurement: y.
        noise_std: nu >= 0 (complex: per part), a number or (B,); 0 projects exactly onto the data.
        sigma_data: s, standard deviation of one entry of the image; read when nu > 0.
        iterations: largest number of conjugate-gradient steps where the operator has no closed form.
        tolerance: relative residual at which they stop.
    """

    denoiser: Denoiser
    operator: LinearOperator
    measurement: Tensor
    noise_std: float | Tensor = 0.0
    sigma_data: float = 0.5
    iterations: int = 50
    tolerance: float = 1e-6
    _noisy: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_noisy", check_noise(self.measurement, self.noise_std))

    @property
    def schedule(self) -> Schedule:
        """Schedule of the prior."""
        return self.denoiser.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """Data-consistent estimate of x0."""
        x0 = self.denoiser(x, t, cond).x0
        limits: dict[str, Any] = {"iterations": self.iterations, "tolerance": self.tolerance}
        if not self._noisy:
            return Prediction(x0 - self.operator.pinv(self.operator.forward(x0) - self.measurement, **limits))
        alpha, sigma = self.schedule(t)
        inverse_width = (alpha / sigma) ** 2 + 1 / self.sigma_data**2
        return Prediction(self.operator.prox(x0, self.measurement, self.noise_std**2 * inverse_width, **limits))
