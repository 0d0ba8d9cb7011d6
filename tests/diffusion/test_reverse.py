"""The ancestral step against the tables of the DDPM lineage, and the learned variance."""

from __future__ import annotations

import pytest
import torch

from skiagraph.diffusion.reverse import learned_log_variance, reverse_step
from skiagraph.diffusion.schedule import EDM, VPLinear, linear_table


def test_table_steps_equal_the_published_coefficients() -> None:
    betas = torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)
    now = torch.cumprod(1 - betas, 0)
    before = torch.cat([torch.ones(1).double(), now[:-1]])
    t = torch.arange(1, 1000).double()
    step = reverse_step(linear_table(), t, t - 1)
    assert torch.allclose(step.of_x0, (betas * before.sqrt() / (1 - now))[1:], rtol=1e-9)
    assert torch.allclose(step.of_x, ((1 - before) * (1 - betas).sqrt() / (1 - now))[1:], rtol=1e-9)
    small = betas * (1 - before) / (1 - now)
    assert torch.allclose(step.log_small, small.log()[1:], rtol=1e-9)
    assert torch.allclose(step.log_large, betas.log()[1:], rtol=1e-9)
    last = reverse_step(linear_table(), 0, -1)
    assert float(last.of_x0) == pytest.approx(1, rel=1e-12)
    assert float(last.of_x) == 0
    assert float(last.log_small) == pytest.approx(float(small[1].log()), rel=1e-9)
    assert float(last.log_large) == pytest.approx(float(betas[0].log()), rel=1e-9)


@pytest.mark.parametrize("schedule", [VPLinear(), EDM()], ids=repr)
def test_mean_and_variance_are_those_of_the_bridge(schedule: VPLinear | EDM) -> None:
    t, s = schedule.time_of(torch.tensor([-2.0, 1.5]))
    (a, b), (a_s, b_s) = schedule(t), schedule(s)
    step = reverse_step(schedule, t, s)
    # x_t = (a / a_s) x_s + noise: condition the pair (x_s, x_t) given x0 on x_t.
    covariance = a / a_s * b_s**2
    assert float(step.of_x) == pytest.approx(float(covariance / b**2), rel=1e-12)
    assert float(step.of_x0) == pytest.approx(float(a_s - covariance / b**2 * a), rel=1e-12)
    assert float(step.log_small.exp()) == pytest.approx(float(b_s**2 - covariance**2 / b**2), rel=1e-12)


def test_learned_variance_runs_between_its_bounds() -> None:
    table = linear_table().respaced("ddim25")
    t = torch.tensor([0.0, 3.0])
    step = reverse_step(table, t, t - 1)
    for v, expected in ((-1.0, step.log_small), (1.0, step.log_large), (0.0, (step.log_small + step.log_large) / 2)):
        value = learned_log_variance(table, t, torch.full((2, 1, 2), v, dtype=torch.float64))
        assert torch.allclose(value, expected[:, None, None].expand(2, 1, 2))


def test_ascending_is_refused() -> None:
    with pytest.raises(ValueError, match="noisier than t"):
        reverse_step(VPLinear(), 0.3, 0.5)
