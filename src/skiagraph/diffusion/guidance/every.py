"""Guidance at some levels of a walk only, and the walks on which it is known to lose labels."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from skiagraph.diffusion.schedule import Schedule

__all__ = ["Every", "LabelFlipWarning", "label_flip_risks", "warn_of_label_flips"]

_FEWEST_UNIFORM = 100  # levels of a uniform grid below which raw guidance oversteps the boundary
_LOW_NOISE, _FEWEST_LOW = 0.02, 4  # sigma^2 of the levels on which guidance depends; a uniform grid of 100 has 4
_FEWEST_QUADRATIC = 25  # a quadratic grid that has them


class LabelFlipWarning(UserWarning):
    """Guidance may push images over the decision boundary, so that they no longer show their label."""


@dataclass(frozen=True)
class Every:
    """Guide at each k-th level of a walk, counted from the cleanest; `Every.of` finds the levels.

    Multiplying the gradient by k in return is unsafe: pushes become too long for the boundary's width at low noise and
    images change sides (in the exact 2-D laboratory k = 5 keeps 61 % of the labels where k = 1 keeps all).

    Args:
        k: whole number, at least 1.
        levels: the times of the walk, cleanest first, without the clean end.
        multiply: multiply the gradient by k. Warns of label flips where k is above 1.
    """

    k: int
    levels: tuple[float, ...]
    multiply: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not isinstance(self.k, int) or self.k < 1:
            raise ValueError(f"k: found {self.k!r}; allowed a whole number of at least 1.")
        if not self.levels:
            raise ValueError("levels: found none; give the times of the walk, or use Every.of(k, schedule, times).")
        if self.multiply and self.k > 1:
            warnings.warn(_multiplied(self.k), LabelFlipWarning, stacklevel=3)

    @classmethod
    def of(cls, k: int, schedule: Schedule, times: Tensor, multiply: bool = False) -> Every:
        """Every k-th of the times (n,) of a walk, from `grid(schedule)`, in either direction."""
        noisy = times[schedule(times)[1] > 0]
        order = torch.argsort(schedule.log_snr(noisy), descending=True)
        return cls(k, tuple(noisy[order].tolist()), multiply)

    @property
    def factor(self) -> float:
        """What the gradient is multiplied by where guidance acts."""
        return float(self.k) if self.multiply else 1.0

    def acts(self, t: Tensor) -> Tensor:
        """Whether guidance acts at times t, bool of t's shape; times that are no level of the walk are refused."""
        levels = torch.tensor(self.levels, dtype=torch.float64, device=t.device)
        known = torch.isin(t, levels)
        if not bool(known.all()):
            raise ValueError(
                f"levels: found the time {float(t[~known].flatten()[0]):g}, which is no level of the walk given; pass "
                "the times of the very grid that is walked."
            )
        return torch.isin(t, levels[:: self.k])


def label_flip_risks(
    schedule: Schedule, times: Tensor, trust: float = math.inf, every: Every | None = None
) -> tuple[str, ...]:
    """Reasons, as sentences, why guidance on this walk may lose labels; none where it is known to be safe.

    Args:
        schedule: the schedule walked on.
        times: (n,) times of the whole grid in one direction, with or without the clean end; also of partial walks.
        trust: the trust region of `Energy`; inf for none.
        every: the levels guided.
    """
    reasons: list[str] = []
    noisy = times[schedule(times)[1] > 0]
    alpha, sigma = schedule(noisy)
    low = int((sigma**2 < _LOW_NOISE * (alpha**2 + sigma**2)).sum())
    gaps = noisy.diff().abs()
    uniform = bool(gaps.numel()) and float(gaps.max() - gaps.min()) <= 1e-9 + (1.0 if float(gaps.max()) > 1 else 0.0)
    coarse = (uniform and len(noisy) < _FEWEST_UNIFORM) or low < _FEWEST_LOW
    if coarse and trust > 1:
        found = f"a {'uniform ' if uniform else ''}grid of {len(noisy)} levels, {low} of them below sigma^2 = 0.02"
        held = "no trust region" if math.isinf(trust) else f"a trust region of {trust:g}"
        reasons.append(
            f"guidance on {found}, with {held}: pushes overstep the decision boundary and images lose their label. Set "
            f"the trust region to 1 or less, or walk at least {_FEWEST_QUADRATIC} quadratic or {_FEWEST_UNIFORM} "
            "uniform levels."
        )
    if every is not None and every.multiply and every.k > 1:
        reasons.append(_multiplied(every.k))
    return tuple(reasons)


def warn_of_label_flips(schedule: Schedule, times: Tensor, trust: float = math.inf, every: Every | None = None) -> None:
    """Give every reason of `label_flip_risks` as a `LabelFlipWarning`."""
    for reason in label_flip_risks(schedule, times, trust, every):
        warnings.warn(reason, LabelFlipWarning, stacklevel=2)


def _multiplied(k: int) -> str:
    return (
        f"guidance at every {k}. level with its gradient multiplied by {k}: long pushes at low noise overstep the "
        "decision boundary and images lose their label. Guide at every level, or leave the gradient as it is."
    )
