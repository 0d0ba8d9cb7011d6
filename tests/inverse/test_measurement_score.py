"""The default rule: coverage by mask, parallel views, data steps, seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from tests.inverse.replay import RecordedNoise
from tests.inverse.scans import Mixing, columns, image, maps, network
from tests.inverse.yardstick import SIZE, ComplementaryPair, Identity, covariance
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Prediction
from skiagraph.diffusion.grid import Karras, Levels
from skiagraph.diffusion.rules import DDIM, DDPM, DPMSolverPP2M, Heun
from skiagraph.diffusion.sampling import Step, final, trajectory
from skiagraph.diffusion.schedule import EDM, linear_table
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.consistent import ConsistentDenoiser
from skiagraph.inverse.data_consistency import ProximalStep, RelaxedStep
from skiagraph.inverse.measurement_score import MeasurementScore
from skiagraph.inverse.mixing import DDNMMixing
from skiagraph.inverse.partial import EpsPartialDenoiser, GaussianPartialDenoiser
from skiagraph.physics.fourier import CoilFourier
from skiagraph.physics.masks import Cells, RandomColumns
from skiagraph.physics.selection import PixelMask

TABLE = linear_table().respaced("ddim20")
ORACLE = GaussianPartialDenoiser(TABLE, covariance())
HALF = torch.zeros(SIZE, dtype=torch.float64)
HALF[::2] = 1


@dataclass(frozen=True)
class Fixed:
    """The same masks, (w, ...), for every sample at every step."""

    masks: Tensor

    def __call__(self, draws: Streams) -> Tensor:
        return self.masks.expand(len(draws), *self.masks.shape)


@dataclass(frozen=True)
class Covering:
    """Covering sets of a family of the library."""

    family: Any

    def __call__(self, draws: Streams) -> Tensor:
        return self.family.covering(draws)


def steps(rule: Any, seeds: Any = range(3), denoiser: Any = ORACLE) -> list[Step]:
    streams = Streams(seeds)
    start = streams.normal(1, 1, SIZE, dtype=torch.float64)
    kept = start.clone()
    walked = list(trajectory(denoiser, start, Levels(), rule, streams=streams))
    assert torch.equal(start, kept)
    return walked


def step_at(rule: Any, x: Tensor, t: float, carry: Any = None, denoiser: Any = ORACLE) -> tuple[Tensor, Tensor, Any]:
    time = torch.tensor(t, dtype=torch.float64)
    return rule(denoiser, x, time, time - 1, EMPTY, Streams(range(len(x))), carry)


def test_the_estimate_is_the_average_over_the_masks_that_cover() -> None:
    masks = torch.stack([HALF, (torch.arange(SIZE) < 20).double(), 1 - HALF])[:, None, None]
    x = Streams([1, 2]).normal(1, 1, SIZE, dtype=torch.float64)
    _, x0, carry = step_at(MeasurementScore(Identity(), Fixed(masks), DDIM(0.0)), x, 9.0)
    t = torch.tensor(9.0, dtype=torch.float64)
    views = [mask * ORACLE(x, t, mask.expand(2, 1, 1, SIZE)).x0 for mask in masks]
    assert torch.allclose(x0, sum(views) / masks.sum(0), atol=1e-12)
    assert not carry.uncovered.any()


def test_uncovered_coordinates_keep_their_last_estimate_and_are_counted() -> None:
    masks = (torch.arange(SIZE) < 20).double()[None, None, None]
    rule = MeasurementScore(Identity(), Fixed(masks), DDIM(0.0))
    x = Streams([1, 2]).normal(1, 1, SIZE, dtype=torch.float64)
    _, x0, carry = step_at(rule, x, 9.0)
    assert not x0[..., 20:].any()
    assert carry.uncovered.tolist() == [12, 12]
    full = MeasurementScore(Identity(), Fixed(torch.ones_like(masks)), DDIM(0.0))
    _, before, everything = step_at(full, x, 9.0)
    assert not everything.uncovered.any()
    _, after, carry = step_at(rule, x + 1, 8.0, everything)
    assert torch.equal(after[..., 20:], before[..., 20:])
    assert not torch.isclose(after[..., :20], before[..., :20]).any()
    assert carry.uncovered.tolist() == [12, 12]
    _, _, carry = step_at(rule, x + 2, 7.0, carry)
    assert carry.uncovered.tolist() == [24, 24]


def test_covering_sets_of_the_library_leave_nothing_out() -> None:
    pair = Covering(Cells((1, SIZE), (1, 16), roll=(0, 2)))
    assert steps(MeasurementScore(Identity(), pair, DDIM(1.0)))[-1].carry.uncovered.tolist() == [0, 0, 0]


def test_an_estimate_of_exactly_zero_is_an_estimate() -> None:
    """Coverage is read from the masks: the last estimate does not come back where the new one is zero."""

    class Zero:
        schedule = TABLE

        def __call__(self, x: Tensor, t: Tensor, mask: Tensor, cond: Condition = EMPTY) -> Prediction:
            return Prediction(torch.zeros_like(x))

    full = MeasurementScore(Identity(), Fixed(torch.ones(1, 1, 1, SIZE, dtype=torch.float64)), DDIM(0.0))
    x = Streams([1]).normal(1, 1, SIZE, dtype=torch.float64)
    _, before, carry = step_at(full, x, 9.0)
    _, after, carry = step_at(full, x, 8.0, carry, Zero())
    assert before.all()
    assert not after.any()
    assert not carry.uncovered.any()


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_an_exact_zero_in_the_data_is_data(noise: float) -> None:
    mask = HALF.reshape(1, 1, 1, SIZE)
    proximal = ProximalStep(PixelMask(mask), torch.zeros(3, 1, 1, SIZE, dtype=torch.float64), noise)
    end = steps(MeasurementScore(Identity(), ComplementaryPair(), data_step=RelaxedStep(proximal)))[-1].x
    measured, others = ((kept * end).square().mean().sqrt() for kept in (mask, 1 - mask))
    assert measured <= 3 * noise
    assert others > 0.1


def test_average_full_takes_every_view_everywhere() -> None:
    masks = torch.stack([HALF, 1 - HALF])[:, None, None]

    class Constant:
        schedule = TABLE

        def __call__(self, x: Tensor, t: Tensor, mask: Tensor, cond: Condition = EMPTY) -> Prediction:
            return Prediction(mask[..., :1].expand_as(x) * torch.ones_like(x))

    rule = MeasurementScore(Identity(), Fixed(masks), DDIM(0.0), average="full")
    _, x0, _ = step_at(rule, torch.zeros(2, 1, 1, SIZE, dtype=torch.float64), 9.0, None, Constant())
    assert torch.equal(x0, torch.full_like(x0, 0.5))


@pytest.mark.parametrize("solver", [DDNMMixing(), DDIM(0.5), DDPM(), Heun(), DPMSolverPP2M()])
def test_every_solver_takes_the_step_and_a_batch_equals_its_samples(solver: Any) -> None:
    proximal = ProximalStep(PixelMask(HALF.reshape(1, 1, 1, SIZE)), torch.zeros(1, 1, 1, SIZE).double(), 0.01)
    rule = MeasurementScore(Identity(), ComplementaryPair(), solver, RelaxedStep(proximal))
    whole = steps(rule)[-1].x
    assert whole.isfinite().all()
    for item in range(3):
        assert torch.equal(steps(rule, [item])[-1].x, whole[[item]])
    assert torch.equal(steps(rule)[-1].x, whole)
    assert not torch.equal(steps(rule, range(1, 4))[-1].x, whole)


def test_masks_have_streams_of_their_own() -> None:
    """A solver that draws more or less leaves the masks as they are, and mask draws leave the noise as it is."""
    drawn: list[Tensor] = []

    class Watching:
        def __call__(self, draws: Streams) -> Tensor:
            drawn.append(ComplementaryPair()(draws))
            return drawn[-1]

    for eta in (0.0, 1.0):
        steps(MeasurementScore(Identity(), Watching(), DDIM(eta)))
    first, second = drawn[:20], drawn[20:]
    assert len(second) == 20
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], first[1])


def test_the_measurement_score_of_coils_end_to_end() -> None:
    """Covering column views of a multi-coil scan: the data are met to their noise, one scan or three at once."""
    fields, mask, noise = maps(), columns(), 0.02
    full = CoilFourier(fields).forward(image())
    y = mask * (full + noise * Streams([7, 8, 9]).normal_like(full))
    module = network(Mixing())
    views = Covering(RandomColumns(16, 2.0, 4))

    def run(rows: slice) -> Tensor:
        schedule, operator = EDM(0.05, 3.0), CoilFourier(fields[rows])
        data_step = RelaxedStep(ProximalStep(PixelMask(mask[rows]), y[rows], noise, 0.25**2))
        rule = MeasurementScore(operator, views, data_step=data_step)
        streams = Streams(range(3)[rows])
        start = 3 * streams.normal_like(y[rows])
        denoiser = ConsistentDenoiser(module, schedule, fields[rows])
        with torch.no_grad():
            walked = list(trajectory(denoiser, start, Karras(6), rule, streams=streams))
        assert not walked[-1].carry.uncovered.any()
        return walked[-1].x

    whole = run(slice(0, 3))
    residual = torch.view_as_real(mask * (whole - y)).square().sum() / (2 * 4 * 12 * mask.sum())
    assert residual < noise**2
    for item in range(3):
        assert torch.allclose(run(slice(item, item + 1)), whole[[item]], rtol=0, atol=1e-6)


def test_wrong_use_is_refused() -> None:
    rule = MeasurementScore(Identity(), ComplementaryPair())
    x = torch.zeros(1, 1, 1, SIZE, dtype=torch.float64)
    with pytest.raises(ValueError, match="streams: found None"):
        final(trajectory(ORACLE, x, Levels(), rule))
    with pytest.raises(ValueError, match="average: found 'mean'"):
        MeasurementScore(Identity(), ComplementaryPair(), average="mean")  # type: ignore[arg-type]
    partial = EpsPartialDenoiser(lambda u, tau: u, TABLE, Identity(), TABLE.original_index)
    with pytest.raises(ValueError, match="cond: found"):
        partial(x, torch.tensor(1.0), torch.ones_like(x), {"label": 1})


def test_recorded_noise_is_a_source_of_draws_too() -> None:
    """The default rule takes replayed noise: a solver's Gaussians in order, one per level but the last."""
    masks = torch.stack([HALF, 1 - HALF])[:, None, None]
    values = [Streams([1, 2]).fork(str(k)).normal(1, 1, SIZE, dtype=torch.float64) for k in range(20)]
    noise = RecordedNoise(values)
    start = noise.normal_like(values[0])
    rule = MeasurementScore(Identity(), Fixed(masks), DDNMMixing())
    end = final(trajectory(ORACLE, start, Levels(), rule, streams=noise))  # type: ignore[arg-type]
    assert noise.used == 20
    z = start
    for t in range(19, -1, -1):
        bar, below = TABLE.alpha_bar[t], TABLE.alpha_bar[t - 1] if t > 0 else 1.0
        time = torch.tensor(float(t), dtype=torch.float64)
        z_hat = sum(mask * ORACLE(z, time, mask.expand_as(z)).x0 for mask in masks)
        if t == 0:
            z = z_hat
            break
        eps = (z - bar**0.5 * z_hat) / (1 - bar) ** 0.5
        z = below**0.5 * z_hat + (1 - below) ** 0.5 * (0.85 * values[20 - t] + (1 - 0.85**2) ** 0.5 * eps)
    assert torch.allclose(end, z, atol=1e-10)
