"""DiffPIR: half-quadratic splitting with a diffusion denoiser (Zhu et al. 2023, arXiv 2305.08995)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from skiagraph.diffusion.denoiser import Condition, Denoiser
from skiagraph.diffusion.schedule import expand_like
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.noise_levels import check_noise
from skiagraph.physics.operator import LinearOperator

__all__ = ["DiffPIR"]


@dataclass(frozen=True)
class DiffPIR:
    """Rule: x0 <- argmin |y - A z|^2 + lambda nu^2 / rho_t^2 |z - x0|^2, then x_s with a share zeta of fresh noise.

        x_s = alpha_s x0 + sigma_s (sqrt(1 - zeta) eps + sqrt(zeta) n),  eps = (x_t - alpha_t x0) / sigma_t

    Args:
        operator: A.
        measurement: y.
        noise_std: nu > 0 (complex: per part), a number or (B,).
        strength: lambda > 0, trust in the prior; 8 in common use.
        zeta: share of fresh noise in [0, 1].
        iterations: largest number of conjugate-gradient steps where the operator has no closed form.
        tolerance: relative residual at which they stop.
    """

    operator: LinearOperator
    measurement: Tensor
    noise_std: float | Tensor
    strength: float = 8.0
    zeta: float = 0.3
    iterations: int = 50
    tolerance: float = 1e-6
    order: int = 1

    def __post_init__(self) -> None:
        if not check_noise(self.measurement, self.noise_std):
            raise ValueError(f"noise_std: found {self.noise_std}; DiffPIR needs a noise level > 0.")
        if self.strength <= 0 or not 0 <= self.zeta <= 1:
            raise ValueError(f"strength, zeta: found {self.strength}, {self.zeta}; allowed > 0 and 0 to 1.")

    def __call__(
        self, denoiser: Denoiser, x: Tensor, t: Tensor, s: Tensor, cond: Condition, streams: Streams | None, carry: None
    ) -> tuple[Tensor, Tensor, None]:
        """One step from time t to time s."""
        alpha, sigma = denoiser.schedule(t)
        alpha_s, sigma_s = denoiser.schedule(s)
        weight = self.strength * self.noise_std**2 * (alpha / sigma) ** 2
        x0 = denoiser(x, t, cond).x0
        x0 = self.operator.prox(x0, self.measurement, weight, iterations=self.iterations, tolerance=self.tolerance)
        noise = (1 - self.zeta) ** 0.5 * (x - expand_like(alpha, x) * x0) / expand_like(sigma, x)
        if self.zeta > 0 and float(sigma_s) > 0:
            if streams is None:
                raise ValueError("streams: found None, but zeta > 0 draws fresh noise; pass one stream per sample.")
            noise = noise + self.zeta**0.5 * streams.normal_like(x)
        return expand_like(alpha_s, x) * x0 + expand_like(sigma_s, x) * noise, x0, None
