"""A new solver, guidance term or grid is one new file: toys from outside the package work with everything inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from helpers.walks import flow_error, gaussian, start
from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser, Prediction
from skiagraph.diffusion.grid import Ascending, Grid, LogSNR
from skiagraph.diffusion.guidance import Clip, Energy
from skiagraph.diffusion.rules import DDIM, DPMSolverPP2M, Heun
from skiagraph.diffusion.sampling import Rule, final, preferred_grid, trajectory
from skiagraph.diffusion.schedule import EDM, Schedule, VPLinear, expand_like
from skiagraph.diffusion.streams import Streams


@dataclass(frozen=True)
class Midpoint:
    """A solver of second order that evaluates the denoiser in the middle of the step."""

    order: int = 2

    def preferred_grid(self, steps: int) -> Grid:
        return LogSNR(steps)

    def __call__(
        self, denoiser: Any, x: Tensor, t: Tensor, s: Tensor, cond: Condition, streams: Streams | None, carry: None
    ) -> tuple[Tensor, Tensor, None]:
        schedule = denoiser.schedule
        middle = schedule.time_of(0.5 * (schedule.log_snr(t) + schedule.log_snr(s)))
        halfway, _, _ = DDIM()(denoiser, x, t, middle, cond, streams, None)
        x0 = denoiser(halfway, middle, cond).x0
        (_, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
        gain = -alpha_s * torch.expm1(0.5 * (schedule.log_snr(t) - schedule.log_snr(s)))
        return expand_like(sigma_s / sigma_t, x) * x + expand_like(gain, x) * x0, x0, None


@dataclass(frozen=True, eq=False)
class PullTowards:
    """A guidance term: the estimate moves a share of the way to a target."""

    base: Denoiser
    target: Tensor
    share: float

    @property
    def schedule(self) -> Schedule:
        return self.base.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        x0 = self.base(x, t, cond).x0
        return Prediction(x0 + self.share * (self.target - x0))


@dataclass(frozen=True)
class Halving:
    """A grid: every step halves rho."""

    steps: int

    def __call__(self, schedule: Schedule) -> Tensor:
        first = schedule.log_snr(torch.tensor(schedule.span[0]))
        return schedule.time_of(first + 2 * torch.log(torch.tensor(2.0).double()) * torch.arange(self.steps + 1))


@dataclass(frozen=True)
class Sharp:
    """A schedule of its own: variance preserving with log-SNR = -20 t + 10 and a clean end at t = 0 by definition."""

    finest: float = 1e-3

    @property
    def span(self) -> tuple[float, float]:
        return 1.0, 0.0

    def __call__(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        level = self.log_snr(t)
        return torch.sigmoid(level).sqrt(), torch.sigmoid(-level).sqrt()

    def log_snr(self, t: Tensor | float) -> Tensor:
        time = torch.as_tensor(t).double()
        return torch.where(time == 0, torch.inf, 10 - 20 * time)

    def time_of(self, log_snr: Tensor | float) -> Tensor:
        return (10 - torch.as_tensor(log_snr).double()).clamp(min=0) / 20


def test_a_foreign_solver_converges_on_every_schedule() -> None:
    assert isinstance(Midpoint(), Rule)
    assert preferred_grid(Midpoint(), 5) == LogSNR(5)
    for schedule in (VPLinear(), EDM(), Sharp()):
        errors = [flow_error(Midpoint(), schedule, LogSNR(n, clean=False)) for n in (32, 64)]
        assert errors[0] / errors[1] > 3.4


def test_a_foreign_guidance_term_goes_with_every_rule_and_term() -> None:
    target = torch.full((4,), 0.3).double()
    pulled = PullTowards(gaussian(VPLinear()), target, 1.0)
    assert isinstance(pulled, Denoiser)
    nested = Clip(Energy(pulled, lambda x, t, x0, cond: torch.zeros_like(x).sum(1) * x.sum(1)))
    for rule in (DDIM(), Heun(), DPMSolverPP2M(), Midpoint()):
        grid = LogSNR(6, clean=not isinstance(rule, Midpoint))
        for denoiser in (pulled, nested):
            last = list(trajectory(denoiser, start(VPLinear()), grid, rule))[-1]
            assert torch.allclose(last.x0, target.expand(8, 4))


def test_a_foreign_grid_walks() -> None:
    schedule = EDM()
    times = Halving(12)(schedule)
    assert isinstance(Halving(12), Grid)
    assert torch.allclose(schedule(times)[1], 80 * 0.5 ** torch.arange(13).double())
    x = start(schedule)
    latent = final(trajectory(gaussian(schedule), x, Halving(12), Heun()))
    back = final(trajectory(gaussian(schedule), latent, Ascending(Halving(12)), Heun()))
    assert torch.allclose(back, x, rtol=0.05, atol=0.5)


def test_a_foreign_schedule_is_one() -> None:
    schedule = Sharp()
    assert isinstance(schedule, Schedule)
    x = start(schedule)
    end = final(trajectory(gaussian(schedule), x, LogSNR(200), DPMSolverPP2M()))
    exact = gaussian(schedule).flow(x, torch.tensor(1.0), torch.tensor(0.0))
    assert torch.allclose(end, exact, atol=2e-3)
