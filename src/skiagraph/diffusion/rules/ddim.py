"""DDIM: first order, deterministic or with any share of fresh noise (Song et al. 2021, arXiv 2010.02502)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from skiagraph.diffusion.denoiser import Condition, Denoiser
from skiagraph.diffusion.grid import Grid, Uniform
from skiagraph.diffusion.rules.flow import flow_step, is_clean, leave_clean_end, needed
from skiagraph.diffusion.schedule import expand_like
from skiagraph.diffusion.streams import Streams

__all__ = ["DDIM"]


@dataclass(frozen=True)
class DDIM:
    """x_s = alpha_s x0 + sqrt(sigma_s^2 - tau^2) eps + tau n, tau = eta sigma_s sqrt(1 - (rho_s / rho_t)^2).

    eps = (x_t - alpha_t x0) / sigma_t. eta = 0 is the Euler step of the probability flow in rho, eta = 1 ancestral
    sampling with the small variance. Nothing is drawn for eta = 0 or for the step to the clean end.

    Args:
        eta: share of fresh noise in [0, 1]; only 0 can walk from clean to noisy.
    """

    eta: float = 0.0

    order: ClassVar[int] = 1
    evaluations_per_step: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta: found {self.eta}; allowed 0 to 1.")

    def preferred_grid(self, steps: int) -> Grid:
        """`Uniform`: first-order errors weigh most where images form, not at the clean end."""
        return Uniform(steps)

    def __call__(
        self, denoiser: Denoiser, x: Tensor, t: Tensor, s: Tensor, cond: Condition, streams: Streams | None, carry: None
    ) -> tuple[Tensor, Tensor, None]:
        """One step from time t to time s."""
        schedule = denoiser.schedule
        if is_clean(schedule, t):
            self._check_direction(True)
            return *leave_clean_end(denoiser, x, t, s, cond), None
        x0 = denoiser(x, t, cond).x0
        if self.eta == 0:
            return flow_step(schedule, x, x0, t, s), x0, None
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
        squared = (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2
        self._check_direction(bool((squared > 1).any()))
        fresh = self.eta * sigma_s * (1 - squared).sqrt()
        kept = (sigma_s**2 - fresh**2).clamp(min=0).sqrt() / sigma_t
        mean = expand_like(kept, x) * x + expand_like(alpha_s - kept * alpha_t, x) * x0
        if is_clean(schedule, s):
            return mean, x0, None
        noise = needed(streams, f"DDIM with eta = {self.eta} draws noise").normal_like(x)
        return mean + expand_like(fresh, x) * noise, x0, None

    def _check_direction(self, ascending: bool) -> None:
        if ascending and self.eta > 0:
            raise ValueError(f"eta: found {self.eta} on a step from clean to noisy; allowed 0 there (inversion).")
