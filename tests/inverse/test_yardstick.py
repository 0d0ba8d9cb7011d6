"""The closed-form table of the method page comes out of the library's own samplers: exactly, and by Monte Carlo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.inverse.propagation import SharedMasks, law
from tests.inverse.yardstick import (
    SIZE,
    ComplementaryPair,
    FullMask,
    Identity,
    IndependentMasks,
    SingleMasks,
    covariance,
    distance,
)
from torch import Tensor

from skiagraph.diffusion.grid import Levels
from skiagraph.diffusion.rules import DDIM
from skiagraph.diffusion.sampling import final, trajectory
from skiagraph.diffusion.schedule import linear_table
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.measurement_score import MeasurementScore
from skiagraph.inverse.partial import GaussianPartialDenoiser
from skiagraph.inverse.reference import ReferenceMeasurementScore
from skiagraph.physics.masks import ReferenceCellSchedule

RELEASED_MASKS = ReferenceCellSchedule((1, SIZE), (1, 16), roll=(0, 1))
DRAWS = 200


def parallel(eta: float) -> Callable[[Any, Tensor], MeasurementScore]:
    return lambda masks, measurement: MeasurementScore(Identity(), masks, DDIM(eta))


def released(views: int) -> Callable[[Any, Tensor], ReferenceMeasurementScore]:
    return lambda masks, measurement: ReferenceMeasurementScore(Identity(), masks, views)


@pytest.mark.parametrize(
    ("make_rule", "source", "steps", "f2", "variance", "digits"),
    [
        (parallel(1.0), FullMask(), 200, 0.000944489, 0.954524, (1e-6, 1e-6)),
        (parallel(1.0), FullMask(), 100, 0.0029, 0.917, (5e-5, 5e-4)),
        (parallel(1.0), FullMask(), 50, 0.0083, 0.853, (5e-5, 5e-4)),
        (parallel(1.0), FullMask(), 20, 0.0316, 0.709, (5e-5, 5e-4)),
        (parallel(0.0), FullMask(), 200, 0.00020, 0.9787, (5e-6, 5e-5)),
        (released(1), FullMask(), 200, 0.0019, 0.932, (5e-5, 5e-4)),
    ],
)
def test_rows_of_the_full_mask_are_exact(
    make_rule: Any, source: Any, steps: int, f2: float, variance: float, digits: tuple[float, float]
) -> None:
    found = distance(law(make_rule, source, steps, sequences=1).covariance(), covariance())
    assert found[0] == pytest.approx(f2, abs=digits[0])
    assert found[1] == pytest.approx(variance, abs=digits[1])


@pytest.mark.parametrize(
    ("make_rule", "source", "views", "steps", "f2", "variance"),
    [
        (parallel(1.0), ComplementaryPair(), 2, 200, 0.039, 0.665),
        (parallel(0.0), ComplementaryPair(), 2, 200, 0.035, 0.71),
        (parallel(1.0), IndependentMasks(2), 2, 200, 0.040, 0.66),
        (parallel(1.0), IndependentMasks(3, 14), 3, 200, 0.0058, 0.85),
        (parallel(1.0), IndependentMasks(3, 6), 3, 200, 0.122, 0.49),
        (released(1), SingleMasks(), 1, 200, 0.048, 0.62),
        (released(3), SingleMasks(), 3, 200, 0.045, 0.63),
        (released(2), ComplementaryPair(), 2, 20, 0.116, 0.44),
    ],
)
def test_rows_averaged_over_masks(
    make_rule: Any, source: Any, views: int, steps: int, f2: float, variance: float
) -> None:
    found = distance(law(make_rule, source, steps, sequences=12, views=views).covariance(), covariance())
    assert found[0] == pytest.approx(f2, abs=0.002)
    assert found[1] == pytest.approx(variance, abs=0.01)


def test_the_released_mask_schedule_doubles_the_error_of_the_default() -> None:
    released_law = law(released(3), RELEASED_MASKS, 200, sequences=6, views=3)
    f2, variance = distance(released_law.covariance(), covariance())
    assert f2 == pytest.approx(0.083, abs=0.003)
    assert variance == pytest.approx(0.53, abs=0.01)
    default = law(parallel(1.0), ComplementaryPair(), 200, sequences=6, views=2)
    assert distance(default.covariance(), covariance())[0] < 0.6 * f2


@pytest.mark.parametrize(
    ("make_rule", "source", "views"),
    [(parallel(1.0), ComplementaryPair(), 2), (released(1), SingleMasks(), 1)],
    ids=["default", "released"],
)
def test_samples_have_the_propagated_law(make_rule: Any, source: Any, views: int) -> None:
    """Draws that share the masks of one of two sequences are Gaussian with exactly the propagated covariance."""
    exact = law(make_rule, source, 20, sequences=2, views=views).spread
    denoiser = GaussianPartialDenoiser(linear_table().respaced("ddim20"), covariance())
    streams = Streams(range(2 * DRAWS))
    rule = make_rule(SharedMasks(source, 2, DRAWS), torch.zeros(()))
    start = streams.normal(SIZE, dtype=torch.float64)
    samples = final(trajectory(denoiser, start, Levels(), rule, streams=streams)).reshape(2, DRAWS, SIZE)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(exact), samples.mT, upper=False)
    second = white @ white.mT / DRAWS - torch.eye(SIZE)
    assert white.square().mean() == pytest.approx(1, abs=4 * (2 / (2 * DRAWS * SIZE)) ** 0.5)
    assert second.square().sum((1, 2)).mean() == pytest.approx(SIZE * (SIZE + 1) / DRAWS, rel=0.2)


@pytest.mark.parametrize(
    "rule",
    [
        MeasurementScore(Identity(), ComplementaryPair(), DDIM(1.0)),
        ReferenceMeasurementScore(Identity(), SingleMasks(), views=2),
    ],
    ids=["default", "released"],
)
def test_a_batch_of_eight_equals_eight_batches_of_one(rule: Any) -> None:
    denoiser = GaussianPartialDenoiser(linear_table().respaced("ddim20"), covariance())

    def run(seeds: range) -> Tensor:
        streams = Streams(seeds)
        start = streams.normal(1, 1, SIZE, dtype=torch.float64)
        kept = start.clone()
        end = final(trajectory(denoiser, start, Levels(), rule, streams=streams))
        assert torch.equal(start, kept)
        return end

    assert torch.equal(run(range(8)), torch.cat([run(range(seed, seed + 1)) for seed in range(8)]))
    assert torch.equal(run(range(8)), run(range(8)))
