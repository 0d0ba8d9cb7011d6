"""Posterior rows of the method page (section 9.1): exact errors of the library's samplers given linear data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from tests.inverse.propagation import law
from tests.inverse.yardstick import (
    SIZE,
    ComplementaryPair,
    FullMask,
    Identity,
    IndependentMasks,
    SingleMasks,
    covariance,
)
from torch import Tensor

from skiagraph.diffusion.grid import Levels
from skiagraph.diffusion.rules import DDIM
from skiagraph.diffusion.sampling import final, trajectory
from skiagraph.diffusion.schedule import linear_table
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.data_consistency import ProximalStep, RelaxedStep, ReleasedImageStep
from skiagraph.inverse.measurement_score import MeasurementScore
from skiagraph.inverse.mixing import DDNMMixing
from skiagraph.inverse.partial import GaussianPartialDenoiser
from skiagraph.inverse.reference import ReferenceMeasurementScore
from skiagraph.inverse.sequential import SequentialMeasurementScore
from skiagraph.physics.operator import Compose, LinearOperator
from skiagraph.physics.selection import DenseOperator

NOISE = 1e-4  # variance R of the data's noise
PIXELS = torch.eye(SIZE, dtype=torch.float64)
OPERATORS = {
    "mask": PIXELS[[4, 8, 10, 14, 15, 16, 17, 19, 22, 23, 26]],
    "box": PIXELS[[*range(12), *range(20, SIZE)]],
    "pool": PIXELS.reshape(8, 4, SIZE).mean(1),
}


class Errors(NamedTuple):
    """Error of the posterior mean, of a sample, and residual, each per entry."""

    mean: float
    sample: float
    residual: float


@dataclass(frozen=True)
class Flat(LinearOperator):
    """(B, 1, 1, n) -> (B, n)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def adjoint(self, y: Tensor) -> Tensor:
        return y[:, None, None]


class Rule(NamedTuple):
    """A row of the table: rule for an operator, masks, masks per level, steps, what it is asked for."""

    make: Callable[[Tensor], Any]
    masks: Any
    views: int
    mean: tuple[float, float, float]
    sample: tuple[float, float, float]
    residual: tuple[float, float, float]
    steps: int = 200
    sequences: int = 3


def errors(row: Rule, name: str) -> Errors:
    """Exact errors, averaged over mask sequences; residuals under independent masks depend on these most."""
    matrix, prior = OPERATORS[name], covariance()
    count = 1 if isinstance(row.masks, FullMask) else row.sequences if name != "pool" else 3
    found = law(row.make(matrix), row.masks, row.steps, sequences=count, data=len(matrix), views=row.views)
    data = matrix @ prior @ matrix.T + NOISE * torch.eye(len(matrix))
    response = found.response.mean(0)
    mean = prior - 2 * response @ matrix @ prior + response @ data @ response.T
    cross = found.response @ matrix @ prior
    second = found.response @ data @ found.response.mT + found.spread
    sample = (prior - 2 * cross + second).mean(0)
    misfit = matrix @ found.response - torch.eye(len(matrix))
    residual = (misfit @ data @ misfit.mT + matrix @ found.spread @ matrix.T).mean(0)
    return Errors(float(mean.trace()) / SIZE, float(sample.trace()) / SIZE, float(residual.trace()) / len(matrix))


def proximal(matrix: Tensor, measurement: Tensor) -> ProximalStep:
    return ProximalStep(DenseOperator(matrix), measurement, NOISE**0.5)


def relaxed(lam: float, end: bool = False) -> Callable[[Tensor, Tensor], RelaxedStep]:
    return lambda matrix, measurement: RelaxedStep(proximal(matrix, measurement), lam, end)


def parallel(step: Any) -> Callable[[Tensor], Any]:
    """All views of one state at once."""
    return lambda matrix: lambda masks, y: MeasurementScore(Identity(), masks, data_step=step(matrix, y))


def sequential(step: Any, solver: Any = None, eta: float = 0.85) -> Callable[[Tensor], Any]:
    """Views one after the other, each written back."""
    chosen = DDNMMixing() if solver is None else solver
    return lambda matrix: (
        lambda masks, y: SequentialMeasurementScore(Identity(), masks, chosen, step(matrix, y), eta=eta)
    )


def released(matrix: Tensor) -> Callable[[Any, Tensor], ReferenceMeasurementScore]:
    """The released rule with the pseudo-inverse in the place of its transpose."""

    def make(masks: Any, measurement: Tensor) -> ReferenceMeasurementScore:
        step = ReleasedImageStep(DenseOperator(matrix), measurement, None, 1.75)
        return ReferenceMeasurementScore(Identity(), masks, 3, 0.85, "image", step)

    return make


