"""What a noise schedule is, and how its coefficients meet tensors."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

__all__ = ["Schedule", "as_time", "expand_like", "noise_to_signal", "perturb"]


@runtime_checkable
class Schedule(Protocol):
    """An immutable noise schedule; every answer is float64 on the device of the argument."""

    @property
    def span(self) -> tuple[float, float]:
        """(noisiest time, clean time); at the clean time sigma is exactly 0."""
        ...

    @property
    def finest(self) -> float:
        """The cleanest time that still carries noise, where grids take their last evaluation."""
        ...

    def __call__(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """(alpha, sigma) at times t of shape () or (B,)."""
        ...

    def log_snr(self, t: Tensor | float) -> Tensor:
        """log(alpha^2 / sigma^2) at times t; +inf at the clean time."""
        ...

    def time_of(self, log_snr: Tensor | float) -> Tensor:
        """The time with a given log-SNR, inverse of `log_snr`."""
        ...


def as_time(t: Tensor | float) -> Tensor:
    """Return a time as float64 tensor of shape () or (B,); the argument is never changed."""
    time = torch.as_tensor(t).to(torch.float64)
    if time.dim() > 1:
        raise ValueError(f"t: found shape {tuple(time.shape)}; allowed () for one time or (B,) for one per sample.")
    return time


def expand_like(coefficient: Tensor, x: Tensor) -> Tensor:
    """Shape a coefficient (), or (B,), so that it multiplies x (B, ...), in the real dtype and on the device of x.

    Products of coefficients belong in float64, before this call, so that they are rounded once.
    """
    if not (x.is_floating_point() or x.is_complex()):
        raise TypeError(f"x: found dtype {x.dtype}; allowed floating point or complex. Convert images to float first.")
    value = coefficient.to(device=x.device, dtype=x.dtype.to_real())
    if value.dim() == 0:
        return value
    if value.dim() > 1 or value.shape[0] not in (1, x.shape[0]):
        found = f"{tuple(value.shape)} for x of shape {tuple(x.shape)}"
        raise ValueError(f"coefficient: found shape {found}; allowed () or ({x.shape[0]},).")
    return value.reshape(-1, *[1] * (x.dim() - 1))


def noise_to_signal(schedule: Schedule, t: Tensor | float) -> Tensor:
    """rho_t = sigma_t / alpha_t, float64 (what the measurement-score papers write as sigma)."""
    alpha, sigma = schedule(as_time(t))
    return sigma / alpha


def perturb(schedule: Schedule, x: Tensor, t: Tensor | float, noise: Tensor, base_sigma: float = 0.0) -> Tensor:
    """Noise x to level t: alpha_t x + sqrt(sigma_t^2 - alpha_t^2 base_sigma^2) noise.

    Args:
        schedule: noise schedule.
        x: (B, ...) clean, or already carrying Gaussian noise of standard deviation `base_sigma`.
        t: () or (B,) times.
        noise: standard normal of x's shape (complex x: unit variance per real and per imaginary part).
        base_sigma: standard deviation of the noise that x already holds, in the units of x; at most rho_t.
    """
    if noise.shape != x.shape:
        raise ValueError(f"noise: found shape {tuple(noise.shape)}; must equal that of x, {tuple(x.shape)}.")
    if not 0 <= base_sigma < math.inf:
        raise ValueError(f"base_sigma: found {base_sigma}; allowed 0 or a positive finite number.")
    alpha, sigma = schedule(as_time(t))
    if base_sigma > 0:
        variance = sigma**2 - (alpha * base_sigma) ** 2
        if bool((variance < 0).any()):
            raise ValueError(
                f"base_sigma: found {base_sigma}, above the noise-to-signal ratio {float((sigma / alpha).min()):.6g} "
                "of the cleanest requested t; noise can only be added. Ask for noisier times."
            )
        sigma = variance.sqrt()
    return expand_like(alpha, x) * x + expand_like(sigma, x) * noise
