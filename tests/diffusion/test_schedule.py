"""Continuous schedules against their defining formulas."""

from __future__ import annotations

import math

import pytest
import torch

from skiagraph.diffusion.schedule import (
    EDM,
    Cosine,
    Schedule,
    VPLinear,
    expand_like,
    linear_table,
    noise_to_signal,
    perturb,
)

SCHEDULES = [VPLinear(), VPLinear(beta_min=2.0, beta_max=2.0), Cosine(), EDM(), linear_table()]
T = torch.tensor([0.05, 0.3, 0.71], dtype=torch.float64)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_is_a_schedule_and_answers_in_float64(schedule: Schedule) -> None:
    assert isinstance(schedule, Schedule)
    for t in (0.5, torch.tensor(0.5), torch.tensor([0.5, 0.25], dtype=torch.bfloat16)):
        for value in (*schedule(t), schedule.log_snr(t)):
            assert value.dtype == torch.float64
            assert value.shape == torch.as_tensor(t).shape


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_time_of_inverts_log_snr(schedule: Schedule) -> None:
    t = torch.lerp(
        torch.tensor(schedule.finest).double(),
        torch.tensor(schedule.span[0]).double(),
        torch.linspace(0, 1, 101).double(),
    )
    assert torch.allclose(schedule.time_of(schedule.log_snr(t)), t, rtol=1e-9, atol=1e-9)
    assert bool((schedule.log_snr(t).diff() < 0).all())


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_clean_end_has_no_noise(schedule: Schedule) -> None:
    alpha, sigma = schedule(schedule.span[1])
    assert float(alpha) == 1
    assert float(sigma) == 0
    assert float(schedule.time_of(schedule.log_snr(schedule.span[1]))) == schedule.span[1]


@pytest.mark.parametrize("schedule", [s for s in SCHEDULES if not isinstance(s, EDM)], ids=repr)
def test_variance_preserving(schedule: Schedule) -> None:
    alpha, sigma = schedule(T)
    assert torch.allclose(alpha**2 + sigma**2, torch.ones_like(T), atol=1e-15)
    assert torch.allclose(schedule.log_snr(T), 2 * torch.log(alpha / sigma), atol=1e-12)


def test_vp_linear_formula() -> None:
    alpha, sigma = VPLinear(0.1, 20.0)(T)
    integral = 0.1 * T + 0.5 * 19.9 * T**2
    assert torch.allclose(alpha, torch.exp(-integral / 2), atol=1e-15)
    assert torch.allclose(sigma, torch.sqrt(1 - torch.exp(-integral)), atol=1e-14)


def test_cosine_formula() -> None:
    alpha, _ = Cosine(0.008)(T)

    def f(u: torch.Tensor) -> torch.Tensor:
        return torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    assert torch.allclose(alpha**2, f(T) / f(torch.zeros(1).double()), atol=1e-14)


def test_edm_formula() -> None:
    alpha, sigma = EDM()(T)
    assert torch.equal(alpha, torch.ones_like(T))
    assert torch.equal(sigma, T)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_low_precision_calls_leave_no_trace(schedule: Schedule) -> None:
    before = schedule(T)
    low = T.bfloat16()
    schedule(low)
    schedule.log_snr(low)
    perturb(schedule, torch.ones(3, 2, dtype=torch.bfloat16), low, torch.ones(3, 2, dtype=torch.bfloat16))
    for old, new in zip(before, schedule(T), strict=True):
        assert torch.equal(old, new)
    assert torch.equal(low, T.bfloat16())


def test_expand_like() -> None:
    x = torch.zeros(3, 2, 4, 4)
    assert expand_like(torch.tensor(2.0).double(), x).shape == ()
    value = expand_like(T, x)
    assert value.shape == (3, 1, 1, 1)
    assert value.dtype == torch.float32
    assert expand_like(T, x.to(torch.complex128)).dtype == torch.float64
    with pytest.raises(ValueError, match=r"allowed \(\) or \(3,\)"):
        expand_like(torch.ones(2), x)
    with pytest.raises(TypeError, match="int64"):
        expand_like(T, torch.zeros(3, 2, dtype=torch.int64))


def test_perturb_adds_the_missing_noise_only() -> None:
    schedule = VPLinear()
    x, noise = torch.full((2, 5), 3.0).double(), torch.ones(2, 5).double()
    t = torch.tensor([0.4, 0.8])
    alpha, sigma = schedule(t)
    assert torch.allclose(perturb(schedule, x, t, noise), (3 * alpha + sigma)[:, None].expand(2, 5))
    added = perturb(schedule, x, t, noise, base_sigma=0.3) - 3 * alpha[:, None]
    assert torch.allclose(added**2 + (0.3 * alpha[:, None]) ** 2, sigma[:, None] ** 2)
    with pytest.raises(ValueError, match="base_sigma"):
        perturb(schedule, x, torch.tensor([0.001, 0.8]), noise, base_sigma=0.3)
    with pytest.raises(ValueError, match="noise"):
        perturb(schedule, x, t, noise[:1])


def test_noise_to_signal() -> None:
    assert torch.allclose(noise_to_signal(EDM(), T), T)
    assert torch.allclose(noise_to_signal(VPLinear(), T), torch.exp(-0.5 * VPLinear().log_snr(T)))


def test_wrong_settings_say_what_is_allowed() -> None:
    for make in (
        lambda: VPLinear(beta_min=0.0),
        lambda: EDM(3.0, 2.0),
        lambda: Cosine(shift=-1.0),
        lambda: VPLinear(finest=2.0),
    ):
        with pytest.raises(ValueError, match=r"found .*allowed"):
            make()
    with pytest.raises(ValueError, match=r"t: found shape \(1, 1\)"):
        VPLinear()(torch.ones(1, 1))
