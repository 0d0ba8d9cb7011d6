"""The denoising objective against exact expectations, weights against their definitions."""

from __future__ import annotations

import pytest
import torch

from helpers.walks import MEAN, VARIANCE, gaussian
from skiagraph.diffusion.denoiser import NetworkDenoiser
from skiagraph.diffusion.objective import (
    AntitheticTimes,
    EDMWeight,
    LogNormalTimes,
    MinSNRWeight,
    P2Weight,
    UniformTimes,
    data_weight,
    denoising_loss,
    noise_weight,
    velocity_weight,
)
from skiagraph.diffusion.schedule import EDM, Cosine, Schedule, VPLinear, linear_table, noise_to_signal
from skiagraph.diffusion.streams import Streams

SCHEDULES = [VPLinear(), Cosine(), EDM(), linear_table()]


def test_loss_of_the_exact_denoiser_is_the_posterior_variance() -> None:
    schedule, streams = VPLinear(), Streams(range(20_000))
    x0 = MEAN + VARIANCE.sqrt() * streams.normal(4, dtype=torch.float64)
    t = torch.full((20_000,), 0.3)
    loss = denoising_loss(gaussian(schedule), x0, t, streams.normal_like(x0), weight=data_weight)
    alpha, sigma = schedule(0.3)
    exact = (VARIANCE * sigma**2 / (alpha**2 * VARIANCE + sigma**2)).mean()
    assert loss.shape == (20_000,)
    assert float(loss.mean()) == pytest.approx(float(exact), rel=0.02)


def test_noise_weight_is_the_eps_loss() -> None:
    table = linear_table()
    output = torch.linspace(-1, 1, 24).reshape(2, 3, 4).double()
    denoiser = NetworkDenoiser(lambda x, time: output, table)
    x0, noise = (Streams([0, 1]).fork(name).normal(3, 4, dtype=torch.float64) for name in ("image", "noise"))
    t = torch.tensor([5.0, 700.0])
    loss = denoising_loss(denoiser, x0, t, noise)
    assert torch.allclose(loss, (noise - output).square().flatten(1).mean(1), rtol=1e-9)


def test_velocity_weight_is_the_v_loss() -> None:
    schedule = VPLinear()
    output = torch.linspace(-1, 1, 24).reshape(2, 3, 4).double()
    denoiser = NetworkDenoiser(lambda x, time: output, schedule, "v", "continuous")
    x0, noise = (Streams([0, 1]).fork(name).normal(3, 4, dtype=torch.float64) for name in ("image", "noise"))
    t = torch.tensor([0.2, 0.7]).double()
    alpha, sigma = (value[:, None, None] for value in schedule(t))
    loss = denoising_loss(denoiser, x0, t, noise, weight=velocity_weight)
    expected = (alpha * noise - sigma * x0 - output).square().flatten(1).mean(1)
    assert torch.allclose(loss, expected, rtol=1e-9)


def test_edm_weight_is_the_unit_loss_of_the_preconditioned_network() -> None:
    output = torch.linspace(-1, 1, 24).reshape(2, 3, 4).double()
    denoiser = NetworkDenoiser(lambda x, time: output, EDM(), "edm", "log_rho", sigma_data=0.7)
    x0, noise = (Streams([0, 1]).fork(name).normal(3, 4, dtype=torch.float64) for name in ("image", "noise"))
    t = torch.tensor([0.1, 5.0]).double()
    rho = t[:, None, None]
    skip, out = 0.49 / (rho**2 + 0.49), 0.7 * rho / (rho**2 + 0.49).sqrt()
    target = (x0 - skip * (x0 + rho * noise)) / out
    loss = denoising_loss(denoiser, x0, t, noise, weight=EDMWeight(0.7))
    assert torch.allclose(loss, (output - target).square().flatten(1).mean(1), rtol=1e-9)


def test_other_weights() -> None:
    schedule, t = VPLinear(), torch.tensor([0.05, 0.5, 0.9]).double()
    snr = noise_to_signal(schedule, t) ** -2
    assert torch.allclose(MinSNRWeight(2.0)(schedule, t), torch.minimum(snr, torch.tensor(2.0)))
    # k = 1, q = 1/2 is the eps loss times sigma.
    assert torch.allclose(P2Weight(1.0, 0.5)(schedule, t), noise_weight(schedule, t) * schedule(t)[1])


def test_losses_are_per_sample() -> None:
    x0 = Streams([0, 1, 2]).normal(4, dtype=torch.float64)
    t = torch.tensor([0.2, 0.5, 0.8])
    noise = Streams([7, 8, 9]).normal(4, dtype=torch.float64)
    together = denoising_loss(gaussian(VPLinear()), x0, t, noise)
    for b in range(3):
        one = slice(b, b + 1)
        assert torch.equal(denoising_loss(gaussian(VPLinear()), x0[one], t[one], noise[one]), together[one])


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_times_stay_inside(schedule: Schedule) -> None:
    draws = Streams(range(500))
    for sampler in (UniformTimes(), AntitheticTimes(), LogNormalTimes(0.0, 30.0)):
        t = sampler(schedule, draws)
        assert t.shape == (500,)
        assert t.dtype == torch.float64
        assert float(t.min()) >= schedule.finest * (1 - 1e-9)
        assert float(t.max()) <= schedule.span[0] * (1 + 1e-9)


def test_table_times_are_all_its_levels() -> None:
    table = linear_table().respaced("ddim10")
    for sampler in (UniformTimes(), AntitheticTimes()):
        t = sampler(table, Streams(range(400)))
        assert set(t.tolist()) == set(range(10))


def test_antithetic_times_mirror_each_other() -> None:
    t = AntitheticTimes()(VPLinear(finest=1e-3), Streams(range(7)))
    assert torch.allclose(t[:3] + t[4:], torch.full((3,), 1.001).double())


def test_log_normal_times_have_the_law() -> None:
    t = LogNormalTimes()(EDM(), Streams(range(20_000)))
    assert float(t.log().mean()) == pytest.approx(-1.2, abs=0.03)
    assert float(t.log().std()) == pytest.approx(1.2, abs=0.03)
    with pytest.raises(ValueError, match="deviation"):
        LogNormalTimes(0.0, 0.0)


def test_times_belong_to_their_seed() -> None:
    for sampler in (UniformTimes(), LogNormalTimes()):
        batch = sampler(VPLinear(), Streams([3, 4]))
        assert torch.equal(sampler(VPLinear(), Streams([4])), batch[1:])
