"""DDNM: the estimate keeps its null-space part, the data set the rest (Wang et al. 2023, arXiv 2212.00490)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser, Prediction
from skiagraph.diffusion.schedule import Schedule
from skiagraph.inverse.data_consistency import check_measurement
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
        noise_std: nu >= 0 (complex: per part); 0 projects exactly onto the data.
        sigma_data: s, standard deviation of one entry of the image; read when nu > 0.
    """

    denoiser: Denoiser
    operator: LinearOperator
    measurement: Tensor
    noise_std: float = 0.0
    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        check_measurement(self.measurement, self.noise_std)

    @property
    def schedule(self) -> Schedule:
        """Schedule of the prior."""
        return self.denoiser.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """Data-consistent estimate of x0."""
        x0 = self.denoiser(x, t, cond).x0
        if self.noise_std == 0:
            return Prediction(x0 - self.operator.pinv(self.operator.forward(x0) - self.measurement))
        alpha, sigma = self.schedule(t)
        inverse_width = (alpha / sigma) ** 2 + 1 / self.sigma_data**2
        return Prediction(self.operator.prox(x0, self.measurement, self.noise_std**2 * inverse_width))
