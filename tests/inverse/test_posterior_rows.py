"""Posterior rows of the method page (section 9.1): exact errors of the library's samplers given linear data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from tests.inverse.propagation import law
from tests.inverse.yardstick import SIZE, ComplementaryPair, Identity, SingleMasks, covariance
from torch import Tensor

from skiagraph.inverse.data_consistency import ProximalStep, RelaxedStep, ReleasedImageStep
from skiagraph.inverse.measurement_score import MeasurementScore
from skiagraph.inverse.reference import ReferenceMeasurementScore
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


def errors(make_rule: Callable[[Any, Tensor], Any], matrix: Tensor, source: Any, views: int) -> Errors:
    """Exact errors, averaged over six mask sequences."""
    found = law(make_rule, source, 200, sequences=6, data=len(matrix), views=views)
    prior = covariance()
    data = matrix @ prior @ matrix.T + NOISE * torch.eye(len(matrix))
    response = found.response.mean(0)
    mean = prior - 2 * response @ matrix @ prior + response @ data @ response.T
    cross = found.response @ matrix @ prior
    second = found.response @ data @ found.response.mT + found.spread
    sample = (prior - 2 * cross + second).mean(0)
    misfit = matrix @ found.response - torch.eye(len(matrix))
    residual = (misfit @ data @ misfit.mT + matrix @ found.spread @ matrix.T).mean(0)
    return Errors(float(mean.trace()) / SIZE, float(sample.trace()) / SIZE, float(residual.trace()) / len(matrix))


def default(matrix: Tensor, end: bool = True) -> Callable[[Any, Tensor], MeasurementScore]:
    """Parallel complementary pair, relaxed steps, with or without the proximal one at the end."""

    def make(masks: Any, measurement: Tensor) -> MeasurementScore:
        proximal = ProximalStep(DenseOperator(matrix), measurement, NOISE**0.5)
        return MeasurementScore(Identity(), masks, data_step=RelaxedStep(proximal, proximal_end=end))

    return make


def released(matrix: Tensor, relaxation: float) -> Callable[[Any, Tensor], ReferenceMeasurementScore]:
    """Three sequential views with re-injection and the relaxed step with the pseudo-inverse."""

    def make(masks: Any, measurement: Tensor) -> ReferenceMeasurementScore:
        step = ReleasedImageStep(DenseOperator(matrix), measurement, None, relaxation)
        return ReferenceMeasurementScore(Identity(), masks, 3, 0.85, "image", step)

    return make


@pytest.mark.parametrize(("name", "expected"), [("mask", 0.02822), ("box", 0.01272), ("pool", 0.01351)])
def test_the_exact_posterior_is_that_of_the_page(name: str, expected: float) -> None:
    matrix, prior = OPERATORS[name], covariance()
    inner = matrix @ prior @ matrix.T + NOISE * torch.eye(len(matrix))
    exact = prior - prior @ matrix.T @ torch.linalg.solve(inner, matrix @ prior)
    assert float(exact.trace()) / SIZE == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "mean", "sample", "residual"),
    [("mask", 0.0329, 0.0578, 0.47e-4), ("box", 0.0145, 0.0244, 0.47e-4), ("pool", 0.0136, 0.0250, 0.33e-4)],
)
def test_default_sampler(name: str, mean: float, sample: float, residual: float) -> None:
    found = errors(default(OPERATORS[name]), OPERATORS[name], ComplementaryPair(), 2)
    assert found.mean == pytest.approx(mean, rel=0.03)
    assert found.sample == pytest.approx(sample, rel=0.03)
    assert found.residual == pytest.approx(residual, rel=0.3)
    assert 0.25 * NOISE < found.residual < NOISE


def test_the_proximal_end_halves_the_residual_and_keeps_the_mean() -> None:
    found = errors(default(OPERATORS["mask"], end=False), OPERATORS["mask"], ComplementaryPair(), 2)
    assert found.mean == pytest.approx(0.0328, rel=0.03)
    assert found.residual == pytest.approx(1.1e-4, rel=0.3)


def test_over_relaxation_beats_replacing_the_data() -> None:
    matrix = OPERATORS["mask"]
    relaxed = errors(released(matrix, 1.75), matrix, SingleMasks(), 3)
    assert relaxed.mean == pytest.approx(0.0327, rel=0.03)
    assert relaxed.sample == pytest.approx(0.0561, rel=0.03)
    assert relaxed.residual == pytest.approx(1.5e-4, rel=0.3)
    replaced = errors(released(matrix, 1.0), matrix, SingleMasks(), 3)
    assert replaced.mean == pytest.approx(0.0368, rel=0.03)
    assert replaced.residual == pytest.approx(0, abs=1e-12)
    assert relaxed.mean < replaced.mean


def test_over_relaxation_beats_proximal_steps() -> None:
    matrix = OPERATORS["mask"]

    def make(masks: Any, measurement: Tensor) -> MeasurementScore:
        step = ProximalStep(DenseOperator(matrix), measurement, NOISE**0.5)
        return MeasurementScore(Identity(), masks, data_step=step)

    proximal = errors(make, matrix, ComplementaryPair(), 2)
    assert proximal.mean > 1.05 * errors(default(matrix), matrix, ComplementaryPair(), 2).mean
    assert proximal.residual < NOISE
