"""Walks of the samplers: the table of noise levels, the rule, and the loop over batches of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import Denoiser, PartialDenoiser
from skiagraph.diffusion.grid import Grid, Levels
from skiagraph.diffusion.rules import DDIM, DPMSolverPP2M, Heun
from skiagraph.diffusion.sampling import Rule, preferred_grid, trajectory
from skiagraph.diffusion.schedule import DiscreteTable, Schedule, linear_table
from skiagraph.diffusion.streams import Streams
from skiagraph.errors import InputError
from skiagraph.inverse.data_consistency import DataStep
from skiagraph.inverse.mixing import DDNMMixing

__all__ = ["Clipped", "Solver", "Walk", "draw", "solver_grid", "solver_rule", "training_table", "unchanged"]

Solver = Literal["ddim", "ddnm", "dpm-solver++", "heun"]


def training_table(steps: str) -> DiscreteTable:
    """The linear table of 1000 levels, respaced by "ddimN" or a count; the network keeps its original times."""
    try:
        return linear_table().respaced(steps)
    except ValueError as error:
        raise InputError(str(error)) from None


def solver_rule(solver: Solver, eta: float) -> Rule:
    """The solver of a name; eta is the share of fresh noise of "ddim" and "ddnm"."""
    if solver == "ddnm":
        return DDNMMixing(eta)
    return {"ddim": DDIM(eta), "dpm-solver++": DPMSolverPP2M(), "heun": Heun()}[solver]


def solver_grid(rule: Rule, solver: Solver, table: DiscreteTable) -> Grid:
    """Grid of a solver: level by level of the respaced table, or a higher-order solver's own grid on it."""
    return Levels() if solver in ("ddim", "ddnm") else preferred_grid(rule, len(table))


@dataclass(frozen=True)
class Clipped:
    """A data step (or none) and then a clamp to [-1, 1], for images."""

    step: DataStep | None = None

    def __call__(self, estimate: Tensor, schedule: Schedule, t: Tensor, *, final: bool) -> Tensor:
        """The corrected estimate, clamped."""
        moved = estimate if self.step is None else self.step(estimate, schedule, t, final=final)
        return moved.clamp(-1, 1)


def unchanged(state: Tensor) -> Tensor:
    """The state itself."""
    return state


@dataclass(frozen=True, eq=False)
class Walk:
    """Everything that draws a batch of images.

    Args:
        denoiser: full or partial.
        grid: times.
        rule: what takes the steps.
        shape: of one state, such as (C, H, W) or (coils, H, W).
        dtype: of the state.
        finish: from the last state to images (B, C, H, W).
    """

    denoiser: Denoiser | PartialDenoiser
    grid: Grid
    rule: Rule
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    finish: Callable[[Tensor], Tensor] = unchanged


@torch.no_grad()
def draw(
    walks: Callable[[Sequence[int]], Walk],
    seeds: Sequence[int],
    batch: int,
    device: torch.device,
    on_progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Draw one image for each seed; an image depends on its seed and its own data only, never on its batch.

    Args:
        walks: numbers of the images of a batch -> their walk.
        seeds: one an image.
        batch: images at a time.
        device: where the network is; random numbers are drawn on the CPU, so that every device gives the same ones.
        on_progress: called with (levels done, levels in all), over all batches.

    Returns:
        (N, C, H, W) float32 on the CPU.
    """
    images: list[Tensor] = []
    starts = range(0, len(seeds), batch)
    for number, first in enumerate(starts):
        rows = range(first, min(first + batch, len(seeds)))
        walk = walks(rows)
        streams = Streams([seeds[row] for row in rows], device, portable=True)
        state = streams.normal(*walk.shape, dtype=walk.dtype)
        times = walk.grid(walk.denoiser.schedule)
        levels = len(times) - 1
        for step in trajectory(walk.denoiser, state, times, walk.rule, streams=streams):
            state = step.x
            if on_progress is not None:
                on_progress(number * levels + step.index + 1, len(starts) * levels)
        images.append(walk.finish(state).to("cpu", torch.float32))
    return torch.cat(images)
