"""The noise mixing of DDRM and DDNM as a solver rule."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from skiagraph.diffusion.denoiser import Condition, Denoiser
from skiagraph.diffusion.schedule import noise_level
from skiagraph.diffusion.streams import Streams

__all__ = ["DDNMMixing"]


@dataclass(frozen=True)
class DDNMMixing:
    """x_s = alpha_s x0 + sigma_s (eta n + sqrt(1 - eta^2) eps), eps = (x_t - alpha_t x0) / sigma_t.

    Unlike DDIM the share of fresh noise does not depend on the length of the step, so few steps still forget the
    state's inconsistencies with the data. From: Kawar et al. 2022 (DDRM), Wang et al. 2023 (DDNM).

    Args:
        eta: share of fresh noise in [0, 1]; 0.85 in the released settings.
    """

    eta: float = 0.85
    order: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta: found {self.eta}; allowed 0 to 1.")

    def __call__(
        self, denoiser: Denoiser, x: Tensor, t: Tensor, s: Tensor, cond: Condition, streams: Streams | None, carry: None
    ) -> tuple[Tensor, Tensor, None]:
        """One step from time t to time s."""
        here, there = noise_level(denoiser.schedule, t), noise_level(denoiser.schedule, s)
        x0 = denoiser(x, t, cond).x0
        if there.is_clean:
            return there.alpha * x0, x0, None
        noise = (1 - self.eta**2) ** 0.5 / here.sigma * (x - here.alpha * x0)
        if self.eta > 0:
            if streams is None:
                raise ValueError("streams: found None, but eta > 0 draws fresh noise; pass one stream per sample.")
            noise = noise + self.eta * streams.normal_like(x)
        return there.alpha * x0 + there.sigma * noise, x0, None
