"""Data consistency on an estimate of the full measurement (measurement-score, section 6.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from skiagraph.diffusion.schedule import Schedule
from skiagraph.physics.operator import LinearOperator

__all__ = ["DataStep", "ProximalStep", "RelaxedStep"]


class DataStep(Protocol):
    """Moves an estimate towards the data; `final` marks the step that ends at the clean image."""

    def __call__(self, estimate: Tensor, schedule: Schedule, t: Tensor, *, final: bool) -> Tensor:
        """The corrected estimate, of the same shape."""
        ...


@dataclass(frozen=True)
class ProximalStep:
    """argmin_z |y - H z|^2 / nu^2 + |z - z_hat|^2 / r_t^2 with 1/r_t^2 = 1/rho_t^2 + 1/prior_variance.

    Args:
        operator: H, acting on the full measurement.
        measurement: y.
        noise_std: nu, standard deviation of y's noise (complex: per part); 0 projects exactly.
        prior_variance: variance of one entry of the full measurement under the prior.
    """

    operator: LinearOperator
    measurement: Tensor
    noise_std: float
    prior_variance: float = 0.25

    def __post_init__(self) -> None:
        if self.noise_std < 0:
            raise ValueError(f"noise_std: found {self.noise_std}; a standard deviation is >= 0.")

    def __call__(self, estimate: Tensor, schedule: Schedule, t: Tensor, *, final: bool) -> Tensor:
        """See the class; the same at every step."""
        if self.noise_std == 0:
            return estimate - self.operator.pinv(self.operator.forward(estimate) - self.measurement)
        alpha, sigma = schedule(t)
        inverse_width = float((alpha / sigma) ** 2) + 1 / self.prior_variance
        return self.operator.prox(estimate, self.measurement, self.noise_std**2 * inverse_width)


@dataclass(frozen=True)
class RelaxedStep:
    """z_hat - lam H^+ (H z_hat - y); the last step is proximal, so that the residual does not depend on lam.

    Over-relaxation (lam above 1) makes up for views that see measured and unmeasured coordinates together only in part.

    Args:
        proximal: operator, data and noise level, and the final step.
        relaxation: lam in [0, 2]; 1.75 for masked views, 1 for a denoiser that sees everything.
        proximal_end: whether the last step is the proximal one (else relaxed like the others).
    """

    proximal: ProximalStep
    relaxation: float = 1.75
    proximal_end: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.relaxation <= 2:
            raise ValueError(f"relaxation: found {self.relaxation}; allowed 0 to 2, beyond which the update diverges.")

    def __call__(self, estimate: Tensor, schedule: Schedule, t: Tensor, *, final: bool) -> Tensor:
        """See the class."""
        if final and self.proximal_end:
            return self.proximal(estimate, schedule, t, final=True)
        operator, measurement = self.proximal.operator, self.proximal.measurement
        return estimate - self.relaxation * operator.pinv(operator.forward(estimate) - measurement)
