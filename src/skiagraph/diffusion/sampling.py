"""The one loop: walk a grid of times with a rule, and hand every step to whoever asked.

The loop is a generator: progress bars, previews, early stop (`itertools.islice`) and two walks side by side (`zip`)
live outside it. Rules are pure functions that carry their memory explicitly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser, PartialDenoiser
from skiagraph.diffusion.grid import Grid, Uniform
from skiagraph.diffusion.streams import Streams

__all__ = ["Rule", "Step", "final", "preferred_grid", "trajectory"]


@runtime_checkable
class Rule(Protocol):
    """One step of a solver. A rule may name the grid it works best on in a method `preferred_grid(steps) -> Grid`."""

    @property
    def order(self) -> int:
        """Order of convergence: twice the steps divide the error by about 2^order (in law, for stochastic rules)."""
        ...

    def __call__(
        self, denoiser: Any, x: Tensor, t: Tensor, s: Tensor, cond: Condition, streams: Streams | None, carry: Any
    ) -> tuple[Tensor, Tensor, Any]:
        """Take the state x from time t to time s, both (): (state at s, estimate of x_0, what to remember)."""
        ...


@dataclass(frozen=True, eq=False)
class Step:
    """What a step did.

    Args:
        index: number of the step, from 0.
        t, s: times before and after, () float64.
        x: the state at s.
        x0: the estimate of the clean image that the step used.
        carry: the rule's memory after the step.
    """

    index: int
    t: Tensor
    s: Tensor
    x: Tensor
    x0: Tensor
    carry: Any = None


def trajectory(
    denoiser: Denoiser | PartialDenoiser,
    x: Tensor,
    grid: Grid | Tensor,
    rule: Rule,
    *,
    cond: Condition = EMPTY,
    streams: Streams | None = None,
    differentiable: bool = False,
) -> Iterator[Step]:
    """Walk x along a grid, one `Step` at a time.

    Args:
        denoiser: estimates x_0 along the way; its schedule is the walk's.
        x: (B, ...) state at the first time of the grid, real or complex. Never changed in place.
        grid: a grid, or its times (n + 1,).
        rule: the solver.
        cond: named conditions for the denoiser.
        streams: one random stream per sample; needed by stochastic rules.
        differentiable: keep the graph of every step, for gradients with respect to x or the conditions.
    """
    times = grid.detach().to("cpu", torch.float64) if isinstance(grid, Tensor) else grid(denoiser.schedule)
    _check(x, times, streams)
    return _walk(denoiser, x, times, rule, cond, streams, differentiable)


def _walk(
    denoiser: Denoiser | PartialDenoiser,
    x: Tensor,
    times: Tensor,
    rule: Rule,
    cond: Condition,
    streams: Streams | None,
    differentiable: bool,
) -> Iterator[Step]:
    carry: Any = None
    for index, (t, s) in enumerate(pairwise(times)):
        # Per step and not around the loop: between steps a generator must leave the caller's gradient mode alone.
        with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
            x, x0, carry = rule(denoiser, x, t, s, cond, streams, carry)
        yield Step(index, t, s, x, x0, carry)


def final(steps: Iterable[Step]) -> Tensor:
    """Walk to the end and return the last state."""
    state: Tensor | None = None
    for step in steps:
        state = step.x
    if state is None:
        raise ValueError("steps: found none; a walk needs at least one step (was the iterator used before?).")
    return state


def preferred_grid(rule: Rule, steps: int) -> Grid:
    """The grid that a rule names as its best, or `Uniform` where it names none."""
    choose = getattr(rule, "preferred_grid", None)
    grid: Grid = Uniform(steps) if choose is None else choose(steps)
    return grid


def _check(x: Tensor, times: Tensor, streams: Streams | None) -> None:
    if times.dim() != 1 or times.numel() < 2 or not bool(times.isfinite().all()):
        raise ValueError(f"grid: found times of shape {tuple(times.shape)}; allowed (n + 1,) finite numbers, n >= 1.")
    differences = times.diff()
    if not (bool((differences < 0).all()) or bool((differences > 0).all())):
        raise ValueError("grid: found times that are not strictly monotonic; allowed all descending or all ascending.")
    if x.dim() < 1 or not (x.is_floating_point() or x.is_complex()):
        raise TypeError(f"x: found {x.dtype} of shape {tuple(x.shape)}; allowed floating point or complex (B, ...).")
    if streams is not None and len(streams) != x.shape[0]:
        raise ValueError(f"streams: found {len(streams)} for a batch of {x.shape[0]}; allowed one stream per sample.")
