"""The closed-form table of the method page comes out of the library's own samplers: exactly, and by Monte Carlo."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

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
from skiagraph.inverse.sequential import SequentialMeasurementScore
from skiagraph.inverse.views import DensitySchedule
from skiagraph.physics.masks import ReferenceCellSchedule

RELEASED_MASKS = ReferenceCellSchedule((1, SIZE), (1, 16), roll=(0, 1))
DRAWS = 200


class Row(NamedTuple):
    """A row of the table: sampler, masks, steps, masks per level, and how many mask sequences are averaged here."""

    rule: Any
    masks: Any
    steps: int = 200
    views: int = 1
    sequences: int = 5


def parallel(eta: float = 1.0, corrector: float = 0.0) -> Any:
    return lambda masks, measurement: MeasurementScore(Identity(), masks, DDIM(eta), corrector=corrector)


def sequential(inject: Any = "predicted") -> Any:
    return lambda masks, measurement: SequentialMeasurementScore(Identity(), masks, DDIM(1.0), inject=inject, eta=1.0)


def released(views: int) -> Any:
    return lambda masks, measurement: ReferenceMeasurementScore(Identity(), masks, views)


FULL, PAIR = FullMask(), ComplementaryPair()
# Row, F2, variance, tolerances of both. The published number of digits is the tolerance of exact rows.
EXACT: dict[str, tuple[Row, float, float, float, float]] = {
    "full": (Row(parallel(), FULL), 0.000944489, 0.954524, 1e-6, 1e-6),
    "full, 100 steps": (Row(parallel(), FULL, 100), 0.0029, 0.917, 5e-5, 5e-4),
    "full, 50 steps": (Row(parallel(), FULL, 50), 0.0083, 0.853, 5e-5, 5e-4),
    "full, 20 steps": (Row(parallel(), FULL, 20), 0.0316, 0.709, 5e-5, 5e-4),
    "full, 1000 steps": (Row(parallel(), FULL, 1000), 0.00006, 0.9896, 5e-6, 5e-5),
    "full, eta 0": (Row(parallel(0.0), FULL), 0.00020, 0.9787, 5e-6, 5e-5),
    "full, Langevin 0.2": (Row(parallel(1.0, 0.2), FULL), 0.0003, 0.989, 5e-5, 5e-4),
    "full, re-injected": (Row(sequential(), FULL), 0.0019, 0.932, 5e-5, 5e-4),
    "full, re-injected, released": (Row(released(1), FULL), 0.0019, 0.932, 5e-5, 5e-4),
}
AVERAGED: dict[str, tuple[Row, float, float]] = {
    "Algorithm 1, w = 1": (Row(sequential(), IndependentMasks(1)), 0.048, 0.62),
    "Algorithm 1, w = 2": (Row(sequential(), IndependentMasks(2), views=2), 0.045, 0.63),
    "Algorithm 1, w = 3": (Row(sequential(), IndependentMasks(3), views=3), 0.045, 0.63),
    "Algorithm 1, w = 3, released rule": (Row(released(3), SingleMasks(), views=3), 0.045, 0.63),
    "Algorithm 1, w = 5": (Row(sequential(), IndependentMasks(5), views=5, sequences=4), 0.047, 0.62),
    "Algorithm 1, w = 10": (Row(sequential(), IndependentMasks(10), views=10, sequences=2), 0.050, 0.61),
    "parallel, w = 2": (Row(parallel(), IndependentMasks(2), views=2), 0.040, 0.66),
    "parallel, w = 3": (Row(parallel(), IndependentMasks(3), views=3), 0.039, 0.66),
    "parallel, w = 20": (Row(parallel(), IndependentMasks(20), views=20, sequences=2), 0.039, 0.66),
    "pair": (Row(parallel(), PAIR, views=2), 0.039, 0.665),
    "pair, eta 0": (Row(parallel(0.0), PAIR, views=2), 0.035, 0.71),
    "pair, eta 0.5": (Row(parallel(0.5), PAIR, views=2), 0.036, 0.695),
    "pair, Langevin 0.05": (Row(parallel(1.0, 0.05), PAIR, views=2), 0.037, 0.67),
    "pair, Langevin 0.2": (Row(parallel(1.0, 0.2), PAIR, views=2), 0.035, 0.68),
    "pair, 1000 steps": (Row(parallel(), PAIR, 1000, 2, 3), 0.035, 0.69),
    "pair, re-injected": (Row(sequential(), PAIR, views=2), 0.0435, 0.637),
    "pair, re-injected, 100 steps": (Row(sequential(), PAIR, 100, 2), 0.053, 0.60),
    "pair, re-injected, 50 steps": (Row(sequential(), PAIR, 50, 2), 0.070, 0.54),
    "pair, re-injected, 20 steps": (Row(sequential(), PAIR, 20, 2, 12), 0.116, 0.44),
    "Algorithm 1, w = 1, 500 steps": (Row(sequential(), IndependentMasks(1), 500), 0.040, 0.657),
    "Algorithm 1, w = 1, 1000 steps": (Row(sequential(), IndependentMasks(1), 1000, 1, 3), 0.037, 0.675),
    "all-new noise, w = 3": (Row(sequential("new"), IndependentMasks(3), views=3), 0.196, 0.31),
    "keep 6": (Row(parallel(), IndependentMasks(3, 6), views=3, sequences=12), 0.122, 0.49),
    "keep 8": (Row(parallel(), IndependentMasks(3, 8), views=3), 0.072, 0.57),
    "keep 12": (Row(parallel(), IndependentMasks(3, 12), views=3), 0.018, 0.76),
    "keep 14": (Row(parallel(), IndependentMasks(3, 14), views=3), 0.0058, 0.85),
    "keep 15": (Row(parallel(), IndependentMasks(3, 15), views=3), 0.0025, 0.90),
}
RELEASED: dict[str, tuple[Row, float, float]] = {
    f"released masks, w = {views}": (Row(released(views), RELEASED_MASKS, views=views), f2, 0.53)
    for views, f2 in ((1, 0.080), (2, 0.082), (3, 0.083))
}


@cache
def found(row: Row) -> tuple[float, float]:
    """F2 and variance of a row, once for all tests."""
    result = law(row.rule, row.masks, row.steps, sequences=row.sequences, views=row.views)
    return distance(result.covariance(), covariance())


@pytest.mark.parametrize("name", EXACT)
def test_rows_of_the_full_mask_are_exact(name: str) -> None:
    row, f2, variance, digits, digits_of_variance = EXACT[name]
    row = row._replace(sequences=1)
    assert found(row)[0] == pytest.approx(f2, abs=digits)
    assert found(row)[1] == pytest.approx(variance, abs=digits_of_variance)


@pytest.mark.parametrize("name", AVERAGED)
def test_rows_averaged_over_masks(name: str) -> None:
    row, f2, variance = AVERAGED[name]
    assert found(row)[0] == pytest.approx(f2, abs=0.002)
    assert found(row)[1] == pytest.approx(variance, abs=0.01)


@pytest.mark.parametrize("name", RELEASED)
def test_rows_of_the_released_mask_schedule(name: str) -> None:
    row, f2, variance = RELEASED[name]
    assert found(row)[0] == pytest.approx(f2, abs=0.003)
    assert found(row)[1] == pytest.approx(variance, abs=0.01)


def f2_of(name: str) -> float:
    row = ({key: value[0] for key, value in RELEASED.items()} | {key: value[0] for key, value in AVERAGED.items()})[
        name
    ]
    return found(row)[0]


def test_what_helps_and_what_does_not() -> None:
    assert f2_of("pair") < 0.6 * f2_of("released masks, w = 3")
    assert f2_of("all-new noise, w = 3") > 4 * f2_of("Algorithm 1, w = 3")
    densities = [f2_of(name) for name in ("keep 6", "keep 8", "parallel, w = 3", "keep 12", "keep 14", "keep 15")]
    assert densities == sorted(densities, reverse=True)
    assert abs(f2_of("parallel, w = 2") - f2_of("parallel, w = 20")) < 0.003


def test_denser_masks_at_low_noise_alone_already_help() -> None:
    """Masks of 14 cells below rho = 1 only; the price of a view is the same."""
    dense = DensitySchedule(IndependentMasks(2), ((1.0, IndependentMasks(2, 14)),))
    plain, mixed = (
        distance(law(parallel(), source, 20, sequences=12, views=2).covariance(), covariance())[0]
        for source in (IndependentMasks(2), dense)
    )
    assert mixed < plain - 0.005


@pytest.mark.parametrize(
    ("make_rule", "source", "views"),
    [(parallel(), PAIR, 2), (released(1), SingleMasks(), 1), (sequential(), PAIR, 2)],
    ids=["default", "released", "Algorithm 1"],
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


def test_samples_with_masks_of_their_own_have_the_averaged_law() -> None:
    count = 1000
    denoiser = GaussianPartialDenoiser(linear_table().respaced("ddim20"), covariance())
    streams = Streams(range(count))
    start = streams.normal(1, 1, SIZE, dtype=torch.float64)
    samples = final(trajectory(denoiser, start, Levels(), parallel()(PAIR, None), streams=streams)).reshape(count, SIZE)
    f2, variance = distance(samples.T @ samples / count, covariance())
    exact = found(Row(parallel(), PAIR, 20, 2, 12))
    assert f2 == pytest.approx(exact[0], abs=0.008)
    assert variance == pytest.approx(exact[1], abs=0.02)


@pytest.mark.parametrize(
    "rule",
    [
        MeasurementScore(Identity(), ComplementaryPair(), DDIM(1.0)),
        MeasurementScore(Identity(), ComplementaryPair(), DDIM(1.0), corrector=0.1),
        ReferenceMeasurementScore(Identity(), SingleMasks(), views=2),
        SequentialMeasurementScore(Identity(), ComplementaryPair(), DDIM(1.0)),
        SequentialMeasurementScore(Identity(), ComplementaryPair(), inject="new"),
    ],
    ids=["default", "corrector", "released", "Algorithm 1", "all-new noise"],
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
