"""The switches on the Gaussian yardstick, where the law of every sampler is exact: no training, no network, no draws.

The yardstick, its masks and the propagation of covariances are those of the tests (`tests/inverse`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skiagraph.diffusion.grid import Karras, LogSNR
from skiagraph.diffusion.rules import DDIM
from skiagraph.diffusion.schedule import EDM, Schedule
from skiagraph.inverse.data_consistency import ProximalStep, RelaxedStep
from skiagraph.inverse.measurement_score import MeasurementScore
from skiagraph.inverse.mixing import DDNMMixing
from skiagraph.inverse.reference import ReferenceMeasurementScore
from skiagraph.inverse.views import DensitySchedule
from skiagraph.physics.masks import ReferenceCellSchedule
from skiagraph.physics.selection import DenseOperator

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.inverse.propagation import Law, law
from tests.inverse.yardstick import (
    SIZE,
    ComplementaryPair,
    FullMask,
    Identity,
    IndependentMasks,
    covariance,
    distance,
)

__all__ = ["GENERATION", "POSTERIOR", "Generation", "Posterior", "exact_error", "expectation_maximisation"]

NOISE = 1e-4
PIXELS = torch.eye(SIZE, dtype=torch.float64)
MATRIX = PIXELS[[4, 8, 10, 14, 15, 16, 17, 19, 22, 23, 26]]
PAIR, TWO, FULL = ComplementaryPair(), IndependentMasks(2), FullMask()
DENSE_LATE = DensitySchedule(TWO, ((1.0, IndependentMasks(2, 14)),))
SEQUENCES = 12


@dataclass(frozen=True)
class Generation:
    """A sampler without data: rule, masks, levels, masks per level, and another walk than the table's."""

    rule: Callable[[Any, Tensor], Any]
    masks: Any
    steps: int = 200
    views: int = 2
    walk: tuple[Schedule, Tensor] | None = None

    def figures(self) -> tuple[float, float, int]:
        """F2, relative variance, evaluations."""
        count = 1 if isinstance(self.masks, FullMask) else SEQUENCES
        found = law(self.rule, self.masks, self.steps, sequences=count, views=self.views, walk=self.walk)
        steps = self.steps if self.walk is None else len(self.walk[1]) - 1
        return *distance(found.covariance(), covariance()), steps * self.views


@dataclass(frozen=True)
class Posterior:
    """A sampler given the pixels of `MATRIX`: step on the data, masks, masks per level, walk, start from the data."""

    step: Callable[[Tensor, Tensor], Any]
    masks: Any = PAIR
    steps: int = 200
    views: int = 2
    walk: tuple[Schedule, Tensor] | None = None
    warm: bool = False

    def figures(self) -> tuple[float, float, float, int]:
        """Error of the posterior mean, of a sample, residual over the noise's variance, evaluations."""
        count = 1 if isinstance(self.masks, FullMask) else SEQUENCES
        start = wiener(MATRIX, covariance()) if self.warm else None
        found = posterior_law(self, MATRIX, count, start)
        steps = self.steps if self.walk is None else len(self.walk[1]) - 1
        return *errors(found, MATRIX), steps * self.views


def posterior_law(row: Posterior, matrix: Tensor, count: int, start: Tensor | None = None) -> Law:
    """Law of the end state given y = H x + e."""

    def rule(masks: Any, y: Tensor) -> MeasurementScore:
        return MeasurementScore(Identity(), masks, DDNMMixing(), row.step(matrix, y))

    return law(
        rule, row.masks, row.steps, sequences=count, data=len(matrix), views=row.views, walk=row.walk, start=start
    )


def errors(found: Law, matrix: Tensor) -> tuple[float, float, float]:
    """Errors of the mean of samples and of one, per pixel, and the residual in units of the noise's variance."""
    prior, data = covariance(), data_covariance(matrix, covariance())
    response = found.response.mean(0)
    mean = prior - 2 * response @ matrix @ prior + response @ data @ response.T
    second = found.response @ data @ found.response.mT + found.spread
    sample = (prior - 2 * found.response @ matrix @ prior + second).mean(0)
    misfit = matrix @ found.response - torch.eye(len(matrix))
    residual = (misfit @ data @ misfit.mT + matrix @ found.spread @ matrix.T).mean(0)
    return float(mean.trace()) / SIZE, float(sample.trace()) / SIZE, float(residual.trace()) / len(matrix) / NOISE


def data_covariance(matrix: Tensor, prior: Tensor) -> Tensor:
    """Cov(y)."""
    return matrix @ prior @ matrix.T + NOISE * torch.eye(len(matrix), dtype=torch.float64)


