"""Closed-form toys of the method page (section 9.2): Stein's risk and the optimum of Case 1 on the Gaussian yardstick.

A network that is linear makes every term a quadratic form of independent normal numbers, whose mean over scaled unit
vectors is exact: no Monte Carlo where the text gives a mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from tests.inverse.yardstick import SIZE, covariance
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Prediction
from skiagraph.diffusion.schedule import DiscreteTable, expand_like, linear_table
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.items import MeasuredItems, measured_items
from skiagraph.inverse.noisy_objective import NoisyLoss, noisy_loss, stein_risk
from skiagraph.inverse.released_objective import ReferenceMeasurementScoreObjective, ReleasedNoise, released_noisy_loss

NU, SEEN = 0.1, 20
SCHEDULE = linear_table().respaced("ddim200")
MASK = (torch.arange(SIZE) < SEEN).double().reshape(1, 1, 1, SIZE)
EYE = torch.eye(SEEN, dtype=torch.float64)
PRIOR = covariance()[:SEEN, :SEEN]
SHRINK = PRIOR @ torch.linalg.inv(PRIOR + NU**2 * EYE)  # J
ROOT = math.sqrt(1 / (1 + NU**2))
RELEASED = ReferenceMeasurementScoreObjective(SCHEDULE, NU, acceleration_rate=SIZE / SEEN).settings


def padded(rows: Tensor) -> Tensor:
    """(B, 20) observed pixels as measurements (B, 1, 1, 32)."""
    return torch.nn.functional.pad(rows, (0, SIZE - SEEN))[:, None, None]


def items_of(s: Tensor, noise: Tensor | float = NU) -> MeasuredItems:
    batch = {"measurement": s, "mask": MASK.expand(len(s), 1, 1, SIZE), "noise": torch.as_tensor(noise)}
    return measured_items(batch)


def shrink(v: Tensor) -> Tensor:
    """x1 as a function of v: J v / sqrt(abar_nu)."""
    return padded(v[:, 0, 0, :SEEN] @ SHRINK.T / ROOT)


def shrinking(v: Tensor, tau: Tensor) -> Tensor:
    """The eps-network of the toy at the noise level nu."""
    return (v / ROOT - shrink(v)) / NU


@pytest.fixture(scope="module")
def moments() -> tuple[Tensor, Tensor]:
    """(s, b) whose averages of quadratic forms are those of s = z + nu v and b ~ N(0, I)."""
    factor = torch.linalg.cholesky(PRIOR + NU**2 * EYE)
    return padded(math.sqrt(SEEN) * factor.T), padded(math.sqrt(SEEN) * EYE)


def risk(s: Tensor, probe: Tensor) -> Tensor:
    count = torch.full((len(s),), float(SEEN), dtype=torch.float64)
    level = torch.full_like(count, NU)
    return stein_risk(lambda entry: MASK * shrink(ROOT * entry), s, level, count, probe, 0.005)[1]


def test_steins_risk_has_the_mean_of_the_true_error(moments: tuple[Tensor, Tensor]) -> None:
    residual = SHRINK - EYE
    error = (residual @ PRIOR @ residual.T + NU**2 * SHRINK @ SHRINK.T).trace() / SEEN
    assert float(error) == pytest.approx(0.00672740, abs=5e-9)
    assert float(SHRINK.trace()) / SEEN == pytest.approx(0.672740, abs=5e-7)
    assert float(risk(*moments).mean()) == pytest.approx(float(error), rel=1e-9)


def test_the_objective_uses_it(moments: tuple[Tensor, Tensor]) -> None:
    s, probe = moments

    @dataclass
    class Toy:
        schedule: DiscreteTable = SCHEDULE

        def __call__(self, x: Tensor, t: Tensor, mask: Tensor, cond: Condition = EMPTY) -> Prediction:
            return Prediction(shrink(mask * x))

    t = torch.full((len(s),), 100.0, dtype=torch.float64)
    found = noisy_loss(Toy(), items_of(s), t, torch.zeros_like(s), probe).sure
    assert torch.allclose(found, risk(s, probe), rtol=1e-9)


def test_random_draws_agree() -> None:
    streams = Streams(range(4000))
    z = streams.normal(SEEN, dtype=torch.float64) @ torch.linalg.cholesky(PRIOR).T
    s = padded(z + NU * streams.normal(SEEN, dtype=torch.float64))
    probe = padded(streams.normal(SEEN, dtype=torch.float64))
    found = risk(s, probe)
    error = ((shrink(ROOT * s) - padded(z)).square().flatten(1).sum(1) / SEEN).mean()
    assert abs(float(found.mean()) - 0.00672740) < 4 * float(found.std()) / math.sqrt(4000)
    assert float(error) == pytest.approx(0.00672740, rel=0.02)
    misfit = (shrink(ROOT * s) - s).square().flatten(1).sum(1) / SEEN
    divergence = (found - misfit + NU**2) / (2 * NU**2)
    assert float(divergence.std()) == pytest.approx(0.222, rel=0.05)


def released_risk(s: Tensor, probe: Tensor, network: Any = shrinking) -> float:
    """The released L_sure of a batch."""
    t = torch.tensor(100.0, dtype=torch.float64)
    exact = ReleasedNoise(NU, RELEASED.time, ROOT**2, 0.05, 0.005, SIZE / SEEN)
    return float(released_noisy_loss(network, items_of(s), SCHEDULE, t, 0 * s, probe, exact)[2][0])


def test_the_released_form_differs_as_stated(moments: tuple[Tensor, Tensor]) -> None:
    s, probe = moments
    total = PRIOR + NU**2 * EYE
    off_scale = SHRINK / ROOT - EYE
    divergence = float(SHRINK.trace() / (SEEN * ROOT))
    mean = float((off_scale @ total @ off_scale.T).trace()) / SEEN - NU**2 + 2 * NU**2 * divergence
    # Both signs of s remove the mixed term, which has no mean.
    both = released_risk(torch.cat([s, -s]), torch.cat([probe, probe]))
    assert both == pytest.approx(mean, rel=1e-6)
    # The unscaled input lowers the misfit by almost what the perturbation of the scaled s adds: their sum is 6e-6.
    assert both - 0.00672740 == pytest.approx(6.05e-6, rel=0.01)
    scaled = 0.00672740 + 2 * NU**2 * float(SHRINK.trace()) / SEEN * (1 / ROOT - 1)
    assert scaled == pytest.approx(0.00679451, abs=1e-8)


def test_the_released_divergence_has_the_added_spread() -> None:
    streams = Streams(range(600))
    s = padded(streams.normal(SEEN, dtype=torch.float64) @ torch.linalg.cholesky(PRIOR + NU**2 * EYE).T)
    probe = padded(streams.normal(SEEN, dtype=torch.float64))
    mixed = [released_risk(s[[i]], probe[[i]]) - released_risk(s[[i]], 0 * probe[[i]]) for i in range(600)]
    spread = float(torch.tensor(mixed).std()) / (2 * NU**2)
    assert spread == pytest.approx(math.hypot(0.222, 0.109), rel=0.07)


def case_one_moments(added: Callable[[Tensor], Tensor], noise: Tensor) -> tuple[Tensor, Tensor]:
    """(s, n) with the second moments of s = z + e, n standard normal and independent; noise (20, 20) covariance."""
    factor = torch.linalg.cholesky(PRIOR + noise)
    scale = math.sqrt(2 * SEEN)
    zero = torch.zeros_like(EYE)
    return padded(scale * torch.cat([factor.T, zero])), padded(scale * torch.cat([zero, EYE]))


def test_released_case_one_is_biased_and_the_default_is_not() -> None:
    """The optimum over x0_hat = E[z | q] + beta u: beta is 0 in the default, b_t in the released form."""
    s, noise = case_one_moments(lambda n: n, NU**2 * EYE)
    for level, bias in ((6, 0.0254), (7, 0.0129), (60, None)):
        t = torch.tensor(float(level), dtype=torch.float64)
        alpha, sigma = (float(value) for value in SCHEDULE(t))
        rho = sigma / alpha
        exact = PRIOR @ torch.linalg.inv(PRIOR + rho**2 * EYE)
        published = NU**2 / (rho**2 - NU**2) * (1 / alpha - 1)

        def estimate(u: Tensor, beta: float, exact: Tensor = exact, alpha: float = alpha) -> Tensor:
            return padded(u[:, 0, 0, :SEEN] @ exact.T / alpha) + beta * u

        def released(beta: float, t: Tensor = t, alpha: float = alpha, rho: float = rho) -> float:
            def eps(u: Tensor, tau: Tensor) -> Tensor:
                return (u / alpha - estimate(u, beta)) / rho

            return float(released_noisy_loss(eps, items_of(s), SCHEDULE, t, noise, 0 * s, RELEASED)[1].mean())

        def default(beta: float, t: Tensor = t) -> float:
            return float(_default_main(lambda u, time: estimate(u, beta), s, noise, t).main.mean())

        assert minimiser(released) == pytest.approx(published, rel=1e-5)
        if bias is not None:
            assert published == pytest.approx(bias, abs=1e-3)
        assert abs(minimiser(default)) < 1e-8


def minimiser(loss: Callable[[float], float]) -> float:
    """Where a quadratic function of one number is least."""
    low, middle, high = loss(-1.0), loss(0.0), loss(1.0)
    return 0.5 * (low - high) / (low - 2 * middle + high)


def _default_main(
    estimate: Callable[[Tensor, Tensor], Tensor], s: Tensor, noise: Tensor, t: Tensor, level: Tensor | float = NU
) -> NoisyLoss:
    @dataclass
    class Toy:
        schedule: DiscreteTable = SCHEDULE

        def __call__(self, x: Tensor, t: Tensor, mask: Tensor, cond: Condition = EMPTY) -> Prediction:
            return Prediction(estimate(mask * x, t))

    top_up = torch.zeros_like(s)
    return noisy_loss(Toy(), items_of(s, level), t.expand(len(s)), noise, 0 * s, top_up)


def test_noise_that_differs_between_entries_leaves_the_same_optimum() -> None:
    """Levels from 0.02 to 0.1: in every linear direction the loss is least at E[z | q]."""
    levels = torch.linspace(0.02, NU, SEEN, dtype=torch.float64)
    s, noise = case_one_moments(lambda n: n, levels.square().diag())
    t = torch.tensor(6.0, dtype=torch.float64)
    alpha, sigma = SCHEDULE(t)
    exact = PRIOR @ torch.linalg.inv(PRIOR + (sigma / alpha) ** 2 * EYE)
    direction = torch.randn(SEEN, SEEN, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def loss(beta: float) -> float:
        def estimate(u: Tensor, time: Tensor) -> Tensor:
            at = expand_like(SCHEDULE(time)[0], u)
            return padded((u / at)[:, 0, 0, :SEEN] @ (exact + beta * direction).T)

        return float(_default_main(estimate, s, noise, t, padded(levels[None])).main.mean())

    assert abs(minimiser(loss)) < 1e-9
