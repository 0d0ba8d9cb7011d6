"""Data consistency on an estimate of the full measurement (measurement-score, section 6.3)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol

import torch
from torch import Tensor

from skiagraph.diffusion.schedule import Schedule, noise_level
from skiagraph.physics.fourier import MaskedCoilFourier, MaskedFourier
from skiagraph.physics.operator import Compose, LinearOperator, inner_product
from skiagraph.physics.selection import PixelMask

__all__ = [
    "DataStep",
    "LevelRelaxation",
    "ProximalStep",
    "RelaxedStep",
    "ReleasedColumnStep",
    "ReleasedImageStep",
    "check_measurement",
    "measured_count",
]

_HALVINGS = 30


def check_measurement(measurement: Tensor, noise_std: float | Tensor = 0.0) -> None:
    """Refuse data with infinite or missing values, and noise levels that are not >= 0 and finite."""
    if not bool(torch.isfinite(measurement).all()):
        wrong = int((~torch.isfinite(measurement)).sum())
        raise ValueError(
            f"measurement: found {wrong} values that are not finite; set unmeasured ones to 0 and mask them."
        )
    levels = torch.as_tensor(noise_std, dtype=torch.float64)
    if levels.ndim > 1 or (levels.ndim == 1 and levels.shape[0] not in (1, measurement.shape[0])):
        raise ValueError(f"noise_std: found shape {tuple(levels.shape)}; allowed is a number or one for each sample.")
    if not bool(((levels >= 0) & (levels < math.inf)).all()):
        raise ValueError(f"noise_std: found {levels.tolist()}; a standard deviation is >= 0 and finite.")


class DataStep(Protocol):
    """Moves an estimate towards the data; `final` marks the step that ends at the clean image."""

    def __call__(self, estimate: Tensor, schedule: Schedule, t: Tensor, *, final: bool) -> Tensor:
        """The corrected estimate, of the same shape."""
        ...


def measured_count(operator: LinearOperator, measurement: Tensor) -> Tensor:
    """(B,) float64 number of measured real entries of y: those that the operator's mask keeps, complex ones twice."""
    last = operator.outer if isinstance(operator, Compose) else operator
    mask = last.mask if isinstance(last, PixelMask | MaskedCoilFourier | MaskedFourier) else None
    parts = 2 if measurement.is_complex() else 1
    if mask is None:
        return torch.full((measurement.shape[0],), float(parts * measurement[0].numel()), dtype=torch.float64)
    return parts * mask.expand(measurement.shape).flatten(1).sum(1, dtype=torch.float64).cpu()


