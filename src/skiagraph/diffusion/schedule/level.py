"""Where one time stands on a schedule, as plain numbers, looked up once however often a walk comes by.

A step of a solver needs a handful of products of alpha and sigma. As tensors each of them costs microseconds; as Python
numbers, also float64, nanoseconds. Schedules are immutable, so what was looked up (and found valid) once stays true.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor

from skiagraph.diffusion.schedule.interface import Schedule

__all__ = ["NoiseLevel", "noise_level", "remembered"]

_MOST = 4096  # times remembered, over all schedules

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class NoiseLevel:
    """alpha and sigma of x_t = alpha x_0 + sigma eps at one time.

    Args:
        alpha: signal, at least 0.
        sigma: noise, at least 0.
        half_log_snr: lambda = log(alpha / sigma); inf at the clean end, -inf at pure noise.
        rho: sigma / alpha; inf at pure noise.
    """

    alpha: float
    sigma: float
    half_log_snr: float
    rho: float

    @property
    def is_clean(self) -> bool:
        """Whether sigma is 0."""
        return self.sigma == 0

    @property
    def is_pure_noise(self) -> bool:
        """Whether alpha is 0."""
        return self.alpha == 0


def remembered(function: Callable[..., _Answer]) -> Callable[..., _Answer]:
    """Keep the answers of a function of (schedule, time, ...), times as numbers; none for an unhashable schedule."""
    cached = lru_cache(maxsize=_MOST)(function)

    def answer(schedule: Schedule, *times: float) -> _Answer:
        asked: Callable[..., _Answer] = function if type(schedule).__hash__ is None else cached
        return asked(schedule, *times)

    return answer


def noise_level(schedule: Schedule, t: Tensor | float) -> NoiseLevel:
    """The noise level at one time, ()."""
    if isinstance(t, Tensor) and t.dim() > 0:
        raise ValueError(f"t: found shape {tuple(t.shape)}; allowed () here, one time for the whole batch.")
    return _look_up(schedule, float(t))


@remembered
def _look_up(schedule: Schedule, t: float) -> NoiseLevel:
    alpha, sigma = (float(value) for value in schedule(torch.tensor(t, dtype=torch.float64)))
    if alpha == 0:
        return NoiseLevel(alpha, sigma, -math.inf, math.inf)
    if sigma == 0:
        return NoiseLevel(alpha, sigma, math.inf, 0.0)
    return NoiseLevel(alpha, sigma, math.log(alpha) - math.log(sigma), sigma / alpha)
