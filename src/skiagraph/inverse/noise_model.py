"""What is known of a measurement's noise: one level, one level per entry, or a covariance between coils.

s = M (T x + e) with e ~ N(0, S). Noise of covariance rho^2 I - S makes it q with white noise of level rho, and then
(measurement-score, section 4.2, for any S)

    E[e | q] = (S / rho^2) (q - E[z | q]),    E[s | q] = E[z | q] + (S / rho^2) (q - E[z | q])

so that whatever white noise of level nu allows, any noise whose largest level is nu allows too.

    noise_model(noise, covariance, measurement, mask) -> EntryNoise | CoilNoise
    noise_time(table, noise_std) -> (tau_nu, abar_nu)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from skiagraph.diffusion.schedule import DiscreteTable, expand_like

__all__ = ["CoilNoise", "EntryNoise", "NoiseModel", "noise_model", "noise_time"]


class NoiseModel(Protocol):
    """Gaussian noise of known covariance S on the full measurement; all levels are per real and per imaginary part."""

    @property
    def white(self) -> bool:
        """Whether every entry of an item has the same, independent noise."""
        ...

    @property
    def level(self) -> Tensor:
        """(B,) largest standard deviation in any direction."""
        ...

    def added(self, rho: Tensor, noise: Tensor) -> Tensor:
        """Noise of covariance rho^2 I - S from standard normal `noise`; what would be negative counts as 0."""
        ...

    def share(self, rho: Tensor, difference: Tensor) -> Tensor:
        """(S / rho^2) difference: the part of a difference that is the measurement's own noise."""
        ...


@dataclass(frozen=True, eq=False)
class EntryNoise:
    """Independent noise, one standard deviation per item or per entry.

    Args:
        std: (B,) or broadcastable to the measurement (B, ...); >= 0.
    """

    std: Tensor

    @property
    def white(self) -> bool:
        """True for one level per item."""
        return self.std.ndim == 1

    @cached_property
    def level(self) -> Tensor:
        """(B,) largest standard deviation."""
        return self.std if self.white else self.std.flatten(1).amax(1)

    def added(self, rho: Tensor, noise: Tensor) -> Tensor:
        """sqrt(max(rho^2 - std^2, 0)) noise."""
        difference = expand_like(rho, noise).square() - self._like(noise).square()
        return difference.clamp(min=0).sqrt() * noise

    def share(self, rho: Tensor, difference: Tensor) -> Tensor:
        """(std / rho)^2 difference."""
        return (self._like(difference) / expand_like(rho, difference)).square() * difference

    def _like(self, x: Tensor) -> Tensor:
        return expand_like(self.std, x) if self.white else self.std.to(x.dtype.to_real())


@dataclass(frozen=True, eq=False)
class CoilNoise:
    """Noise that is correlated between coils, as scanners have it; the same at every point of k-space.

    Args:
        covariance: (B or 1, coils, coils) Hermitian and positive semi-definite; its diagonal holds the variance per
            real and per imaginary part.
    """

    covariance: Tensor

    def __post_init__(self) -> None:
        values = self._spectrum[0]
        if bool((values < -1e-5 * values.amax(-1, keepdim=True).clamp(min=1e-30)).any()):
            raise ValueError(
                f"noise_covariance: found the eigenvalue {float(values.min()):.4g}; a covariance has none below 0."
            )

    @property
    def white(self) -> bool:
        """False."""
        return False

    @property
    def level(self) -> Tensor:
        """(B,) root of the largest eigenvalue."""
        return self._spectrum[0].amax(-1).clamp(min=0).sqrt()

    @cached_property
    def _spectrum(self) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(self.covariance)
        return values, vectors

    def added(self, rho: Tensor, noise: Tensor) -> Tensor:
        """(rho^2 I - S)^1/2 noise."""
        values, vectors = self._spectrum
        root = (rho.to(values).square()[:, None] - values).clamp(min=0).sqrt()
        return _mix((vectors * root.unsqueeze(-2)) @ vectors.mH, noise)

    def share(self, rho: Tensor, difference: Tensor) -> Tensor:
        """(S / rho^2) difference."""
        return _mix(self.covariance, difference) / expand_like(rho, difference).square()