@dataclass(frozen=True)
class ProximalStep:
    """argmin_z |y - H z|^2 / nu^2 + |z - z_hat|^2 / r_t^2 with 1/r_t^2 = 1/rho_t^2 + 1/prior_variance.

    With `width="discrepancy"` r_t is chosen for every sample such that |y - H z|^2 is the number of measured real
    entries times nu^2 (Morozov's principle): the estimate moves as little as the noise allows, and not at all where it
    agrees with the data to within the noise.

    Args:
        operator: H, acting on the full measurement.
        measurement: y.
        noise_std: nu, standard deviation of y's noise (complex: per part), a number or one per sample; 0 projects
            exactly.
        prior_variance: variance of one entry of the full measurement under the prior.
        width: "prior" or "discrepancy".
    """

    operator: LinearOperator
    measurement: Tensor
    noise_std: float | Tensor
    prior_variance: float = 0.25
    width: Literal["prior", "discrepancy"] = "prior"

    def __post_init__(self) -> None:
        check_measurement(self.measurement, self.noise_std)
        if self.width not in ("prior", "discrepancy"):
            raise ValueError(f'width: found {self.width!r}; allowed are "prior" and "discrepancy".')
        if not self.prior_variance > 0:
            raise ValueError(f"prior_variance: found {self.prior_variance}; allowed is a number above 0.")

    def __call__(self, estimate: Tensor, schedule: Schedule, t: Tensor, *, final: bool) -> Tensor:
        """See the class; the same at every step."""
        variance = torch.as_tensor(self.noise_std, dtype=torch.float64, device="cpu").square()
        if not bool(variance.any()):
            return estimate - self.operator.pinv(self.operator.forward(estimate) - self.measurement)
        if self.width == "discrepancy":
            return self._to_the_noise(estimate, variance)
        inverse_width = noise_level(schedule, t).rho ** -2 + 1 / self.prior_variance
        return self.operator.prox(estimate, self.measurement, variance * inverse_width)

    def _to_the_noise(self, estimate: Tensor, variance: Tensor) -> Tensor:
        """Bisection in s = w / (1 + w), w = nu^2 / r^2: the residual grows with s from the best fit on."""
        allowed = variance * measured_count(self.operator, self.measurement)
        low, high = torch.zeros_like(allowed), torch.ones_like(allowed)

        def moved(share: Tensor) -> Tensor:
            return self.operator.prox(estimate, self.measurement, share / (1 - share))

        def residual(state: Tensor) -> Tensor:
            difference = self.operator.forward(state) - self.measurement
            return inner_product(difference, difference).double().cpu()

        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            fits = residual(moved(middle)) <= allowed
            low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
        found = moved(low)
        near = (residual(estimate) <= allowed).to(estimate.device)
        return torch.where(near.reshape(-1, *[1] * (estimate.ndim - 1)), estimate, found)


@dataclass(frozen=True)
class LevelRelaxation:
    """lam as a function of the noise level, linear in log rho between given places and constant beyond them.

    Args:
        places: (rho, lam) pairs in falling order of rho; rho > 0, lam in [0, 2].
    """

    places: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        ratios = [rho for rho, _ in self.places]
        if not ratios or any(not rho > 0 for rho in ratios) or any(a <= b for a, b in pairwise(ratios)):
            raise ValueError(f"places: found the ratios {ratios}; allowed are one or more falling numbers above 0.")
        for _, relaxation in self.places:
            _check_relaxation(relaxation)

    def __call__(self, rho: float) -> float:
        """lam at the noise-to-signal ratio rho."""
        if rho >= self.places[0][0]:
            return self.places[0][1]
        for (above, first), (below, second) in pairwise(self.places):
            if rho >= below:
                share = math.log(above / rho) / math.log(above / below)
                return first + share * (second - first)
        return self.places[-1][1]


@dataclass(frozen=True)
class RelaxedStep:
    """z_hat - lam H^+ (H z_hat - y); the last step is proximal, so that the residual does not depend on lam.

    Over-relaxation (lam above 1) makes up for views that see measured and unmeasured coordinates together only in part.

    Args:
        proximal: operator, data and noise level, and the final step.
        relaxation: lam in [0, 2]; 1.75 for masked views, 1 for a denoiser that sees everything; or a function of the
            noise-to-signal ratio rho, such as `LevelRelaxation`.
        proximal_end: whether the last step is the proximal one (else relaxed like the others).
    """

    proximal: ProximalStep
    relaxation: float | Callable[[float], float] = 1.75
    proximal_end: bool = True

    def __post_init__(self) -> None:
        if not callable(self.relaxation):
            _check_relaxation(self.relaxation)

    def __call__(self, estimate: Tensor, schedule: Schedule, t: Tensor, *, final: bool) -> Tensor:
        """See the class."""
        if final and self.proximal_end:
            return self.proximal(estimate, schedule, t, final=True)
        operator, measurement = self.proximal.operator, self.proximal.measurement
        return estimate - self._at(schedule, t) * operator.pinv(operator.forward(estimate) - measurement)

    def _at(self, schedule: Schedule, t: Tensor) -> float:
        if not callable(self.relaxation):
            return self.relaxation
        chosen = self.relaxation(noise_level(schedule, t).rho)
        _check_relaxation(chosen)
        return chosen


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
