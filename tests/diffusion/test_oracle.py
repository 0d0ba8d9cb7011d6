"""The exact denoisers against matrix formulas, derivatives of their own densities, and draws."""

from __future__ import annotations

import pytest
import torch

from helpers.zoo import mixture
from skiagraph.diffusion.oracle import GaussianDenoiser, MixtureDenoiser
from skiagraph.diffusion.schedule import EDM, Schedule, VPLinear, linear_table
from skiagraph.diffusion.streams import Streams

SCHEDULES = [VPLinear(), EDM(), linear_table()]


def smooth(n: int) -> torch.Tensor:
    places = torch.arange(n, dtype=torch.float64)
    return torch.exp(-(places[:, None] - places[None, :]).abs() / 3)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_gaussian_mean_is_the_regression_formula(schedule: Schedule) -> None:
    mean, covariance = torch.linspace(-1, 1, 6).double(), smooth(6)
    x = Streams(range(3)).normal(6, dtype=torch.float64)
    t = schedule.time_of(torch.tensor([-1.0, 0.0, 3.0]))
    found = GaussianDenoiser(schedule, mean.reshape(2, 3), covariance=covariance)(x.reshape(3, 2, 3), t).x0
    alpha, sigma = schedule(t)
    for b in range(3):
        total = alpha[b] ** 2 * covariance + sigma[b] ** 2 * torch.eye(6)
        expected = mean + alpha[b] * covariance @ torch.linalg.solve(total, x[b] - alpha[b] * mean)
        assert torch.allclose(found[b].flatten(), expected, atol=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_diagonal_equals_covariance(schedule: Schedule) -> None:
    mean, variance = torch.linspace(-1, 1, 4).double(), torch.tensor([0.1, 1.0, 0.0, 3.0]).double()
    x = Streams(range(3)).normal(4, dtype=torch.float64)
    t = schedule.time_of(torch.tensor(0.5))
    one = GaussianDenoiser(schedule, mean, variance)
    two = GaussianDenoiser(schedule, mean, covariance=torch.diag(variance))
    assert torch.allclose(one(x, t).x0, two(x, t).x0, atol=1e-12)
    s = schedule.time_of(torch.tensor(2.0))
    assert torch.allclose(one.flow(x, t, s), two.flow(x, t, s), atol=1e-12)
    assert torch.allclose(one.log_density(x, t), two.log_density(x, t), atol=1e-10)


@pytest.mark.parametrize("name", ["gaussian", "mixture", "labelled"])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_tweedie(name: str, schedule: Schedule) -> None:
    """alpha x0-hat = x + sigma^2 grad log p_t(x)."""
    denoiser: GaussianDenoiser | MixtureDenoiser
    x = Streams(range(4)).normal(4, dtype=torch.float64).requires_grad_()
    t = schedule.time_of(torch.tensor([-2.0, 0.0, 1.0, 3.0]))
    label = torch.tensor([0, 1, 1, 0])
    if name == "gaussian":
        denoiser = GaussianDenoiser(schedule, torch.ones(4).double(), covariance=smooth(4))
        density, x0 = denoiser.log_density(x, t), denoiser(x, t).x0
    else:
        denoiser = mixture(schedule)
        chosen = label if name == "labelled" else None
        density, x0 = denoiser.log_density(x, t, chosen), denoiser(x, t, {"label": chosen}).x0
    (score,) = torch.autograd.grad(density.sum(), x)
    alpha, sigma = (value[:, None] for value in schedule(t))
    assert torch.allclose(alpha * x0, x + sigma**2 * score, atol=1e-10)


def test_flow_is_a_group_and_the_clean_end_is_fixed() -> None:
    schedule = VPLinear()
    denoiser = GaussianDenoiser(schedule, torch.zeros(3).double(), covariance=smooth(3))
    x = Streams(range(2)).normal(3, dtype=torch.float64)
    t, s, r = torch.tensor(1.0), torch.tensor(0.4), torch.tensor(0.0)
    there = denoiser.flow(x, t, r)
    assert torch.allclose(denoiser.flow(denoiser.flow(x, t, s), s, r), there, atol=1e-12)
    assert torch.allclose(denoiser.flow(there, r, t), x, atol=1e-12)
    assert torch.allclose(denoiser(there, r).x0, there, atol=1e-12)


def test_draws_have_the_law() -> None:
    streams = Streams(range(20_000))
    mean = torch.tensor([1.0, 0.0, -1.0]).double()
    samples = GaussianDenoiser(VPLinear(), mean, covariance=smooth(3)).sample(streams, (3,))
    assert torch.allclose(samples.mean(0), mean, atol=0.03)
    assert torch.allclose(samples.T.cov(), smooth(3), atol=0.04)
    planes = GaussianDenoiser(VPLinear(), torch.zeros(2), torch.tensor([0.25, 4.0]).double())
    waves = planes.sample(streams, (2,), torch.complex64)
    assert torch.allclose(waves.imag.var(0), torch.tensor([0.25, 4.0]), rtol=0.05)


def test_posterior_is_gaussian_conditioning() -> None:
    schedule, covariance = VPLinear(), smooth(4)
    mean = torch.tensor([1.0, 0.0, 0.5, -1.0]).double()
    matrix = torch.tensor([[1.0, 0, 0, 0], [0, 0.5, 0.5, 0]]).double()
    y = torch.tensor([[2.0, 0.0], [0.0, 1.0]]).double()
    prior = GaussianDenoiser(schedule, mean, covariance=covariance)
    posterior = prior.posterior(matrix, y, 0.3)
    precision = torch.linalg.inv(covariance) + matrix.T @ matrix / 0.3
    expected = torch.linalg.inv(precision)
    assert posterior.covariance is not None
    assert torch.allclose(posterior.covariance, expected, atol=1e-12)
    right = torch.linalg.solve(covariance, mean) + y @ matrix / 0.3
    assert torch.allclose(posterior.mean, right @ expected, atol=1e-12)
    diagonal = GaussianDenoiser(schedule, mean, torch.tensor([1.0, 2.0, 3.0, 4.0]).double()).posterior(
        matrix, y[0], 0.3
    )
    assert diagonal.mean.shape == (4,)


def test_the_mean_can_be_a_condition() -> None:
    denoiser = GaussianDenoiser(VPLinear(), torch.zeros(2).double(), torch.ones(2).double())
    x, t = torch.zeros(2, 2).double(), torch.tensor(0.5)
    shifted = denoiser(x, t, {"mean": torch.tensor([[1.0, 0.0], [0.0, 0.0]])}).x0
    assert float(shifted[0, 0]) > 0.1
    assert torch.equal(shifted[1], denoiser(x, t).x0[1])


def test_logits_are_a_calibrated_classifier() -> None:
    denoiser = mixture(VPLinear())
    x, t = Streams(range(5)).normal(4, dtype=torch.float64), torch.tensor(0.3)
    logits = denoiser.logits(x, t)
    assert torch.allclose(torch.logsumexp(logits, 1), denoiser.log_density(x, t), atol=1e-12)
    share = torch.softmax(logits, 1)
    labels = [torch.full((5,), k) for k in range(2)]
    parts = [denoiser(x, t, {"label": label}).x0 * share[:, k, None] for k, label in enumerate(labels)]
    assert torch.allclose(sum(parts), denoiser(x, t).x0, atol=1e-12)


def test_arguments_are_checked() -> None:
    s, one = VPLinear(), torch.ones(2).double()
    for make, message in (
        (lambda: GaussianDenoiser(s, one), "neither"),
        (lambda: GaussianDenoiser(s, one, one, torch.eye(2)), "both"),
        (lambda: GaussianDenoiser(s, one, -one), "negative"),
        (lambda: GaussianDenoiser(s, one, covariance=torch.ones(2, 3)), "symmetric"),
        (lambda: GaussianDenoiser(s, one, covariance=-torch.eye(2).double()), "negative"),
        (lambda: GaussianDenoiser(s, one, one).posterior(torch.eye(2), one, 0.0), "noise_variance"),
        (lambda: GaussianDenoiser(s, one, one)(one[None], torch.tensor(0.5), {"label": one}), "label"),
        (lambda: MixtureDenoiser(s, one, torch.zeros(3, 2), one), "weights"),
        (lambda: MixtureDenoiser(s, one, torch.zeros(2, 2), one, torch.zeros(2)), "labels"),
        (lambda: mixture(s)(torch.zeros(1, 4), torch.tensor(0.5), {"label": torch.tensor([7])}), "label: found"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
