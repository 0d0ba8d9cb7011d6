"""Noise models: what is added makes the noise white, and what is shared is the measurement's own part."""

from __future__ import annotations

import math

import pytest
import torch
from tests.inverse import literal
from torch import Tensor

from skiagraph.diffusion.schedule import linear_table
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.items import measured_items
from skiagraph.inverse.noise_model import CoilNoise, EntryNoise, noise_model, noise_time
from skiagraph.inverse.noisy_objective import NoisyMeasurementObjective
from skiagraph.physics.fourier import CoilFourier

COILS = 3
RHO = torch.tensor([0.5, 0.9], dtype=torch.float64)


def coil_covariance() -> Tensor:
    root = 0.1 * Streams([5]).normal(COILS, COILS, dtype=torch.complex128)[0]
    return root @ root.mH


def units() -> Tensor:
    """(2, 3, 3, 1): all unit vectors over coils, one per row, for two items."""
    return torch.eye(COILS, dtype=torch.complex128)[None, :, :, None].expand(2, -1, -1, -1)


def test_noise_of_correlated_coils_becomes_white() -> None:
    covariance = coil_covariance()
    model = CoilNoise(covariance[None].expand(2, -1, -1))
    assert model.level.tolist() == pytest.approx([float(torch.linalg.eigvalsh(covariance)[-1]) ** 0.5] * 2)
    found = model.added(RHO, units())[..., 0]
    total = found @ found.mH + covariance
    assert torch.allclose(total, RHO[:, None, None].square() * torch.eye(COILS, dtype=torch.complex128), atol=1e-12)
    share = model.share(RHO, units())[..., 0]
    assert torch.allclose(share, covariance / RHO[:, None, None].square(), atol=1e-12)
    least = model.added(model.level, units())[..., 0]
    white = least @ least.mH + covariance
    assert torch.allclose(white, model.level[0].square() * torch.eye(COILS, dtype=torch.complex128), atol=1e-9)


def test_entries_with_levels_of_their_own() -> None:
    levels = torch.tensor([0.1, 0.2, 0.4], dtype=torch.float64).reshape(1, COILS, 1, 1).expand(2, -1, -1, -1)
    model = EntryNoise(levels)
    x = Streams([1, 2]).normal(COILS, 4, 5, dtype=torch.complex128)
    rho = RHO[:, None, None, None]
    assert model.level.tolist() == [0.4, 0.4]
    assert not model.white
    assert torch.allclose(model.added(RHO, x), (rho**2 - levels**2).sqrt() * x)
    assert torch.allclose(model.share(RHO, x), (levels / rho) ** 2 * x)
    plain = EntryNoise(torch.tensor([0.1, 0.6], dtype=torch.float64))
    assert plain.white
    assert torch.allclose(plain.added(RHO, x)[1], math.sqrt(0.81 - 0.36) * x[1])
    assert not plain.added(torch.tensor([0.05, 0.9]), x)[0].any()


def test_what_a_batch_may_state() -> None:
    s, mask = torch.zeros(2, COILS, 4, 5), torch.ones(2, 1, 1, 5)
    mask[..., 0] = 0
    assert noise_model(torch.tensor(0.3), None, s, mask).level.tolist() == pytest.approx([0.3, 0.3])
    assert noise_model(torch.tensor([0.3, 0.1]).reshape(2, 1, 1, 1), None, s, mask).white
    assert noise_model(None, None, s, mask).level.tolist() == [0, 0]
    loud = torch.full((1, 1, 1, 5), 0.2)
    loud[..., 0] = 7  # not observed: its level is nobody's business
    found = noise_model(loud, None, s, mask)
    assert found.level.tolist() == pytest.approx([0.2, 0.2])


def test_the_objective_takes_the_covariance_of_the_coils() -> None:
    """A covariance nu^2 I says the same as the level nu: the same loss."""
    maps = Streams([1, 2]).normal(COILS, 6, 8, dtype=torch.complex128)
    maps = maps / maps.abs().square().sum(1, keepdim=True).sqrt()
    s = CoilFourier(maps).forward(Streams([3, 4]).normal(2, 6, 8, dtype=torch.float64))
    batch = {"measurement": s, "mask": torch.ones(2, 1, 1, 8), "maps": maps}
    schedule = linear_table().respaced("ddim200")
    objective = NoisyMeasurementObjective(schedule)

    def loss(**noise: Tensor) -> Tensor:
        return objective(lambda u, tau: torch.tanh(u), {**batch, **noise}, Streams([1, 2])).loss

    covariance = 0.01 * torch.eye(COILS, dtype=torch.complex128)[None]
    assert torch.allclose(loss(noise_covariance=covariance), loss(noise=torch.tensor(0.1).double()), rtol=1e-6)
    assert loss(noise_covariance=coil_covariance()[None]).isfinite().all()
    assert measured_items({**batch, "noise_covariance": covariance}).noise.level.tolist() == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize("noise", [0.0, 0.004, 0.0100005, 0.1, 3.0, 150.0])
def test_times_of_noise_levels(noise: float) -> None:
    table = linear_table()
    time, alpha_bar = noise_time(table, noise)
    expected = literal.noise_time(noise)
    assert time == pytest.approx(expected[0], abs=1e-9)
    assert alpha_bar == pytest.approx(expected[1], rel=1e-10)


@pytest.mark.parametrize("noise", [-0.1, 200.0, math.nan])
def test_noise_outside_the_table_is_refused(noise: float) -> None:
    with pytest.raises(ValueError, match="noise_std: found"):
        noise_time(linear_table(), noise)
