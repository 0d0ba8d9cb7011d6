"""Soft histograms: how much every intensity counts for every bin."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["REACH", "Bins"]

REACH = 6.0  # kernel widths beyond which a weight, below 1.6e-8, is left out where nothing is differentiated


@dataclass(frozen=True)
class Bins:
    """Centres c_j evenly from low to high with Gaussian kernels of width h.

    Args:
        count: number of bins, at least 2.
        width: h, in the unit of the values, > 0.
        low, high: the outermost centres.
        normalised: weights softmax_j(-((v - c_j) / h)^2 / 2), which sum to 1 for any value; otherwise the plain kernel
            exp(-((v - c_j) / h)^2 / 2), whose sum falls to 0 outside the range.
    """

    count: int
    width: float
    low: float
    high: float
    normalised: bool = True

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ValueError(f"bins: found {self.count}; allowed at least 2.")
        if not 0 < self.width < math.inf:
            raise ValueError(f"width: found {self.width}; allowed a finite kernel width > 0.")
        if not self.low < self.high:
            raise ValueError(f"value_range: found ({self.low}, {self.high}); allowed low < high.")

    @property
    def spacing(self) -> float:
        """Distance between centres."""
        return (self.high - self.low) / (self.count - 1)

    def weights(self, values: Tensor) -> Tensor:
        """(...) -> (..., count)."""
        centres = torch.linspace(self.low, self.high, self.count, dtype=values.dtype, device=values.device)
        exponent = -0.5 * ((values.unsqueeze(-1) - centres) / self.width).square()
        return torch.softmax(exponent, -1) if self.normalised else torch.exp(exponent)

    def support(self, lowest: Tensor, highest: Tensor) -> tuple[Tensor, Tensor]:
        """First bin and end (one past the last) that values in [lowest, highest] within the range reach, int64."""
        margin = REACH * self.width
        first = torch.ceil((lowest - margin - self.low) / self.spacing).clamp(0, self.count - 1)
        last = torch.floor((highest + margin - self.low) / self.spacing).clamp(0, self.count - 1)
        return first.long(), last.long() + 1
