"""DDNM meets noise-free data exactly and is Bayes' rule where a prior is white; its noise mixing keeps the variance."""

from __future__ import annotations

import pytest
import torch
from tests.helpers.walks import UnitDraws
from tests.inverse.gaussian import MASK, MATRIX, NOISE, TABLE, correlated, data, walk, white
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Prediction
from skiagraph.diffusion.grid import Levels
from skiagraph.diffusion.sampling import trajectory
from skiagraph.inverse.ddnm import DDNM
from skiagraph.inverse.mixing import DDNMMixing
from skiagraph.physics.selection import DenseOperator, PixelMask


def test_noise_free_ddnm_meets_the_data_exactly() -> None:
    for operator, y in ((PixelMask(MASK), MASK * data()), (DenseOperator(MATRIX), data(size=2))):
        found = walk(DDNM(correlated(), operator, y), DDNMMixing())
        assert torch.allclose(operator.forward(found), y, rtol=0, atol=1e-12)
        assert found.std() > 0.1


def test_noise_free_ddnm_keeps_the_null_space_of_the_estimate() -> None:
    operator, x = DenseOperator(MATRIX), data(3)
    t = torch.tensor(8.0, dtype=torch.float64)
    prior, found = correlated()(x, t).x0, DDNM(correlated(), operator, data(size=2))(x, t).x0
    moved = found - prior
    assert torch.allclose(operator.pinv(operator.forward(moved)), moved, atol=1e-12)


def test_ddnm_with_noise_minimises_its_objective() -> None:
    operator, y, x = DenseOperator(MATRIX), data(size=2), data(3)
    t = torch.tensor(8.0, dtype=torch.float64)
    alpha, sigma = (float(value) for value in TABLE(t))
    prior = correlated()(x, t).x0
    found = DDNM(correlated(), operator, y, NOISE, 0.5)(x, t).x0
    width = 1 / ((alpha / sigma) ** 2 + 1 / 0.5**2)
    pull = operator.adjoint(y - operator.forward(found)) / NOISE**2 - (found - prior) / width
    assert pull.abs().max() < 1e-10


def test_ddnm_with_noise_is_the_exact_posterior_mean_of_a_white_prior() -> None:
    y, x = data(size=2), data(3)
    t = torch.tensor(8.0, dtype=torch.float64)
    found = DDNM(white(), DenseOperator(MATRIX), y, NOISE, 0.5)(x, t).x0
    exact = white().posterior(MATRIX, y, NOISE**2)(x, t).x0
    assert torch.allclose(found, exact, atol=1e-10)


def test_ddnm_mixing_has_the_variance_it_promises() -> None:
    """x0 constant: the state at every level is alpha x0 + sigma n with n of unit variance, for any eta."""

    class Constant:
        schedule = TABLE

        def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
            return Prediction(torch.zeros_like(x))

    for eta in (0.0, 0.85, 1.0):
        draws = UnitDraws(21)
        start = draws.normal_like(torch.zeros(21, 1, dtype=torch.float64)) * float(TABLE(19.0)[1])
        for step in trajectory(Constant(), start, Levels(), DDNMMixing(eta), streams=draws):  # type: ignore[arg-type]
            assert float(step.x.square().sum()) == pytest.approx(float(TABLE(step.s)[1]) ** 2, abs=1e-12)
