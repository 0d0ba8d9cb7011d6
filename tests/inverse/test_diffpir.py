"""DiffPIR is its two formulas."""

from __future__ import annotations

import torch
from tests.inverse.gaussian import BATCH, MATRIX, NOISE, SIZE, TABLE, correlated, data, white

from skiagraph.diffusion.denoiser import EMPTY
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.diffpir import DiffPIR
from skiagraph.physics.selection import DenseOperator


def test_diffpir_is_its_two_formulas() -> None:
    operator, y, x = DenseOperator(MATRIX), data(size=2), data(3)
    t, s = torch.tensor(8.0, dtype=torch.float64), torch.tensor(7.0, dtype=torch.float64)
    streams = Streams(range(BATCH))
    x_s, x0, _ = DiffPIR(operator, y, NOISE, 8.0, 0.3)(correlated(), x, t, s, EMPTY, streams, None)
    (alpha, sigma), (alpha_s, sigma_s) = TABLE(t), TABLE(s)
    pull = operator.adjoint(y - operator.forward(x0)) - 8 * NOISE**2 * (alpha / sigma) ** 2 * (
        x0 - correlated()(x, t).x0
    )
    assert pull.abs().max() < 1e-10
    noise = Streams(range(BATCH)).normal(SIZE, dtype=torch.float64)
    eps = (x - alpha * x0) / sigma
    assert torch.allclose(x_s, alpha_s * x0 + sigma_s * (0.7**0.5 * eps + 0.3**0.5 * noise), atol=1e-12)


def test_diffpir_with_unit_strength_is_the_posterior_mean_of_a_flat_prior() -> None:
    """lambda = 1 and a prior so wide that x0 = x / alpha: the data step is exact Bayes with r_t = rho_t."""
    y, x = data(size=2), data(3)
    t, s = torch.tensor(8.0, dtype=torch.float64), torch.tensor(-1.0, dtype=torch.float64)
    prior = white(scale=1e4)
    _, x0, _ = DiffPIR(DenseOperator(MATRIX), y, NOISE, 1.0)(prior, x, t, s, EMPTY, None, None)
    assert torch.allclose(x0, prior.posterior(MATRIX, y, NOISE**2)(x, t).x0, atol=1e-5)
