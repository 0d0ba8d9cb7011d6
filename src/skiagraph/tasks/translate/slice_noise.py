"""Noise that neighbouring slices share, so that a stack of translated slices holds together."""

from __future__ import annotations

import math
from typing import Literal

__all__ = ["Consistency", "coefficient_of"]

Consistency = Literal["independent", "correlated", "shared"]


def coefficient_of(consistency: Consistency, spacing_mm: float, length_mm: float = 3.0) -> float:
    """c of n_z = c n_{z-1} + sqrt(1 - c^2) w: 0, exp(-spacing / length), or 1 (`Streams.linked`).

    Args:
        consistency: by name.
        spacing_mm: from slice to slice.
        length_mm: over which the noise of "correlated" forgets itself.
    """
    if consistency == "correlated":
        return math.exp(-spacing_mm / length_mm)
    return 1.0 if consistency == "shared" else 0.0
