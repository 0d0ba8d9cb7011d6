"""The closed-form table of the method page comes out of the library's own samplers (Monte Carlo)."""

from __future__ import annotations

import pytest
import torch
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

DRAWS = 600


def _sample(rule: object, steps: str, draws: int = DRAWS) -> Tensor:
    schedule = linear_table().respaced(steps)
    denoiser = GaussianPartialDenoiser(schedule, covariance())
    streams = Streams(range(draws))
    start = streams.normal(1, 1, SIZE, dtype=torch.float64)
    return final(trajectory(denoiser, start, Levels(), rule, streams=streams)).flatten(1)


@pytest.mark.parametrize(
    ("views", "eta", "steps", "f2", "variance"),
    [
        (FullMask(), 1.0, "ddim50", 0.0083, 0.853),
        (FullMask(), 1.0, "ddim20", 0.0316, 0.709),
        (FullMask(), 0.0, "ddim200", 0.00020, 0.9787),
        (ComplementaryPair(), 1.0, "ddim200", 0.039, 0.665),
        (IndependentMasks(2, 14), 1.0, "ddim200", 0.0058, 0.85),
    ],
)
def test_default_rule_has_the_tabled_law(views: object, eta: float, steps: str, f2: float, variance: float) -> None:
    samples = _sample(MeasurementScore(Identity(), views, DDIM(eta)), steps)
    found = distance(samples, covariance())
    # Scatter with 600 draws: about 0.002 in the distance, 4 percent in the variance.
    assert found[0] == pytest.approx(f2, abs=0.006)
    assert found[1] == pytest.approx(variance, abs=0.08)


def test_released_rule_with_independent_masks_has_the_tabled_law() -> None:
    samples = _sample(ReferenceMeasurementScore(Identity(), SingleMasks(), views=1), "ddim200")
    f2, variance = distance(samples, covariance())
    assert f2 == pytest.approx(0.048, abs=0.006)
    assert variance == pytest.approx(0.62, abs=0.08)


def test_a_batch_of_eight_equals_eight_batches_of_one() -> None:
    schedule = linear_table().respaced("ddim20")
    denoiser = GaussianPartialDenoiser(schedule, covariance())
    for rule in (
        MeasurementScore(Identity(), ComplementaryPair(), DDIM(1.0)),
        ReferenceMeasurementScore(Identity(), SingleMasks(), views=2),
    ):

        def run(seeds: range, rule: object = rule) -> Tensor:
            streams = Streams(seeds)
            start = streams.normal(1, 1, SIZE, dtype=torch.float64)
            return final(trajectory(denoiser, start, Levels(), rule, streams=streams))

        assert torch.equal(run(range(8)), torch.cat([run(range(seed, seed + 1)) for seed in range(8)]))