def _mix(matrix: Tensor, x: Tensor) -> Tensor:
    return (matrix.to(x.dtype) @ x.flatten(2)).reshape(x.shape)


def noise_model(
    noise: Tensor | None, covariance: Tensor | None, measurement: Tensor, mask: Tensor
) -> EntryNoise | CoilNoise:
    """The noise of a batch as the data state it.

    Args:
        noise: standard deviation, () or (B,) or broadcastable to the measurement; only observed entries count. None,
            without a covariance, for none.
        covariance: (B or 1, coils, coils) instead.
        measurement: (B, ...) real or complex.
        mask: real 0/1, broadcastable to the measurement.
    """
    items = measurement.shape[0]
    if covariance is not None:
        return _coil_noise(noise, covariance, items, measurement.shape[1])
    if noise is None:
        return EntryNoise(torch.zeros(items, dtype=measurement.dtype.to_real(), device=measurement.device))
    if noise.is_complex() or not bool((torch.isfinite(noise) & (noise >= 0)).all()):
        raise ValueError("noise: found values that are negative or not finite; a standard deviation is >= 0.")
    one_level = noise.ndim == 0 or noise.shape[1:].numel() == 1
    if one_level and noise.numel() in (1, items):
        return EntryNoise(noise.reshape(-1).expand(items))
    if noise.ndim != measurement.ndim or any(
        found not in (1, wanted) for found, wanted in zip(noise.shape, measurement.shape, strict=True)
    ):
        raise ValueError(
            f"noise: found shape {tuple(noise.shape)}; allowed (), ({items},) or what broadcasts to the measurement, "
            f"{tuple(measurement.shape)}."
        )
    observed = noise.to(measurement.dtype.to_real()) * mask
    return EntryNoise(observed.expand(items, *observed.shape[1:]))


def _coil_noise(noise: Tensor | None, covariance: Tensor, items: int, coils: int) -> CoilNoise:
    if noise is not None:
        raise ValueError("noise: found together with noise_covariance; give one of them.")
    if covariance.shape not in ((items, coils, coils), (1, coils, coils)):
        raise ValueError(
            f"noise_covariance: found shape {tuple(covariance.shape)}; allowed ({items} or 1, {coils}, {coils})."
        )
    return CoilNoise(covariance.expand(items, coils, coils))


def noise_time(table: DiscreteTable, noise_std: float, points: int = 1_000_000) -> tuple[float, float]:
    """(tau_nu, abar_nu): the fractional time at which rho equals nu, and abar there (measurement-score, section 4).

    rho is interpolated linearly between the entries of the table on a grid of `points` times from 0 to T - 1; the
    nearest grid value counts, as in the released code, and abar = 1 / (1 + rho^2) of that value. nu = 0.1 on the linear
    table of 1000 levels: 26.405594 and 0.990099012.

    Args:
        table: the table that the network was trained on, before any respacing.
        noise_std: nu, between the smallest and the largest rho of the table.
        points: number of grid points.
    """
    alpha, sigma = table(torch.tensor(table.span[0], dtype=torch.float64))
    if not 0 <= noise_std <= float(sigma / alpha) or math.isnan(noise_std):
        raise ValueError(
            f"noise_std: found {noise_std}; allowed 0 to the largest noise-to-signal ratio of the table, "
            f"{float(sigma / alpha):.6g}."
        )
    last = len(table) - 1
    exact = float(table.time_of(torch.tensor(-2 * math.log(max(noise_std, 1e-300)), dtype=torch.float64)))
    centre = min(max(round(exact / last * (points - 1)), 0), points - 1)
    near = torch.arange(max(centre - 1, 0), min(centre + 2, points), dtype=torch.float64) * (last / (points - 1))
    alpha, sigma = table(near.clamp(max=float(last)))
    best = int((sigma / alpha - noise_std).abs().argmin())
    return float(near[best]), float(1 / (1 + (sigma / alpha)[best] ** 2))
