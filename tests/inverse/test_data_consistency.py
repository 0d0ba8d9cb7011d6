"""Data steps: stationary, exact without noise, the documented limits of relaxation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.inverse.gaussian import MASK, MATRIX, TABLE, correlated, data
from torch import Tensor

from skiagraph.diffusion.rules import DDPM
from skiagraph.inverse.data_consistency import ProximalStep, RelaxedStep, ReleasedColumnStep, ReleasedImageStep
from skiagraph.inverse.ddnm import DDNM
from skiagraph.inverse.diffpir import DiffPIR
from skiagraph.inverse.dps import DPS
from skiagraph.inverse.pigdm import PiGDM
from skiagraph.physics.selection import DenseOperator, PixelMask

LEVEL = torch.tensor(3.0, dtype=torch.float64)
OPERATOR = DenseOperator(MATRIX)


def call(step: Any, estimate: Tensor, final: bool = False) -> Tensor:
    before = estimate.clone()
    found: Tensor = step(estimate, TABLE, LEVEL, final=final)
    assert torch.equal(estimate, before)
    return found


def test_the_proximal_step_minimises_its_objective() -> None:
    y, z, noise = data(size=2), data(3), 0.2
    found = call(ProximalStep(OPERATOR, y, noise, 0.25), z)
    alpha, sigma = (float(value) for value in TABLE(LEVEL))
    precision = (alpha / sigma) ** 2 + 1 / 0.25
    slope = OPERATOR.adjoint(OPERATOR.forward(found) - y) / noise**2 + precision * (found - z)
    assert slope.abs().max() < 1e-9


def test_without_noise_it_projects_and_moves_no_further_than_needed() -> None:
    y, z = data(size=2), data(3)
    found = call(ProximalStep(OPERATOR, y, 0.0), z)
    assert torch.allclose(OPERATOR.forward(found), y, atol=1e-12)
    assert torch.allclose(OPERATOR.pinv(OPERATOR.forward(found - z)), found - z, atol=1e-12)


def test_relaxation_replaces_reflects_or_does_nothing() -> None:
    y, z = MASK * data(), data(3)
    proximal = ProximalStep(PixelMask(MASK), y, 0.1)
    for lam, expected in ((0.0, z), (1.0, y), (2.0, 2 * y - z)):
        found = call(RelaxedStep(proximal, lam), z)
        assert torch.allclose(MASK * found, MASK * expected, atol=1e-14)
        assert torch.equal((1 - MASK) * found, (1 - MASK) * z)
        assert torch.equal(call(released_image(proximal, lam), z), found)


def released_image(proximal: ProximalStep, lam: float) -> Any:
    """The released step with the pseudo-inverse, behind the interface of the default ones."""
    step = ReleasedImageStep(proximal.operator, proximal.measurement, None, lam)
    return lambda estimate, schedule, t, final: step(estimate)


def test_only_the_last_step_is_proximal() -> None:
    y, z = data(size=2), data(3)
    proximal = ProximalStep(OPERATOR, y, 0.2)
    assert torch.equal(call(RelaxedStep(proximal), z, final=True), call(proximal, z))
    relaxed = call(RelaxedStep(proximal), z)
    assert torch.equal(call(RelaxedStep(proximal, proximal_end=False), z, final=True), relaxed)
    assert not torch.equal(call(proximal, z), relaxed)


@pytest.mark.parametrize("relaxation", [-0.1, 2.1, float("nan")])
def test_relaxation_stays_between_0_and_2(relaxation: float) -> None:
    for make in (
        lambda: RelaxedStep(ProximalStep(OPERATOR, data(size=2), 0.1), relaxation),
        lambda: ReleasedImageStep(OPERATOR, data(size=2), None, relaxation),
    ):
        with pytest.raises(ValueError, match="relaxation: found"):
            make()


@pytest.mark.parametrize("noise", [-0.1, float("nan")])
def test_noise_is_not_negative(noise: float) -> None:
    with pytest.raises(ValueError, match="noise_std: found"):
        ProximalStep(OPERATOR, data(size=2), noise)


@pytest.mark.parametrize(
    "make",
    [
        lambda y: ProximalStep(OPERATOR, y, 0.1),
        lambda y: ReleasedImageStep(OPERATOR, y),
        lambda y: ReleasedColumnStep(MASK, y),
        lambda y: DDNM(correlated(), OPERATOR, y),
        lambda y: DiffPIR(OPERATOR, y, 0.1),
        lambda y: PiGDM(correlated(), OPERATOR, y, 0.1),
        lambda y: DPS(DDPM(), OPERATOR, y),
    ],
)
def test_data_that_are_not_numbers_are_refused(make: Any) -> None:
    y = data(size=2)
    make(y)
    y[0, 0] = torch.nan
    with pytest.raises(ValueError, match="measurement: found 1 values that are not finite"):
        make(y)
