"""Keep x0-hat inside the range of the data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser, Prediction
from skiagraph.diffusion.schedule import Schedule

__all__ = ["Clip", "DynamicThreshold"]


@dataclass(frozen=True, eq=False)
class Clip:
    """x0 <- min(max(x0, low), high). `Energy(Clip(net))` is the reference order: guidance may leave the range again.

    Args:
        base: the denoiser, of real states.
        low, high: range of the data, in the prior's normalised units; low < high.
    """

    base: Denoiser
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low, high: found {self.low}, {self.high}; allowed low < high.")

    @property
    def schedule(self) -> Schedule:
        """The base's schedule."""
        return self.base.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """The base's prediction, clipped."""
        prediction = self.base(x, t, cond)
        return replace(prediction, x0=_real(prediction.x0).clamp(self.low, self.high))


@dataclass(frozen=True, eq=False)
class DynamicThreshold:
    """x0 <- clip(x0, -q, q) bound / q, q = max(bound, quantile of |x0|), per sample (Saharia et al. 2022, 2205.11487).

    For strong guidance, where plain clipping saturates. Data are centred: range [-bound, bound].

    Args:
        base: the denoiser, of real states.
        quantile: share of the pixels left unclipped, in (0, 1]; 0.995 in the paper.
        bound: half width of the data's range, > 0.
    """

    base: Denoiser
    quantile: float = 0.995
    bound: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.quantile <= 1:
            raise ValueError(f"quantile: found {self.quantile}; allowed above 0, up to 1.")
        if not self.bound > 0:
            raise ValueError(f"bound: found {self.bound}; allowed a positive number.")

    @property
    def schedule(self) -> Schedule:
        """The base's schedule."""
        return self.base.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """The base's prediction, thresholded."""
        prediction = self.base(x, t, cond)
        x0 = _real(prediction.x0)
        flat = x0.abs().flatten(1)
        rank = max(1, round(self.quantile * flat.shape[1]))
        limit = torch.kthvalue(flat, rank, dim=1).values.clamp(min=self.bound)
        limit = limit.reshape(-1, *[1] * (x0.dim() - 1))
        return replace(prediction, x0=torch.minimum(torch.maximum(x0, -limit), limit) * (self.bound / limit))


def _real(x0: Tensor) -> Tensor:
    if x0.is_complex():
        raise TypeError(f"x0: found {x0.dtype}; a range is defined for real states only. Use two real channels.")
    return x0
