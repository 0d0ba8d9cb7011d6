"""Noise levels as numbers: the schedule's own values, found once, refused where the schedule refuses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from helpers.walks import gaussian, start
from skiagraph.diffusion.denoiser import EMPTY
from skiagraph.diffusion.grid import LogSNR, Uniform
from skiagraph.diffusion.rules import DDIM, DPMSolverPP2M
from skiagraph.diffusion.sampling import final, trajectory
from skiagraph.diffusion.schedule import EDM, Cosine, Schedule, VPLinear, cosine_table, linear_table, noise_level

SCHEDULES = [VPLinear(), Cosine(), EDM(), linear_table(), cosine_table().respaced("ddim50")]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_levels_are_the_schedules_own(schedule: Schedule) -> None:
    for t in Uniform(7)(schedule):
        level = noise_level(schedule, t)
        assert (level.alpha, level.sigma) == tuple(float(value) for value in schedule(t))
        assert level.half_log_snr == pytest.approx(0.5 * float(schedule.log_snr(t)), rel=1e-12, abs=1e-12)
        assert level is noise_level(schedule, float(t))
    assert level.is_clean
    assert (level.rho, level.half_log_snr) == (0.0, math.inf)


def test_pure_noise() -> None:
    level = noise_level(linear_table(), 1000)
    assert level.is_pure_noise
    assert (level.rho, level.half_log_snr) == (math.inf, -math.inf)


def test_times_outside_the_table_are_refused_however_often_asked() -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="allowed -1"):
            noise_level(linear_table(), 1001.0)
        with pytest.raises(ValueError, match="allowed -1"):
            noise_level(linear_table(), math.nan)
    with pytest.raises(ValueError, match="one time for the whole batch"):
        noise_level(linear_table(), torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match="one time for the whole batch"):
        DDIM()(gaussian(VPLinear()), start(VPLinear()), torch.ones(8), torch.zeros(8), EMPTY, None, None)


def test_equal_tables_share_what_was_found_and_others_do_not() -> None:
    table, twin, other = linear_table(), linear_table(), linear_table().respaced(1000)
    assert table == twin
    assert noise_level(table, 3.5) is noise_level(twin, 3.5)
    assert table == other
    assert table != linear_table().respaced("ddim500")
    assert noise_level(table, 3) != noise_level(linear_table().respaced("ddim500"), 3)
    assert table != "a table"


@dataclass
class Mutable:
    """A schedule that cannot be hashed, since it may change."""

    largest: float

    @property
    def span(self) -> tuple[float, float]:
        return self.largest, 0.0

    @property
    def finest(self) -> float:
        return 0.01

    def __call__(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        return EDM(0.01, 100.0)(torch.as_tensor(t) * self.largest)

    def log_snr(self, t: Tensor | float) -> Tensor:
        return EDM(0.01, 100.0).log_snr(torch.as_tensor(t) * self.largest)

    def time_of(self, log_snr: Tensor | float) -> Tensor:
        return EDM(0.01, 100.0).time_of(log_snr) / self.largest


def test_a_schedule_that_may_change_is_asked_every_time() -> None:
    schedule = Mutable(2.0)
    assert noise_level(schedule, 1.0).sigma == 2.0
    schedule.largest = 3.0
    assert noise_level(schedule, 1.0).sigma == 3.0


def test_a_walk_does_not_depend_on_the_walks_before_it() -> None:
    """The same bits on a table never asked before and on one whose levels are all known."""
    x = start(VPLinear())
    fresh = [linear_table(stop=2e-2 + 1e-6 * trial) for trial in (1, 1)]
    grid = LogSNR(9)
    for rule in (DDIM(), DPMSolverPP2M()):
        first = final(trajectory(gaussian(fresh[0]), x, grid, rule))
        final(trajectory(gaussian(fresh[0]), x, Uniform(50), rule))
        assert torch.equal(final(trajectory(gaussian(fresh[1]), x, grid, rule)), first)
