"""Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser, Prediction
from skiagraph.diffusion.schedule import Schedule

__all__ = ["ClassifierFree"]


@dataclass(frozen=True, eq=False)
class ClassifierFree:
    """x0 = x0_null + w (x0_cond - x0_null): w = 0 ignores the condition, 1 is the plain conditional denoiser.

    Papers that write cond + w' (cond - null) have w = 1 + w'. A learned variance is taken from the conditional call
    (from the null call at w = 0). One evaluation at w = 0 and 1 and outside `interval`, two otherwise.

    Args:
        base: a denoiser that knows conditions.
        scale: w.
        null: what takes the place of the conditions of the same names, None dropping the name; names not
            listed stay. Default (None): all are dropped.
        interval: (lowest, highest) log-SNR at which w acts; elsewhere w = 1 (Kynkaanniemi et al. 2024, 2404.07724).
    """

    base: Denoiser
    scale: float
    null: Mapping[str, Any] | None = None
    interval: tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise ValueError(f"scale: found {self.scale}; allowed a finite number (1 is plain conditional sampling).")
        if not self.interval[0] < self.interval[1]:
            raise ValueError(f"interval: found {self.interval}; allowed (lowest, highest) log-SNR.")

    @property
    def schedule(self) -> Schedule:
        """The base's schedule."""
        return self.base.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """The guided prediction."""
        if self.scale == 1 or not self._acts(t):
            return self.base(x, t, cond)
        null = self.base(x, t, self._null_condition(cond))
        if self.scale == 0:
            return null
        given = self.base(x, t, cond)
        return Prediction(null.x0 + self.scale * (given.x0 - null.x0), given.log_var)

    def _null_condition(self, cond: Condition) -> Condition:
        if self.null is None:
            return EMPTY
        unknown = sorted(set(self.null) - set(cond))
        if unknown:
            allowed = ", ".join(sorted(cond)) or "none"
            raise ValueError(f"null: found {', '.join(unknown)}, which the conditions lack; allowed {allowed}.")
        merged = {**cond, **self.null}
        return {name: value for name, value in merged.items() if not (name in self.null and value is None)}

    def _acts(self, t: Tensor) -> bool:
        low, high = self.interval
        if math.isinf(low) and math.isinf(high):
            return True
        level = self.schedule.log_snr(t)
        inside = (level >= low) & (level <= high)
        if bool(inside.any()) != bool(inside.all()):
            raise ValueError("t: found times on both sides of `interval` in one batch; call with one time for all.")
        return bool(inside.all())
