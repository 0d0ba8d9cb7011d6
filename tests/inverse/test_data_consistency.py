"""Data steps: stationary, exact without noise, the documented limits of relaxation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.inverse.gaussian import MASK, MATRIX, TABLE, correlated, data
from torch import Tensor

from skiagraph.diffusion.rules import DDPM
from skiagraph.inverse.data_consistency import (
    LevelRelaxation,
    ProximalStep,
    RelaxedStep,
    ReleasedColumnStep,
    ReleasedImageStep,
    measured_count,
)
from skiagraph.inverse.ddnm import DDNM
from skiagraph.inverse.diffpir import DiffPIR
from skiagraph.inverse.dps import DPS
from skiagraph.inverse.pigdm import PiGDM
from skiagraph.physics.operator import Compose
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


def residual(state: Tensor, y: Tensor) -> Tensor:
    return (OPERATOR.forward(state) - y).square().sum(1)


@pytest.mark.parametrize("noise", [0.05, torch.tensor([0.02, 0.05, 0.1, 0.0], dtype=torch.float64)])
def test_the_discrepancy_principle_moves_just_to_the_noise(noise: Any) -> None:
    y, z = data(size=2), data(3)
    step = ProximalStep(OPERATOR, y, noise, width="discrepancy")
    found = call(step, z)
    allowed = torch.as_tensor(noise, dtype=torch.float64).square() * y[0].numel()
    assert bool((residual(z, y) > allowed).all())
    assert torch.allclose(residual(found, y), allowed.expand(len(y)), rtol=1e-6, atol=1e-15)
    assert torch.allclose(OPERATOR.pinv(OPERATOR.forward(found - z)), found - z, atol=1e-9)  # no further than needed


def test_the_discrepancy_principle_leaves_what_agrees_alone() -> None:
    z = data(3)
    y = OPERATOR.forward(z) + 0.01
    assert torch.equal(call(ProximalStep(OPERATOR, y, 0.05, width="discrepancy"), z), z)


def test_only_measured_entries_count() -> None:
    y = (MASK * data()).reshape(-1, 1, 1, data().shape[1])
    operator = PixelMask(MASK.reshape(1, 1, 1, -1))
    assert measured_count(operator, y).tolist() == [float(MASK.sum())] * len(y)
    assert measured_count(Compose(operator, operator), y.to(torch.complex128)).tolist() == [2 * MASK.sum()] * len(y)
    assert measured_count(OPERATOR, data(size=2)).tolist() == [2.0] * len(data())


def test_samples_may_have_noise_of_their_own() -> None:
    y, z = data(size=2), data(3)
    levels = torch.tensor([0.1, 0.2, 0.3, 0.0], dtype=torch.float64)
    found = call(ProximalStep(OPERATOR, y, levels), z)
    for item, level in enumerate(levels.tolist()):
        alone = call(ProximalStep(OPERATOR, y[[item]], level), z[[item]])
        assert torch.allclose(found[[item]], alone, atol=1e-12)
    with pytest.raises(ValueError, match="noise_std: found shape"):
        ProximalStep(OPERATOR, y, levels[:2])


def test_relaxation_may_depend_on_the_noise_level() -> None:
    fall = LevelRelaxation(((10.0, 2.0), (1.0, 1.5), (0.01, 1.0)))
    assert [fall(rho) for rho in (50.0, 10.0, 1.0, 0.01, 0.001)] == pytest.approx([2.0, 2.0, 1.5, 1.0, 1.0])
    assert fall(10**0.5) == pytest.approx(1.75)
    y, z = MASK * data(), data(3)
    proximal = ProximalStep(PixelMask(MASK), y, 0.1)
    alpha, sigma = TABLE(LEVEL)
    expected = call(RelaxedStep(proximal, fall(float(sigma / alpha))), z)
    assert torch.allclose(call(RelaxedStep(proximal, fall), z), expected)
    with pytest.raises(ValueError, match=r"relaxation: found 2\.5"):
        LevelRelaxation(((1.0, 2.5),))
    with pytest.raises(ValueError, match="places: found the ratios"):
        LevelRelaxation(((1.0, 1.0), (2.0, 1.0)))
    with pytest.raises(ValueError, match="relaxation: found 3"):
        call(RelaxedStep(proximal, lambda rho: 3.0), z)


def test_wrong_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="width: found 'noise'"):
        ProximalStep(OPERATOR, data(size=2), 0.1, width="noise")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="prior_variance: found 0"):
        ProximalStep(OPERATOR, data(size=2), 0.1, 0)