THREE, PAIR, FULL = IndependentMasks(3), ComplementaryPair(), FullMask()
E = 1e-4
NONE = (0.0, 0.0, 0.0)
ROWS = {
    "lam 1": Rule(sequential(relaxed(1.0)), THREE, 3, (0.0368, 0.0156, 0.0138), (0.0632, 0.0257, 0.0242), NONE),
    "lam 1.75": Rule(
        sequential(relaxed(1.75)),
        THREE,
        3,
        (0.0327, 0.0146, 0.0137),
        (0.0561, 0.0244, 0.0241),
        (1.5 * E, 1.6 * E, 0.3 * E),
        sequences=6,
    ),
    "lam 1.75, released rule": Rule(
        released, SingleMasks(), 3, (0.0327, 0.0146, 0.0137), (0.0561, 0.0244, 0.0241), (1.5 * E, 1.6 * E, 0.3 * E)
    ),
    "lam 2": Rule(
        sequential(relaxed(2.0)),
        THREE,
        3,
        (0.0323, 0.0145, 0.0137),
        (0.0556, 0.0243, 0.0241),
        (5.7 * E, 5.6 * E, 1.2 * E),
    ),
    "pair": Rule(
        parallel(relaxed(1.75)),
        PAIR,
        2,
        (0.0328, 0.0145, 0.0137),
        (0.0574, 0.0244, 0.0249),
        (1.1 * E, 1.1 * E, 0.3 * E),
    ),
    "default": Rule(
        parallel(relaxed(1.75, end=True)),
        PAIR,
        2,
        (0.0329, 0.0145, 0.0136),
        (0.0578, 0.0244, 0.0250),
        (0.47 * E, 0.47 * E, 0.33 * E),
    ),
    "pair, 50 steps": Rule(
        parallel(relaxed(1.75)),
        PAIR,
        2,
        (0.0393, 0.0160, 0.0138),
        (0.0673, 0.0269, 0.0244),
        (7.2 * E, 7.8 * E, 2.7 * E),
        50,
    ),
    "proximal": Rule(
        sequential(proximal),
        THREE,
        3,
        (0.0365, 0.0157, 0.0138),
        (0.0631, 0.0257, 0.0244),
        (0.5 * E, 0.7 * E, 0.7 * E),
        sequences=8,
    ),
    "proximal, DDIM": Rule(
        sequential(proximal, DDIM(1.0), 1.0),
        THREE,
        3,
        (0.0560, 0.0207, 0.0141),
        (0.1015, 0.0374, 0.0267),
        (0.7 * E, 0.6 * E, 0.8 * E),
        sequences=8,
    ),
    "full, proximal": Rule(
        parallel(proximal),
        FULL,
        1,
        (0.0326, 0.0144, 0.0136),
        (0.0611, 0.0262, 0.0229),
        (0.3 * E, 0.3 * E, 0.5 * E),
    ),
}


@cache
def found(row: str, name: str) -> Errors:
    """Errors of a row, once for all tests."""
    return errors(ROWS[row], name)


@pytest.mark.parametrize(("name", "expected"), [("mask", 0.02822), ("box", 0.01272), ("pool", 0.01351)])
def test_the_exact_posterior_is_that_of_the_page(name: str, expected: float) -> None:
    matrix, prior = OPERATORS[name], covariance()
    inner = matrix @ prior @ matrix.T + NOISE * torch.eye(len(matrix))
    exact = prior - prior @ matrix.T @ torch.linalg.solve(inner, matrix @ prior)
    assert float(exact.trace()) / SIZE == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("name", OPERATORS)
def test_rows_of_the_table(row: str, name: str) -> None:
    if row == "lam 1.75, released rule" and name != "mask":
        return  # the same arithmetic as the row before it
    place = list(OPERATORS).index(name)
    wanted = ROWS[row]
    result = found(row, name)
    assert result.mean == pytest.approx(wanted.mean[place], rel=0.03)
    assert result.sample == pytest.approx(wanted.sample[place], rel=0.03)
    # The page prints one digit of some residuals.
    assert result.residual == pytest.approx(wanted.residual[place], rel=0.3, abs=0.06e-4)


@pytest.mark.parametrize("name", OPERATORS)
def test_the_final_step_brings_the_residual_to_the_noise(name: str) -> None:
    assert 0.25 * NOISE < found("default", name).residual < NOISE


@pytest.mark.parametrize("name", ["mask", "box"])
def test_over_relaxation_beats_replacing_the_data_and_proximal_steps(name: str) -> None:
    best = found("lam 1.75", name).mean
    assert best < 0.98 * found("lam 1", name).mean
    assert best < 0.98 * found("proximal", name).mean
    assert found("lam 1", name).residual < 1e-10


def test_the_discrepancy_principle_ends_at_the_noise() -> None:
    """No sample's residual exceeds nu^2, however the levels before were relaxed, and those that did end there."""
    matrix, count = OPERATORS["mask"], 12
    streams = Streams(range(count))
    z = streams.normal(SIZE, dtype=torch.float64) @ torch.linalg.cholesky(covariance()).T
    y = z @ matrix.T + NOISE**0.5 * streams.normal(len(matrix), dtype=torch.float64)
    denoiser = GaussianPartialDenoiser(linear_table().respaced("ddim20"), covariance())
    ends = []
    for lam in (1.0, 1.75):
        last = ProximalStep(Compose(DenseOperator(matrix), Flat()), y, NOISE**0.5, width="discrepancy")
        rule = MeasurementScore(Identity(), PAIR, data_step=RelaxedStep(last, lam))
        draws = Streams(range(count))
        start = draws.normal(1, 1, SIZE, dtype=torch.float64)
        end = final(trajectory(denoiser, start, Levels(), rule, streams=draws)).flatten(1)
        ends.append((end @ matrix.T - y).square().mean(1))
    for residual in ends:
        assert residual.max() == pytest.approx(NOISE, rel=1e-4)
        assert residual.isclose(torch.tensor(NOISE, dtype=torch.float64), rtol=1e-4).sum() >= count / 3
