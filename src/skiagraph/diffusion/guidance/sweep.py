"""Reading a sweep over guidance scales: how strong is safe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Knee", "find_knee"]


@dataclass(frozen=True)
class Knee:
    """Where labels begin to be lost.

    Args:
        largest: the largest scale tried up to which every scale stays within the budget; None where none does.
        crossing: the scale at which the budget is used up, by linear interpolation; inf where it never is.
    """

    largest: float | None
    crossing: float


def find_knee(scales: Sequence[float], kept: Sequence[float], budget: float = 0.02) -> Knee:
    """The largest scale within a label-flip budget.

    Args:
        scales: scales tried, increasing, at least 1.
        kept: share of labels kept at each, in [0, 1].
        budget: share of labels that may be lost, in [0, 1).
    """
    if len(scales) != len(kept) or not scales or any(a >= b for a, b in pairwise(scales)):
        raise ValueError(f"scales: found {list(scales)} with {len(kept)} shares; allowed increasing, one share each.")
    if not 0 <= budget < 1:
        raise ValueError(f"budget: found {budget}; allowed 0 up to (not including) 1.")
    lost = [1 - share for share in kept]
    beyond = next((k for k, share in enumerate(lost) if share > budget), None)
    if beyond is None:
        return Knee(float(scales[-1]), math.inf)
    if beyond == 0:
        return Knee(None, float(scales[0]))
    low, high = lost[beyond - 1], lost[beyond]
    share = (budget - low) / (high - low)
    return Knee(float(scales[beyond - 1]), scales[beyond - 1] + share * (scales[beyond] - scales[beyond - 1]))
