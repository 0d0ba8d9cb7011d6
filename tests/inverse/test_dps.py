"""DPS moves every sample along the gradient of its own residual, at one prediction per step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.inverse.gaussian import COVARIANCE, MASK, MATRIX, SIZE, TABLE, correlated, data, walk
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Prediction
from skiagraph.diffusion.rules import DDIM, DDPM, DPMSolverPP2M, DPMSolverPP2MSDE, Euler, Heun, UniPC
from skiagraph.inverse.dps import DPS
from skiagraph.physics.selection import DenseOperator, PixelMask


def test_dps_moves_along_the_gradient_of_each_residual() -> None:
    operator, y, x, prior = DenseOperator(MATRIX), data(size=2), data(3), correlated()
    t, s = torch.tensor(8.0, dtype=torch.float64), torch.tensor(7.0, dtype=torch.float64)
    plain, x0, _ = DDIM(0.0)(prior, x, t, s, EMPTY, None, None)
    moved, again, _ = DPS(DDIM(0.0), operator, y, 0.7)(prior, x, t, s, EMPTY, None, None)
    assert torch.equal(x0, again)
    alpha, sigma = TABLE(t)
    gain = alpha * COVARIANCE @ torch.linalg.inv(alpha**2 * COVARIANCE + sigma**2 * torch.eye(SIZE))
    residual = y - operator.forward(x0)
    unit = residual / torch.linalg.vector_norm(residual, dim=1, keepdim=True)
    assert torch.allclose(moved, plain + 0.7 * unit @ MATRIX @ gain, atol=1e-10)


def test_dps_asks_the_network_once_per_step() -> None:
    calls = []

    class Counting:
        schedule = TABLE

        def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
            calls.append(float(t))
            return correlated()(x, t, cond)

    walk(Counting(), DPS(DDPM(), PixelMask(MASK), MASK * data()))
    assert calls == [float(t) for t in range(19, -1, -1)]


def test_dps_refuses_rules_that_ask_more_than_once() -> None:
    rule = DPS(Heun(), PixelMask(MASK), MASK * data())
    with pytest.raises(ValueError, match="rule: asks for a second prediction"):
        walk(correlated(), rule)


@pytest.mark.parametrize("rule", [DDPM(), DDIM(0.5), Euler(), DPMSolverPP2M(), DPMSolverPP2MSDE(), UniPC()])
def test_dps_takes_every_rule_that_asks_once(rule: Any) -> None:
    assert walk(correlated(), DPS(rule, PixelMask(MASK), MASK * data(), 0.3)).isfinite().all()


def test_dps_pulls_towards_the_data() -> None:
    y = MASK * data()
    free = walk(correlated(), DDPM())
    guided = walk(correlated(), DPS(DDPM(), PixelMask(MASK), y, 0.3))
    assert (MASK * (guided - y)).square().mean() < 0.25 * (MASK * (free - y)).square().mean()
