"""Simplex noise: smooth random fields on a triangular lattice, summed over octaves (Perlin 2001; as in AnoDDPM)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from skiagraph.diffusion import Streams

__all__ = ["simplex_noise"]

_SKEW, _UNSKEW = (math.sqrt(3) - 1) / 2, (3 - math.sqrt(3)) / 6
_DIRECTIONS = 16


def simplex_noise(
    streams: Streams, shape: tuple[int, int], *, octaves: int = 6, persistence: float = 0.8, wavelength: float = 64.0
) -> Tensor:
    """(B, H, W) fields of mean 0 and variance 1, one a stream.

    Args:
        streams: each field draws one table of directions.
        shape: (H, W).
        octaves: fields that are added, each half as coarse as the one before.
        persistence: amplitude of each octave relative to the one before.
        wavelength: pixels of the coarsest.
    """
    if octaves < 1 or not 0 < persistence <= 1 or not wavelength > 0:
        raise ValueError(
            f"octaves, persistence, wavelength: found {octaves}, {persistence}, {wavelength}; allowed at least 1, "
            "(0, 1] and above 0."
        )
    tables = streams.permutation(256)
    offsets = streams.uniform(2) * 256
    rows, columns = (torch.arange(side, dtype=torch.float32) for side in shape)
    total = torch.zeros(len(streams), *shape)
    for octave in range(octaves):
        scale = 2.0**octave / wavelength
        y = rows[None, :, None] * scale + offsets[:, :1, None]
        x = columns[None, None, :] * scale + offsets[:, 1:, None]
        total += persistence**octave * _layer(y.expand_as(total), x.expand_as(total), tables)
    flat = total.flatten(1)
    return ((flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True).clamp(min=1e-8)).reshape(total.shape)


def _layer(y: Tensor, x: Tensor, tables: Tensor) -> Tensor:
    """Sum over the three corners of each point's triangle: (0.5 - r^2)^4 times direction . distance."""
    skewed = (x + y) * _SKEW
    i, j = (x + skewed).floor(), (y + skewed).floor()
    back = (i + j) * _UNSKEW
    dx, dy = x - (i - back), y - (j - back)
    lower = dx > dy
    corners = [(torch.zeros_like(i), torch.zeros_like(j)), (lower.float(), (~lower).float())]
    corners.append((torch.ones_like(i), torch.ones_like(j)))
    total = torch.zeros_like(x)
    for di, dj in corners:
        ex = dx - di + (di + dj) * _UNSKEW
        ey = dy - dj + (di + dj) * _UNSKEW
        fall = (0.5 - ex**2 - ey**2).clamp(min=0) ** 4
        angle = _direction(i + di, j + dj, tables) * (2 * math.pi / _DIRECTIONS)
        total += fall * (angle.cos() * ex + angle.sin() * ey)
    return 70 * total


def _direction(i: Tensor, j: Tensor, tables: Tensor) -> Tensor:
    """A direction for every lattice point: the table at (column + the table at row)."""
    shape = i.shape
    first = torch.gather(tables, 1, (j.long() % 256).flatten(1))
    second = torch.gather(tables, 1, (i.long().flatten(1) + first) % 256)
    return (second % _DIRECTIONS).reshape(shape).float()
