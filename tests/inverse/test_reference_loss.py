"""The released loss equals a literal evaluation, and for images the identity of section 3."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.inverse import literal
from tests.inverse.yardstick import Identity
from torch import Tensor

from skiagraph.diffusion.schedule import linear_table
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.objective import reference_loss
from skiagraph.physics.fourier import CoilFourier
from skiagraph.physics.masks import Cells, RandomColumns

SCHEDULE = linear_table().respaced("ddim200")
TIMES = torch.tensor([0.0, 3.0, 60.0, 199.0], dtype=torch.float64)
DRAWS = Streams(range(len(TIMES)))
CELLS = Cells(16).draw(DRAWS).double()
COLUMNS = RandomColumns(14, 3.0, 4).draw(DRAWS).double()


def network(u: Any, tau: Any, module: Any = torch) -> Any:
    """A small nonlinear function of image and time, the same in torch and in numpy."""
    return module.tanh(0.9 * u + 0.4 * module.roll(u, 1, -1) - tau / 900)


def _torch_network(u: Tensor, tau: Tensor) -> Tensor:
    return network(u, tau.reshape(-1, 1, 1, 1))


def _literal(space: Any, item: int, measurement: Tensor, mask: Tensor, noise: Tensor) -> float:
    bar = literal.scale_levels(5)[int(TIMES[item])]
    values = (value[item].numpy() for value in (measurement, mask, noise))
    return literal.loss(lambda u, tau: network(u, tau, np), space, bar, 5 * float(TIMES[item]), *values)


def _maps() -> Tensor:
    maps = Streams(range(10, 14)).normal(5, 7, 14, dtype=torch.complex128)
    return maps / maps.abs().square().sum(1, keepdim=True).sqrt()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
def test_images(dtype: torch.dtype, tolerance: float) -> None:
    s = CELLS * Streams(range(20, 24)).normal(3, 16, 16, dtype=torch.float64)
    noise = Streams(range(30, 34)).normal(3, 16, 16, dtype=torch.float64)
    found = reference_loss(
        _torch_network,
        SCHEDULE,
        Identity(),
        s.to(dtype),
        CELLS.to(dtype),
        TIMES,
        noise.to(dtype),
        (5 * TIMES).to(dtype),
    )
    expected = [_literal(literal.Images(), item, s, CELLS, noise) for item in range(4)]
    assert found.shape == (4,)
    assert found.tolist() == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.complex128, 1e-10), (torch.complex64, 1e-4)])
def test_coils_of_an_odd_size(dtype: torch.dtype, tolerance: float) -> None:
    maps, real = _maps(), dtype.to_real()
    image = Streams(range(20, 24)).normal(2, 7, 14, dtype=torch.float64)
    s = COLUMNS * CoilFourier(maps).forward(image)
    noise = Streams(range(30, 34)).normal(5, 7, 14, dtype=torch.complex128)
    found = reference_loss(
        _torch_network,
        SCHEDULE,
        CoilFourier(maps.to(dtype)),
        s.to(dtype),
        COLUMNS.to(real),
        TIMES,
        noise.to(dtype),
        (5 * TIMES).to(real),
    )
    expected = [_literal(literal.Coils(maps[item].numpy()), item, s, COLUMNS, noise) for item in range(4)]
    # At rho = 0.01 single precision leaves an error of 1e-5 in a difference that is then divided by rho.
    assert found.tolist() == pytest.approx(expected, rel=tolerance)


def test_for_images_it_is_the_kept_fraction_times_the_error_of_the_noise() -> None:
    s = CELLS * Streams(range(20, 24)).normal(3, 16, 16, dtype=torch.float64)
    noise = Streams(range(30, 34)).normal(3, 16, 16, dtype=torch.float64)
    found = reference_loss(_torch_network, SCHEDULE, Identity(), s, CELLS, TIMES, noise, 5 * TIMES)
    alpha, sigma = (value.reshape(-1, 1, 1, 1) for value in SCHEDULE(TIMES))
    eps = _torch_network(CELLS * (alpha * s + sigma * noise), 5 * TIMES)
    observed = [(noise - eps)[i][CELLS[i].expand(3, 16, 16) > 0].square().mean() for i in range(4)]
    assert CELLS.mean() == 10 / 16
    assert found.tolist() == pytest.approx([10 / 16 * float(value) for value in observed], rel=1e-6)


def test_one_time_for_the_batch_and_noise_off_the_mask_without_effect() -> None:
    s = CELLS * Streams(range(20, 24)).normal(3, 16, 16, dtype=torch.float64)
    noise = Streams(range(30, 34)).normal(3, 16, 16, dtype=torch.float64)
    tau = torch.full((4,), 300.0, dtype=torch.float64)
    at = torch.tensor(60.0, dtype=torch.float64)
    found = reference_loss(_torch_network, SCHEDULE, Identity(), s, CELLS, at, noise, tau)
    every = reference_loss(_torch_network, SCHEDULE, Identity(), s, CELLS, at.expand(4), noise, tau)
    assert torch.equal(found, every)
    louder = torch.where(CELLS > 0, noise, 5 * noise)
    assert torch.equal(found, reference_loss(_torch_network, SCHEDULE, Identity(), s, CELLS, at, louder, tau))
