"""The variational term against its formulas, and the hybrid loss of the released objective."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import NetworkDenoiser
from skiagraph.diffusion.objective import P2Weight, noise_weight
from skiagraph.diffusion.reverse import reverse_step
from skiagraph.diffusion.schedule import VPLinear, linear_table, perturb
from skiagraph.diffusion.variational import hybrid_loss, variational_term

TABLE = linear_table().respaced("ddim250")
GENERATOR = torch.Generator().manual_seed(0)
X0 = (torch.rand(6, 1, 3, 3, generator=GENERATOR, dtype=torch.float64) * 2 - 1).round(decimals=1)
NOISE = torch.randn(X0.shape, generator=GENERATOR, dtype=torch.float64)
T = torch.tensor([0.0, 1.0, 25.0, 125.0, 249.0, 0.0])
WEIGHTS = torch.randn(2, 1, generator=GENERATOR, dtype=torch.float64, requires_grad=True)


def network(x: Tensor, time: Tensor) -> Tensor:
    """eps and v from two weights."""
    return torch.cat([WEIGHTS[0] * x, torch.tanh(WEIGHTS[1] * x)], 1)


DENOISER = NetworkDenoiser(network, TABLE, learned_variance=True)


def normal(u: Tensor) -> Tensor:
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))


def by_hand(sample: int) -> float:
    """One sample, from betas and abar."""
    abar = torch.tensor(TABLE.alpha_bar, dtype=torch.float64)
    before = torch.cat([torch.ones(1, dtype=torch.float64), abar[:-1]])
    beta = 1 - abar / before
    small = beta * (1 - before) / (1 - abar)
    i, x0 = int(T[sample]), X0[sample]
    x = abar[i].sqrt() * x0 + (1 - abar[i]).sqrt() * NOISE[sample]
    eps, v = network(x[None], T[sample : sample + 1])[0].detach().chunk(2)
    share = (v + 1) / 2
    log_small = small[max(i, 1)].log()
    log_var = share * beta[i].log() + (1 - share) * log_small
    guess = x / abar[i].sqrt() - ((1 - abar[i]) / abar[i]).sqrt() * eps
    of_x0, of_x = (
        beta[i] * before[i].sqrt() / (1 - abar[i]),
        (1 - before[i]) * (1 - beta[i]).sqrt() / (1 - abar[i]),
    )
    mean = of_x0 * guess + of_x * x
    if i == 0:
        upper, lower = (normal((x0 - mean + edge) * torch.exp(-0.5 * log_var)) for edge in (1 / 255, -1 / 255))
        mass = torch.where(x0 < -0.999, upper, torch.where(x0 > 0.999, 1 - lower, upper - lower))
        return float(-(mass.clamp(min=1e-12).log()).mean() / math.log(2))
    true = of_x0 * x0 + of_x * x
    ratio = (log_small - log_var).exp()
    divergence = 0.5 * (log_var - log_small - 1 + ratio + (true - mean) ** 2 * (-log_var).exp())
    return float(divergence.mean() / math.log(2))


def test_term_is_the_formula() -> None:
    state = perturb(TABLE, X0, T, NOISE)
    found = variational_term(TABLE, DENOISER(state, T), X0, state, T)
    assert found.tolist() == pytest.approx([by_hand(k) for k in range(6)], rel=1e-9)


def test_the_mean_learns_nothing_from_it() -> None:
    state = perturb(TABLE, X0, T, NOISE)
    variational_term(TABLE, DENOISER(state, T), X0, state, T).sum().backward()
    assert WEIGHTS.grad is not None
    assert float(WEIGHTS.grad[0]) == 0
    assert float(WEIGHTS.grad[1]) != 0


def test_hybrid_loss_of_the_released_objective() -> None:
    """loss = mean of sqrt(1 - abar) (eps - eps_hat)^2 + vb."""
    state = perturb(TABLE, X0, T, NOISE)
    eps = network(state, T)[:, :1]
    abar = torch.tensor(TABLE.alpha_bar, dtype=torch.float64)[T.long()]
    weighted = (1 - abar).sqrt() * (NOISE - eps).square().flatten(1).mean(1)
    vb = variational_term(TABLE, DENOISER(state, T), X0, state, T)
    found = hybrid_loss(DENOISER, X0, T, NOISE, weight=P2Weight(1.0, 0.5))
    assert torch.allclose(found, weighted + vb, rtol=1e-9)
    plain = hybrid_loss(DENOISER, X0, T, NOISE, coefficient=0.25)
    assert torch.allclose(plain, (NOISE - eps).square().flatten(1).mean(1) + 0.25 * vb, rtol=1e-9)
    assert torch.allclose(hybrid_loss(DENOISER, X0, T, NOISE, coefficient=0.0), plain - 0.25 * vb, rtol=1e-9)


def test_weights_at_three_times() -> None:
    t = torch.tensor([0.0, 100.0, 500.0])
    weight = P2Weight(1.0, 0.5)(linear_table(), t) / noise_weight(linear_table(), t)
    assert [round(value, 3) for value in weight.tolist()] == [0.010, 0.324, 0.960]


def test_spaced_chain() -> None:
    """Betas of the spaced chain and its clipped posterior log-variance."""
    abar = torch.tensor(TABLE.alpha_bar, dtype=torch.float64)
    before = torch.cat([torch.ones(1, dtype=torch.float64), abar[:-1]])
    beta = 1 - abar / before
    small = beta * (1 - before) / (1 - abar)
    levels = torch.arange(250).double()
    step = reverse_step(TABLE, levels, levels - 1)
    assert torch.allclose(step.log_large, beta.log(), atol=1e-9)
    assert torch.allclose(step.log_small, torch.cat([small[1:2], small[1:]]).log(), atol=1e-9)
    assert torch.allclose(step.of_x0, beta * before.sqrt() / (1 - abar), atol=1e-9)
    assert torch.allclose(step.of_x, (1 - before) * (1 - beta).sqrt() / (1 - abar), atol=1e-9)


def test_refusals() -> None:
    state = perturb(TABLE, X0, T, NOISE)
    silent = NetworkDenoiser(lambda x, time: x, TABLE)
    with pytest.raises(ValueError, match="found no log-variance"):
        variational_term(TABLE, silent(state, T), X0, state, T)
    with pytest.raises(ValueError, match="on a VPLinear"):
        variational_term(VPLinear(), DENOISER(state, T), X0, state, T)
    with pytest.raises(ValueError, match="coefficient: found -1"):
        hybrid_loss(DENOISER, X0, T, NOISE, coefficient=-1.0)
