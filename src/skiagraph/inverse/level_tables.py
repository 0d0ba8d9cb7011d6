"""Numbers that a network learns as functions of a noise level: tables over its logarithm, read between their knots."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["KNOTS", "NoiseTables", "lookup"]

KNOTS = 12


def lookup(tables: Tensor, level: Tensor, log_range: tuple[float, float]) -> Tensor:
    """Tables (n, KNOTS) at levels (B,), linear in the logarithm and constant beyond `log_range`: (B, n)."""
    low, high = log_range
    place = ((level.log() - low) / (high - low)).clamp(0, 1) * (KNOTS - 1)
    below = place.floor().clamp(max=KNOTS - 2).long()
    share = (place - below).to(tables)[:, None]
    columns = tables.T
    return torch.lerp(columns[below], columns[below + 1], share)


class NoiseTables(nn.Module):
    """What the noise of a scan changes: 0 at first, 0 always for items that have no anchors.

    Args:
        tables: how many numbers.
        noise_range: noise per part between which they are tabulated; beyond, its ends count.
    """

    def __init__(self, tables: int, noise_range: tuple[float, float]) -> None:
        super().__init__()
        if not 0 < noise_range[0] < noise_range[1]:
            raise ValueError(f"noise_range: found {noise_range}; give two rising numbers above 0.")
        self.log_range = (math.log(noise_range[0]), math.log(noise_range[1]))
        self.values = nn.Parameter(torch.zeros(tables, KNOTS))

    def forward(self, noise: Tensor, anchored: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers (B, tables), and the place of the noise among the knots (B, KNOTS) for networks to read.

        Args:
            noise: (B,) standard deviation per part of each item's anchors, > 0.
            anchored: (B,) bool, which items have anchors.
        """
        knots = torch.eye(KNOTS, device=noise.device)
        place = lookup(knots, noise.to(torch.float32), self.log_range) * anchored[:, None]
        return place @ self.values.T, place
