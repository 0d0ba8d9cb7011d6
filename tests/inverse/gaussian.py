"""Small exact Gaussian priors and data that the methods for any prior are held against."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from skiagraph.diffusion.grid import Levels
from skiagraph.diffusion.oracle import GaussianDenoiser
from skiagraph.diffusion.sampling import final, trajectory
from skiagraph.diffusion.schedule import linear_table
from skiagraph.diffusion.streams import Streams

__all__ = ["BATCH", "COVARIANCE", "MASK", "MATRIX", "NOISE", "SIZE", "TABLE", "correlated", "data", "walk", "white"]

SIZE, BATCH, NOISE = 6, 4, 0.1
TABLE = linear_table().respaced("ddim20")
INDEX = torch.arange(SIZE, dtype=torch.float64)
COVARIANCE = 0.25 * 0.9 ** (INDEX[:, None] - INDEX).abs()
MASK = torch.tensor([[1.0, 0, 1, 1, 0, 0]], dtype=torch.float64)
MATRIX = torch.tensor([[1.0, 1, 0, 0, 0, 0], [0, 0, 0.5, -1, 0, 2]], dtype=torch.float64)


def correlated(schedule: Any = TABLE) -> GaussianDenoiser:
    """Six correlated numbers."""
    return GaussianDenoiser(schedule, torch.full((SIZE,), 0.3, dtype=torch.float64), covariance=COVARIANCE)


def white(schedule: Any = TABLE, scale: float = 0.5) -> GaussianDenoiser:
    """Six independent numbers of equal variance."""
    mean = torch.full((SIZE,), 0.3, dtype=torch.float64)
    return GaussianDenoiser(schedule, mean, torch.full((SIZE,), scale**2, dtype=torch.float64))


def data(seed: int = 50, size: int = SIZE) -> Tensor:
    """Standard normal numbers (4, size)."""
    return Streams(range(seed, seed + BATCH)).normal(size, dtype=torch.float64)


def walk(denoiser: Any, rule: Any, seeds: Any = range(BATCH)) -> Tensor:
    """All levels of the table, with one seed per sample."""
    streams = Streams(seeds)
    start = streams.normal(SIZE, dtype=torch.float64)
    return final(trajectory(denoiser, start, Levels(), rule, streams=streams))
