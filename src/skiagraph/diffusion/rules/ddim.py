"""DDIM: first order, deterministic or with any share of fresh noise (Song et al. 2021, arXiv 2010.02502)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from skiagraph.diffusion.rules.solver import Leg, Solver

__all__ = ["DDIM"]


@dataclass(frozen=True)
class DDIM(Solver):
    """x_s = alpha_s x0 + sqrt(sigma_s^2 - tau^2) eps + tau n, tau = eta sigma_s sqrt(1 - (rho_s / rho_t)^2).

    eps = (x_t - alpha_t x0) / sigma_t. eta = 0 is the Euler step of the probability flow in rho, eta = 1 ancestral
    sampling with the small variance. Nothing is drawn for eta = 0 or for the step to the clean end.

    Args:
        eta: share of fresh noise in [0, 1]; only 0 can walk from clean to noisy.
    """

    eta: float = 0.0

    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta: found {self.eta}; allowed 0 to 1.")

    def refuse_ascent(self) -> None:
        """Only eta = 0 can walk from clean to noisy."""
        if self.eta > 0:
            raise ValueError(f"eta: found {self.eta} on a step from clean to noisy; allowed 0 there (inversion).")

    def advance(self, leg: Leg, carry: None) -> tuple[Tensor, Tensor, None]:
        """One step."""
        x0 = leg.estimate()
        if self.eta == 0 or leg.there.is_clean:
            return leg.flow(x0), x0, None
        here, there = leg.here, leg.there
        fresh = self.eta * there.sigma * math.sqrt(1 - (there.rho / here.rho) ** 2)
        kept = math.sqrt(max(there.sigma**2 - fresh**2, 0.0)) / here.sigma
        mean = kept * leg.x + (there.alpha - kept * here.alpha) * x0
        return mean + fresh * leg.noise(f"DDIM with eta = {self.eta} draws noise"), x0, None
