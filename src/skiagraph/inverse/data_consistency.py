"""Data consistency on an estimate of the full measurement (measurement-score, section 6.3)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from skiagraph.diffusion.schedule import Schedule
from skiagraph.physics.operator import LinearOperator

__all__ = ["DataStep", "ProximalStep", "RelaxedStep", "ReleasedColumnStep", "ReleasedImageStep", "check_measurement"]


def check_measurement(measurement: Tensor, noise_std: float = 0.0) -> None:
    """Refuse data with infinite or missing values, and noise levels that are not >= 0 and finite."""
    if not bool(torch.isfinite(measurement).all()):
        wrong = int((~torch.isfinite(measurement)).sum())
        raise ValueError(
            f"measurement: found {wrong} values that are not finite; set unmeasured ones to 0 and mask them."
        )
    if not 0 <= noise_std < math.inf:
        raise ValueError(f"noise_std: found {noise_std}; a standard deviation is >= 0 and finite.")


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
        check_measurement(self.measurement, self.noise_std)

    def __call__(self, estimate: Tensor, schedule: Schedule, t: Tensor, *, final: bool) -> Tensor:
        """See the class; the same at every step."""
        if self.noise_std == 0:
            return estimate - self.operator.pinv(self.operator.forward(estimate) - self.measurement)
        alpha, sigma = schedule(t)
        inverse_width = (alpha / sigma) ** 2 + 1 / self.prior_variance
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
        _check_relaxation(self.relaxation)

    def __call__(self, estimate: Tensor, schedule: Schedule, t: Tensor, *, final: bool) -> Tensor:
        """See the class."""
        if final and self.proximal_end:
            return self.proximal(estimate, schedule, t, final=True)
        operator, measurement = self.proximal.operator, self.proximal.measurement
        return estimate - self.relaxation * operator.pinv(operator.forward(estimate) - measurement)


@dataclass(frozen=True)
class ReleasedImageStep:
    """The released update of images, for `ReferenceMeasurementScore(kind="image")`: z - lam H^t (H z - y).

    Args:
        operator: H.
        measurement: y.
        transpose: H^t, what the released code takes for it: the identity for a masked residual, nearest-neighbour
            upsampling for super-resolution; None for the true pseudo-inverse.
        relaxation: lam in [0, 2].
    """

    operator: LinearOperator
    measurement: Tensor
    transpose: Callable[[Tensor], Tensor] | None = None
    relaxation: float = 1.75

    def __post_init__(self) -> None:
        check_measurement(self.measurement)
        _check_relaxation(self.relaxation)

    def __call__(self, estimate: Tensor, mask: Tensor | None = None) -> Tensor:
        """The corrected estimate; the view's mask is not needed."""
        back = self.operator.pinv if self.transpose is None else self.transpose
        return estimate - self.relaxation * back(self.operator.forward(estimate) - self.measurement)


@dataclass(frozen=True)
class ReleasedColumnStep:
    """The released update of k-space, for `ReferenceMeasurementScore(kind="mri")`, on every masked estimate.

        s <- M_i (s - lam M_y (M_y s - M_y y))

    On columns in both masks lam = 1 replaces s by y, lam = 2 reflects it to 2 y - s; lam = 0 changes nothing.

    Args:
        measured: M_y, real 0/1, broadcastable to the k-space.
        measurement: y.
        relaxation: lam in [0, 2].
    """

    measured: Tensor
    measurement: Tensor
    relaxation: float = 2.0

    def __post_init__(self) -> None:
        check_measurement(self.measurement)
        _check_relaxation(self.relaxation)

    def __call__(self, estimate: Tensor, mask: Tensor | None = None) -> Tensor:
        """The corrected estimate within the view's mask."""
        moved = estimate - self.relaxation * self.measured * (estimate - self.measurement)
        return moved if mask is None else mask * moved


def _check_relaxation(relaxation: float) -> None:
    if not 0 <= relaxation <= 2:
        raise ValueError(f"relaxation: found {relaxation}; allowed 0 to 2, beyond which the update diverges.")
