"""Scans moved by whole pixels: a symmetry of the acquisition that no network of strided layers has.

Averaging a network's image over a few shifts of the scan takes out what the network makes of the place of its grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from skiagraph.tasks.reconstruct.scan import PreparedScan

__all__ = ["SHIFTS", "over_shifts", "shifted"]

SHIFTS = ((0, 0), (1, 0), (0, 1), (3, 3), (5, 2))
"""Rows and columns of the shifts, in the order they are taken."""


def shifted(scan: PreparedScan, rows: int, columns: int) -> PreparedScan:
    """The scan of the object moved by whole pixels, around the edges: k-space turned in phase, maps rolled."""
    ramps = []
    for size, by in zip(scan.kspace.shape[-2:], (rows, columns), strict=True):
        frequency = torch.arange(size, dtype=torch.float64) - size // 2
        ramps.append(torch.polar(torch.ones(size, dtype=torch.float64), -2 * math.pi * frequency * by / size))
    ramp = (ramps[0][:, None] * ramps[1]).to(scan.kspace)
    return replace(scan, kspace=scan.kspace * ramp, maps=scan.maps.roll((rows, columns), (-2, -1)))


def over_shifts(image: Callable[[PreparedScan], Tensor], scan: PreparedScan, count: int) -> Tensor:
    """Mean of the images (S, H, W) of the first `count` shifts of a scan, each moved back.

    Args:
        image: what a network makes of a scan.
        scan: S slices.
        count: 1 (the scan as it is) to 5.
    """
    total = image(scan)
    for rows, columns in SHIFTS[1:count]:
        total = total + image(shifted(scan, rows, columns)).roll((-rows, -columns), (-2, -1))
    return total / count
