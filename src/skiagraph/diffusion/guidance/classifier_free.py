"""Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser, Prediction
from skiagraph.diffusion.schedule import Schedule

__all__ = ["ClassifierFree"]


@dataclass(frozen=True, eq=False)
class ClassifierFree:
    """x0 = x0_null + w (x0_cond - x0_null): w = 0 ignores the condition, 1 is the plain conditional denoiser.

    Papers that write cond + w' (cond - null) have w = 1 + w': `ClassifierFree.beyond(base, w')`. A learned variance is
    taken from the conditional call (from the null call at w = 0). One evaluation at w = 0 and 1 and outside `interval`,
    two otherwise, or one of twice the batch with `batched`.

    Args:
        base: a denoiser that knows conditions.
        scale: w.
        null: what takes the place of the conditions of the same names, None dropping the name; names not
            listed stay. Default (None): all are dropped.
        interval: (lowest, highest) log-SNR at which w acts; elsewhere w = 1 (Kynkaanniemi et al. 2024, 2404.07724).
        batched: evaluate both branches in one call where `null` names a value for every condition it replaces; kernels
            then round as they do in the larger batch.
    """

    base: Denoiser
    scale: float
    null: Mapping[str, Any] | None = None
    interval: tuple[float, float] = (-math.inf, math.inf)
    batched: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise ValueError(f"scale: found {self.scale}; allowed a finite number (1 is plain conditional sampling).")
        if not self.interval[0] < self.interval[1]:
            raise ValueError(f"interval: found {self.interval}; allowed (lowest, highest) log-SNR.")

    @classmethod
    def beyond(cls, base: Denoiser, strength: float, **options: Any) -> ClassifierFree:
        """eps_cond + w' (eps_cond - eps_null): w' = 0 is off, 1 is what others call scale 2.

        The convention of the released code of Luo et al. 2024, where it is called CFG.

        Args:
            base: a denoiser that knows conditions.
            strength: w'.
            options: null, interval and batched as above.
        """
        return cls(base, 1 + strength, **options)

    @property
    def schedule(self) -> Schedule:
        """The base's schedule."""
        return self.base.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """The guided prediction."""
        if self.scale == 1 or not self._acts(t):
            return self.base(x, t, cond)
        unlabelled = self._null_condition(cond)
        if self.scale == 0:
            return self.base(x, t, unlabelled)
        null, given = self._both(x, t, unlabelled, cond)
        return Prediction(null.x0 + self.scale * (given.x0 - null.x0), given.log_var)

    def _both(self, x: Tensor, t: Tensor, null: Condition, cond: Condition) -> tuple[Prediction, Prediction]:
        if (
            not self.batched
            or set(null) != set(cond)
            or any(value is None for value in (*null.values(), *cond.values()))
        ):
            return self.base(x, t, null), self.base(x, t, cond)
        pairs = {name: torch.cat([_row(null[name], cond[name], x), _row(cond[name], cond[name], x)]) for name in cond}
        twice = self.base(torch.cat([x, x]), torch.cat([t, t]) if t.dim() else t, pairs)
        log_vars = (None, None) if twice.log_var is None else twice.log_var.chunk(2)
        first, second = twice.x0.chunk(2)
        return Prediction(first, log_vars[0]), Prediction(second, log_vars[1])

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


def _row(value: Any, like: Any, x: Tensor) -> Tensor:
    """A condition with one row per sample; single values hold for the whole batch."""
    known = torch.as_tensor(like, device=x.device)
    tensor = torch.as_tensor(value, device=x.device).to(known.dtype)
    shape = known.shape[1:] if known.dim() else ()
    return tensor.expand(x.shape[0], *shape)