def wiener(matrix: Tensor, prior: Tensor) -> Tensor:
    """E[x | y] = W y."""
    gain: Tensor = torch.linalg.solve(data_covariance(matrix, prior), matrix @ prior)
    return gain.T


def exact_error() -> float:
    """Error of the exact posterior mean per pixel."""
    prior = covariance()
    return float((prior - wiener(MATRIX, prior) @ MATRIX @ prior).trace()) / SIZE


def expectation_maximisation(rounds: int, masks: int = 6) -> list[tuple[float, float]]:
    """(F2, relative variance) of the full-image prior after each EM round, from masked data alone.

    Training items are seen through `masks` masks of the training family. In round 1 they are completed by samples of
    the masked prior; in later rounds by exact posterior samples of the full-image prior of the round before.
    """
    from skiagraph.diffusion.streams import Streams

    shown = IndependentMasks(masks)(Streams([123]))[0].reshape(masks, SIZE)
    matrices = [PIXELS[mask.bool()] for mask in shown]
    step = Posterior(relaxed(1.75))
    parts = []
    for matrix in matrices:
        found = posterior_law(step, matrix, 4)
        data = data_covariance(matrix, covariance())
        parts.append((found.response @ data @ found.response.mT + found.spread).mean(0))
    prior, history = torch.stack(parts).mean(0), []
    for _ in range(rounds):
        history.append(distance(prior, covariance()))
        completed = []
        for matrix in matrices:
            gain = wiener(matrix, prior)
            spread = prior - gain @ matrix @ prior
            completed.append(gain @ data_covariance(matrix, covariance()) @ gain.T + spread)
        prior = torch.stack(completed).mean(0)
    return history


def relaxed(lam: float, end: bool = True) -> Callable[[Tensor, Tensor], RelaxedStep]:
    """The over-relaxed step, its last one proximal with `end`."""
    return lambda matrix, y: RelaxedStep(ProximalStep(DenseOperator(matrix), y, NOISE**0.5), lam, end)


def walk(steps: int, noisiest: float = 150.0, *, karras: bool = True) -> tuple[Schedule, Tensor]:
    """A walk on levels from `noisiest` down to 0.01, by Karras' grid or in equal steps of log-SNR."""
    schedule = EDM(0.01, noisiest)
    return schedule, (Karras(steps) if karras else LogSNR(steps))(schedule)


def parallel(eta: float = 1.0) -> Callable[[Any, Tensor], MeasurementScore]:
    """All masks of a level at once."""
    return lambda masks, _: MeasurementScore(Identity(), masks, DDIM(eta))


def _released(masks: Any, _: Tensor) -> ReferenceMeasurementScore:
    return ReferenceMeasurementScore(Identity(), masks, 2)


RELEASED_MASKS = ReferenceCellSchedule((1, SIZE), (1, 16), roll=(0, 1))
GENERATION: dict[str, Generation] = {
    "released rule and masks": Generation(_released, RELEASED_MASKS),
    "two independent masks at once": Generation(parallel(), TWO),
    "**two covering masks at once (default)**": Generation(parallel(), PAIR),
    "denser masks (14 of 16 cells) below rho = 1": Generation(parallel(), DENSE_LATE),
    "denser masks (14 of 16 cells) everywhere": Generation(parallel(), IndependentMasks(2, 14)),
    "no fresh noise (eta 0)": Generation(parallel(0.0), PAIR),
    "20 levels of the table": Generation(parallel(), PAIR, 20),
    "20 levels of Karras' grid": Generation(parallel(), PAIR, walk=walk(20)),
    "20 levels of Karras' grid, eta 0": Generation(parallel(0.0), PAIR, walk=walk(20)),
    "20 equal steps of log-SNR, eta 0": Generation(parallel(0.0), PAIR, walk=walk(20, karras=False)),
    "full mask: what a prior of whole images does": Generation(parallel(), FULL, views=1),
}
POSTERIOR: dict[str, Posterior] = {
    "**covering pair, relaxed by 1.75, proximal end (default)**": Posterior(relaxed(1.75)),
    "two independent masks": Posterior(relaxed(1.75), TWO),
    "denser masks below rho = 1": Posterior(relaxed(1.75), DENSE_LATE),
    "data replaced (1.0) instead of relaxed": Posterior(relaxed(1.0)),
    "no proximal end": Posterior(relaxed(1.75, end=False)),
    "20 levels of the table": Posterior(relaxed(1.75), steps=20),
    "20 levels of Karras' grid": Posterior(relaxed(1.75), walk=walk(20)),
    "20 levels of Karras' grid, warm start at rho = 0.5": Posterior(relaxed(1.75), walk=walk(20, 0.5), warm=True),
    "full mask: what a prior of whole images does": Posterior(relaxed(1.0), FULL, views=1),
}
