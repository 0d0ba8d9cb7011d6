"""The deterministic step shared by rules, and how a walk leaves the clean end."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from skiagraph.diffusion.denoiser import Condition
from skiagraph.diffusion.schedule import Schedule, expand_like
from skiagraph.diffusion.streams import Streams

__all__ = ["flow_step", "is_clean", "is_pure_noise", "leave_clean_end", "needed"]


def flow_step(schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """x_s = (sigma_s / sigma_t) x_t + (alpha_s - sigma_s alpha_t / sigma_t) x0, for s cleaner or noisier than t."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
    ratio = sigma_s / sigma_t
    return expand_like(ratio, x) * x + expand_like(alpha_s - ratio * alpha_t, x) * x0


def is_clean(schedule: Schedule, t: Tensor) -> bool:
    """Whether sigma_t is 0."""
    return bool((schedule(t)[1] == 0).all())


def is_pure_noise(schedule: Schedule, t: Tensor) -> bool:
    """Whether alpha_t is 0."""
    return bool((schedule(t)[0] == 0).all())


def leave_clean_end(denoiser: Any, x: Tensor, t: Tensor, s: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
    """First step of an inversion, from sigma_t = 0, where the noise is unknown: (state at s, x0).

    The noise is that which the denoiser finds in the clean image seen as a state at s: with u = x / alpha_t,
    x0 = D(alpha_s u, s) and x_s = alpha_s u + sigma_s (alpha_s u - alpha_s x0) / sigma_s = alpha_s (2 u - x0).
    """
    (alpha_t, _), (alpha_s, _) = denoiser.schedule(t), denoiser.schedule(s)
    state = expand_like(alpha_s / alpha_t, x) * x
    x0: Tensor = denoiser(state, s, cond).x0
    return 2 * state - expand_like(alpha_s, x) * x0, x0


def needed(streams: Streams | None, why: str) -> Streams:
    """The streams, or an error that says what draws from them."""
    if streams is None:
        raise ValueError(f"streams: found None, but {why}; pass Streams with one seed per sample.")
    return streams
