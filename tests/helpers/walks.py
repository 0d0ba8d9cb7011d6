"""Closed-form judges of solvers: exact errors of deterministic rules and exact laws of stochastic ones."""

from __future__ import annotations

import torch
from torch import Tensor

from skiagraph.diffusion.grid import Grid
from skiagraph.diffusion.oracle import GaussianDenoiser
from skiagraph.diffusion.sampling import Rule, final, trajectory
from skiagraph.diffusion.schedule import Schedule
from skiagraph.diffusion.streams import Streams

__all__ = ["MEAN", "VARIANCE", "UnitDraws", "flow_error", "gaussian", "law_variance", "start"]

MEAN = torch.tensor([0.5, -1.0, 0.2, 0.0], dtype=torch.float64)
VARIANCE = torch.tensor([0.04, 1.0, 0.3, 4.0], dtype=torch.float64)


def gaussian(schedule: Schedule) -> GaussianDenoiser:
    """Four independent coordinates of very different width."""
    return GaussianDenoiser(schedule, MEAN, VARIANCE)


def start(schedule: Schedule, batch: int = 8, first_seed: int = 0) -> Tensor:
    """Noise of the noisiest level, (batch, 4)."""
    sigma = schedule(torch.tensor(schedule.span[0]))[1]
    return Streams(range(first_seed, first_seed + batch)).normal(4, dtype=torch.float64) * sigma


def flow_error(rule: Rule, schedule: Schedule, grid: Grid) -> float:
    """Root mean square distance of the walk's end from the exact probability flow."""
    denoiser = gaussian(schedule)
    x = start(schedule)
    times = grid(schedule)
    end = final(trajectory(denoiser, x, times, rule))
    return float((end - denoiser.flow(x, times[0], times[-1])).square().mean().sqrt())


class UnitDraws:
    """Streams in which the k-th draw is 1 for sample k and 0 for all others.

    A linear rule then returns, for sample k, its response to the k-th draw: the sum of their squares is the exact
    variance of what it samples, without Monte Carlo.
    """

    def __init__(self, samples: int) -> None:
        self.samples, self.drawn = samples, 0

    def __len__(self) -> int:
        return self.samples

    def normal_like(self, x: Tensor) -> Tensor:
        """The next unit draw."""
        noise = torch.zeros_like(x)
        noise[self.drawn] = 1
        self.drawn += 1
        return noise


def law_variance(rule: Rule, schedule: Schedule, grid: Grid, variance: Tensor = VARIANCE) -> Tensor:
    """Exact variance, per coordinate, of what a rule samples from N(0, variance) with the exact denoiser."""
    denoiser = GaussianDenoiser(schedule, torch.zeros_like(variance), variance)
    times = grid(schedule)
    draws = UnitDraws(len(times) + 2)
    alpha, sigma = schedule(times[0])
    initial = draws.normal_like(torch.zeros(len(draws), *variance.shape, dtype=torch.float64))
    initial = initial * (alpha**2 * variance + sigma**2).sqrt()
    walk = trajectory(denoiser, initial, times, rule, streams=draws)  # type: ignore[arg-type]
    return final(walk).square().sum(0)
