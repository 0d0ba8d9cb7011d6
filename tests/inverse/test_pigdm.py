"""PiGDM is the exact posterior of a Gaussian where its r_t is the true one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.inverse.gaussian import COVARIANCE, MASK, MATRIX, NOISE, SIZE, TABLE, correlated, data, white
from torch import Tensor

from skiagraph.diffusion.grid import LogSNR
from skiagraph.diffusion.oracle import GaussianDenoiser
from skiagraph.diffusion.rules import DDIM
from skiagraph.diffusion.sampling import final, trajectory
from skiagraph.diffusion.schedule import EDM, VPLinear
from skiagraph.inverse.pigdm import PiGDM
from skiagraph.physics.selection import DenseOperator, PixelMask


@pytest.mark.parametrize("schedule", [TABLE, EDM(), VPLinear()], ids=["table", "edm", "vp"])
def test_pigdm_is_the_exact_denoiser_of_the_posterior(schedule: Any) -> None:
    y, x = data(size=2), data(3)
    operator = DenseOperator(MATRIX)
    for share in (0.05, 0.5, 0.95):
        t = torch.tensor(schedule.span[1] + share * (schedule.span[0] - schedule.span[1]), dtype=torch.float64)
        exact = white(schedule).posterior(MATRIX, y, NOISE**2)(x, t).x0
        assert torch.allclose(PiGDM(white(schedule), operator, y, NOISE)(x, t).x0, exact, atol=1e-8)


def test_pigdm_of_a_correlated_prior_with_orthogonal_data() -> None:
    """r_t^2 is the variance of what is measured given x_t, here one eigenvector of the prior: exact again."""
    values, vectors = torch.linalg.eigh(COVARIANCE)
    row = vectors[:, -1:].T
    y, x, prior = data(size=1), data(3), correlated()

    def variance(t: Tensor) -> Tensor:
        alpha, sigma = TABLE(t)
        return values[-1] * sigma**2 / (alpha**2 * values[-1] + sigma**2)

    t = torch.tensor(8.0, dtype=torch.float64)
    found = PiGDM(prior, DenseOperator(row), y, NOISE, variance=variance)(x, t).x0
    assert torch.allclose(found, prior.posterior(row, y, NOISE**2)(x, t).x0, atol=1e-9)


def test_pigdm_reaches_the_posterior_law() -> None:
    """With unit draws the walk's end is its response to every draw: mean and covariance without Monte Carlo."""
    schedule, y = EDM(0.002, 200.0), data(size=2)[:1]
    exact = white(schedule).posterior(MATRIX, y[0], NOISE**2)
    times = LogSNR(400)(schedule)
    start = torch.cat([torch.zeros(1, SIZE), torch.eye(SIZE)]).double() * float(times[0])
    guided = PiGDM(white(schedule), DenseOperator(MATRIX), y.expand(SIZE + 1, 2), NOISE)
    end = final(trajectory(guided, start, times, DDIM(0.0)))
    response = end[1:] - end[:1]
    assert torch.allclose(end[0], exact.mean, atol=5e-3)
    assert exact.covariance is not None
    assert torch.allclose(response.T @ response, exact.covariance, atol=5e-3)


def test_pigdm_takes_complex_states() -> None:
    """Real and imaginary part by themselves give the numbers of the complex state."""
    x, y = torch.complex(data(3), data(4)), torch.complex(MASK * data(5), MASK * data(6))
    mean, variance = torch.zeros(SIZE, dtype=torch.float64), torch.full((SIZE,), 0.25, dtype=torch.float64)
    prior = GaussianDenoiser(TABLE, mean, variance)
    t = torch.tensor(8.0, dtype=torch.float64)
    whole = PiGDM(prior, PixelMask(MASK), y, NOISE)(x, t).x0
    parts = [PiGDM(prior, PixelMask(MASK), b, NOISE)(a, t).x0 for a, b in ((x.real, y.real), (x.imag, y.imag))]
    assert torch.allclose(whole, torch.complex(*parts), atol=1e-12)
