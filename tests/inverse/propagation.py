"""The exact law of a sampler on the Gaussian yardstick, by pushing unit vectors through the library's own rule.

With recorded masks a step is linear: (state, estimate) -> A (state, estimate) + B y + C noise. The columns of A, B, C
are differences of what the rule makes of a generic point and of that point plus a unit vector (a generic point, because
the released rule decides by value what was observed). The covariance follows without Monte Carlo, section 9.1.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from tests.inverse.replay import RecordedNoise
from tests.inverse.yardstick import SIZE, covariance
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Prediction
from skiagraph.diffusion.schedule import Schedule, linear_table
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.measurement_score import ScoreCarry, UncoveredWarning
from skiagraph.inverse.reference import ReferenceCarry, ReferenceMeasurementScore
from skiagraph.inverse.sequential import SequentialMeasurementScore

__all__ = ["Law", "SharedMasks", "law"]


@dataclass(frozen=True)
class Law:
    """What a sampler makes of data and noise, for K mask sequences.

    Args:
        response: (K, 32, k) end state for unit data.
        spread: (K, 32, 32) covariance of the end state for given data.
    """

    response: Tensor
    spread: Tensor

    def covariance(self) -> Tensor:
        """Of samples without data, averaged over the mask sequences."""
        return self.spread.mean(0)


@dataclass(frozen=True)
class _SharedGaussian:
    """The exact partial denoiser of section 9.1 for rows that share the masks of their sequence."""

    schedule: Schedule
    sequences: int
    views: int

    def __call__(self, x: Tensor, t: Tensor, mask: Tensor, cond: Condition = EMPTY) -> Prediction:
        alpha, sigma = (float(value) for value in self.schedule(t))
        shape = (self.sequences, -1, self.views, SIZE)
        kept = mask.reshape(shape)[:, 0]
        inner = kept[..., :, None] * covariance() * kept[..., None, :]
        gain = inner @ torch.linalg.inv(inner + (sigma / alpha) ** 2 * torch.eye(SIZE, dtype=torch.float64))
        q = (mask * x).reshape(shape) / alpha
        return Prediction(torch.einsum("kvij,kbvj->kbvi", gain, q).reshape(x.shape))


class SharedMasks:
    """Masks of K streams, every one for all rows of its sequence, as view source and as schedule with memory."""

    def __init__(self, source: Any, sequences: int, rows: int) -> None:
        self.source, self.rows = source, rows
        self.draws = Streams(range(sequences)).fork("masks")

    def __call__(self, draws: Any) -> Tensor:
        return self._spread(self.source(self.draws))

    def at(self, rho: float) -> Any:
        """The source at a noise level, where it depends on that."""
        if not hasattr(self.source, "at"):
            return self
        return lambda draws: self._spread(self.source.at(rho)(self.draws))

    def _spread(self, masks: Tensor) -> Tensor:
        return masks.flatten(2).repeat_interleave(self.rows, 0)

    def draw(self, draws: Any, memory: Any) -> tuple[Tensor, Any]:
        mask, memory = self.source.draw(self.draws, memory)
        return mask.flatten(1).double().repeat_interleave(self.rows, 0), memory


def law(
    make_rule: Callable[[Any, Tensor], Any],
    source: Any,
    steps: int,
    *,
    sequences: int,
    data: int = 0,
    views: int = 1,
    walk: tuple[Schedule, Tensor] | None = None,
    start: Tensor | None = None,
) -> Law:
    """Walk all levels of the respaced table and return the law of the end state.

    Args:
        make_rule: (mask source, measurement (rows, k)) -> rule; states are (rows, 32).
        source: view source, or schedule with `draw`.
        steps: number of levels.
        sequences: K independent mask sequences.
        data: k, size of the measurement.
        views: masks per level.
        walk: another schedule and its times, the clean one last, in the place of the table's.
        start: (32, k) linear estimate of the clean state that the walk starts from, with the first level's noise.
    """
    table = linear_table().respaced(f"ddim{steps}")
    schedule, times = walk or (table, torch.arange(steps - 1, -2, -1, dtype=torch.float64))
    probe = make_rule(source, torch.zeros(1, data, dtype=torch.float64))
    sequential = isinstance(probe, ReferenceMeasurementScore | SequentialMeasurementScore)
    gaussians = views + 1 if sequential else 2 if probe.corrector > 0 else 1
    inputs = 2 * SIZE + data + gaussians * SIZE
    base = torch.randn(inputs, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    points = torch.cat([base[None], base + torch.eye(inputs, dtype=torch.float64)]).repeat(sequences, 1)
    state, estimate, measurement, *noise = points.split([SIZE, SIZE, data, *[SIZE] * gaussians], 1)
    rule = make_rule(SharedMasks(source, sequences, inputs + 1), measurement)
    denoiser = _SharedGaussian(schedule, sequences, 1 if sequential else views)
    spread = torch.zeros(sequences, 2 * SIZE, 2 * SIZE, dtype=torch.float64)
    alpha, sigma = schedule(times[0])
    spread[:, :SIZE, :SIZE] = torch.eye(SIZE) * (1.0 if walk is None else float(sigma) ** 2)
    response = torch.zeros(sequences, 2 * SIZE, data, dtype=torch.float64)
    if start is not None:
        response[:, :SIZE] = float(alpha) * start
    carry = _carry(rule, RecordedNoise(noise), estimate)
    for t, later in pairwise(times):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UncoveredWarning)
            x, _, carry = rule(denoiser, state, t, later, EMPTY, RecordedNoise(noise), carry)
        out = torch.cat([x, carry.estimate], 1).reshape(sequences, inputs + 1, -1)
        columns = (out[:, 1:] - out[:, :1]).mT
        a, b, c = columns.split([2 * SIZE, data, gaussians * SIZE], -1)
        spread, response = a @ spread @ a.mT + c @ c.mT, a @ response + b
        carry = replace(carry, estimate=estimate)
    return Law(response[:, :SIZE], spread[:, :SIZE, :SIZE])


def _carry(rule: Any, draws: Any, estimate: Tensor) -> Any:
    if isinstance(rule, ReferenceMeasurementScore):
        return ReferenceCarry(draws, None, estimate)
    return ScoreCarry(draws, estimate, torch.zeros(len(estimate), dtype=torch.long))
