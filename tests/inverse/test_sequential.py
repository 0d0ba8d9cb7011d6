"""Algorithm 1: write-back, coverage by mask, and what is refused; where mask sets come from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.inverse.scans import columns, image, maps
from tests.inverse.yardstick import SIZE, ComplementaryPair, Identity, IndependentMasks, covariance
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Prediction
from skiagraph.diffusion.grid import Karras, Levels
from skiagraph.diffusion.rules import DDIM, DPMSolverPP2M, Heun
from skiagraph.diffusion.sampling import Step, trajectory
from skiagraph.diffusion.schedule import EDM, linear_table
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.data_consistency import ProximalStep, RelaxedStep
from skiagraph.inverse.measurement_score import MeasurementScore, UncoveredWarning
from skiagraph.inverse.partial import EpsPartialDenoiser, GaussianPartialDenoiser
from skiagraph.inverse.sequential import SequentialMeasurementScore
from skiagraph.inverse.views import CoveringViews, DensitySchedule, IndependentViews, draw_views
from skiagraph.physics.fourier import CoilFourier
from skiagraph.physics.masks import Cells, RandomColumns
from skiagraph.physics.selection import PixelMask

TABLE = linear_table().respaced("ddim20")
ORACLE = GaussianPartialDenoiser(TABLE, covariance())
FIRST = (torch.arange(SIZE) < 20).double()


class Fixed:
    """The same masks (w, n) for every sample."""

    def __init__(self, *masks: Tensor) -> None:
        self.masks = torch.stack(masks)[:, None, None]

    def __call__(self, draws: Streams) -> Tensor:
        return self.masks.expand(len(draws), *self.masks.shape)


class Zero:
    """Says that everything is exactly 0."""

    schedule = TABLE

    def __call__(self, x: Tensor, t: Tensor, mask: Tensor, cond: Condition = EMPTY) -> Prediction:
        return Prediction(torch.zeros_like(x))


def walk(rule: Any, denoiser: Any = ORACLE, seeds: Any = range(2)) -> list[Step]:
    streams = Streams(seeds)
    start = streams.normal(1, 1, SIZE, dtype=torch.float64)
    return list(trajectory(denoiser, start, Levels(), rule, streams=streams))


def one_step(rule: Any, denoiser: Any, level: float, carry: Any = None) -> tuple[Tensor, Tensor, Any]:
    x = Streams([1, 2]).normal(1, 1, SIZE, dtype=torch.float64)
    t = torch.tensor(level, dtype=torch.float64)
    return rule(denoiser, x, t, t - 1, EMPTY, Streams([1, 2]), carry)


def test_the_second_view_sees_what_the_first_one_wrote() -> None:
    seen: list[Tensor] = []

    class Watching(Zero):
        def __call__(self, x: Tensor, t: Tensor, mask: Tensor, cond: Condition = EMPTY) -> Prediction:
            seen.append(x)
            return super().__call__(x, t, mask, cond)

    one_step(SequentialMeasurementScore(Identity(), Fixed(FIRST, 1 - FIRST), inject="new"), Watching(), 9.0)
    first, second = seen
    sigma = float(TABLE(torch.tensor(9.0).double())[1])
    draws = Streams([1, 2])
    noise = draws.normal(1, 1, SIZE, dtype=torch.float64)
    assert torch.allclose(second[..., :20], sigma * noise[..., :20])
    assert torch.equal(second[..., 20:], first[..., 20:])


def test_the_predicted_noise_is_kept_with_a_share_of_fresh_one() -> None:
    """eta 0 puts the noise of the state back; a zero estimate is written back, not skipped."""
    seen: list[Tensor] = []

    class Watching(Zero):
        def __call__(self, x: Tensor, t: Tensor, mask: Tensor, cond: Condition = EMPTY) -> Prediction:
            seen.append(x)
            return super().__call__(x, t, mask, cond)

    one_step(SequentialMeasurementScore(Identity(), Fixed(FIRST, FIRST), eta=0.0), Watching(), 9.0)
    assert torch.allclose(seen[1], seen[0])  # all of x is noise when the estimate is 0
    _, estimate, _ = one_step(SequentialMeasurementScore(Identity(), Fixed(FIRST, 1 - FIRST)), Zero(), 9.0)
    assert not estimate.any()


@pytest.mark.parametrize("kind", [SequentialMeasurementScore, MeasurementScore])
def test_coordinates_without_cover_keep_their_estimate_and_are_reported(kind: Any) -> None:
    rule = kind(Identity(), Fixed(FIRST), DDIM(0.5))
    _, before, carry = one_step(kind(Identity(), Fixed(torch.ones(SIZE)), DDIM(0.5)), ORACLE, 9.0)
    assert not carry.uncovered.any()
    _, after, carry = one_step(rule, ORACLE, 8.0, carry)
    assert torch.equal(after[..., 20:], before[..., 20:])
    assert carry.uncovered.tolist() == [12, 12]
    with pytest.warns(UncoveredWarning, match=r"2 of 2 samples .*up to 240 over all levels"):
        steps = walk(rule)
    assert steps[-1].carry.uncovered.tolist() == [240, 240]
    assert not walk(kind(Identity(), ComplementaryPair(), DDIM(0.5)))[-1].carry.uncovered.any()


def test_solvers_that_ask_twice_are_refused() -> None:
    walk(SequentialMeasurementScore(Identity(), ComplementaryPair(), DPMSolverPP2M()))
    with pytest.raises(ValueError, match="more than once per step"):
        walk(SequentialMeasurementScore(Identity(), ComplementaryPair(), Heun()))


def test_coils_on_any_schedule() -> None:
    fields, mask = maps(), columns()
    operator, schedule = CoilFourier(fields), EDM(0.05, 3.0)
    y = mask * operator.forward(image())
    denoiser = EpsPartialDenoiser(lambda u, tau: torch.tanh(u), schedule, operator, lambda t: t)
    step = RelaxedStep(ProximalStep(PixelMask(mask), y, 0.01))
    rule = SequentialMeasurementScore(operator, CoveringViews(RandomColumns(16, 2.0, 4)), data_step=step)
    streams = Streams(range(3))
    steps = list(trajectory(denoiser, 3 * streams.normal_like(y), Karras(5), rule, streams=streams))
    assert steps[-1].x.isfinite().all()
    assert not steps[-1].carry.uncovered.any()
    assert torch.view_as_real(mask * (steps[-1].x - y)).abs().max() < 0.05


def test_sources_of_views() -> None:
    draws = Streams(range(3))
    pair = CoveringViews(Cells(16))(draws)
    assert pair.shape == (3, 2, 1, 16, 16)
    assert pair.sum(1).min() >= 1
    assert CoveringViews(Cells(16), 5)(draws).shape[1] == 5
    alone = IndependentViews(Cells(16), 3)(draws)
    assert alone.shape == (3, 3, 1, 16, 16)
    assert not torch.equal(alone[:, 0], alone[:, 1])
    for wrong in (CoveringViews, IndependentViews):
        with pytest.raises(ValueError, match="count: found 0"):
            wrong(Cells(16), 0)


def test_density_follows_the_noise_level() -> None:
    few, more, most = IndependentMasks(1, 6), IndependentMasks(1, 10), IndependentMasks(1, 15)
    chosen = DensitySchedule(few, ((1.0, more), (0.1, most)))
    assert [chosen.at(rho) for rho in (50.0, 1.01, 1.0, 0.2, 0.1, 0.0)] == [few, few, more, more, most, most]
    kept = [int(draw_views(chosen, Streams([1]), rho).sum()) for rho in (5.0, 0.5, 0.01)]
    assert kept == [12, 20, 30]
    counted: list[float] = []

    class Watching(GaussianPartialDenoiser):
        def __call__(self, x: Tensor, t: Tensor, mask: Tensor, cond: Condition = EMPTY) -> Prediction:
            counted.append(float(mask[0].sum()))
            return super().__call__(x, t, mask, cond)

    pairs = DensitySchedule(Fixed(FIRST, 1 - FIRST), ((1.0, Fixed(torch.ones(SIZE))),))
    walk(MeasurementScore(Identity(), pairs, DDIM(1.0)), Watching(TABLE, covariance()))
    assert counted == sorted(counted)
    assert set(counted) == {20, 32}
    for wrong in (((0.1, few), (1.0, more)), ((0.0, few),), ((1.0, few), (1.0, few))):
        with pytest.raises(ValueError, match="later: found the ratios"):
            DensitySchedule(few, wrong)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="inject: found 'none'"):
        SequentialMeasurementScore(Identity(), ComplementaryPair(), inject="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="eta: found 2"):
        SequentialMeasurementScore(Identity(), ComplementaryPair(), eta=2)
    with pytest.raises(ValueError, match="corrector: found 1"):
        MeasurementScore(Identity(), ComplementaryPair(), corrector=1)
    with pytest.raises(ValueError, match="views: found masks of shape"):
        draw_views(lambda draws: torch.ones(2, 0, 1, 1, SIZE), Streams([1, 2]), 1.0)
    start = torch.zeros(1, 1, 1, SIZE, dtype=torch.float64)
    rule = SequentialMeasurementScore(Identity(), ComplementaryPair())
    with pytest.raises(ValueError, match="streams: found None"):
        next(trajectory(ORACLE, start, Levels(), rule))
