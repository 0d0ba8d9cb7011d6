"""Grids on every kind of schedule."""

from __future__ import annotations

import pytest
import torch

from skiagraph.diffusion.grid import (
    Ascending,
    Grid,
    Karras,
    Levels,
    LogSNR,
    Partial,
    Quadratic,
    Snapped,
    Uniform,
)
from skiagraph.diffusion.schedule import EDM, Cosine, Schedule, VPLinear, cosine_table, linear_table

SCHEDULES = [VPLinear(), Cosine(), EDM(), linear_table(), linear_table().respaced("ddim50")]
GRIDS = [
    Uniform(10),
    LogSNR(10),
    Karras(10),
    Karras(10, exponent=1.0),
    LogSNR(10, clean=False),
    Karras(10, clean=False),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_goes_from_noisiest_to_its_end(grid: Grid, schedule: Schedule) -> None:
    assert isinstance(grid, Grid)
    times = grid(schedule)
    assert times.dtype == torch.float64
    assert times.shape == (11,)
    assert bool((times.diff() < 0).all())
    assert float(times[0]) == schedule.span[0]
    assert float(times[-1]) == (schedule.span[1] if getattr(grid, "clean", True) else schedule.finest)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_log_snr_steps_are_equal(schedule: Schedule) -> None:
    steps = schedule.log_snr(LogSNR(10, clean=False)(schedule)).diff()
    assert torch.allclose(steps, steps.mean().expand(10), rtol=1e-9)
    withclean = LogSNR(11)(schedule)
    assert torch.allclose(withclean[:-1], LogSNR(10, clean=False)(schedule), rtol=1e-12)


def test_karras_formula() -> None:
    times = Karras(8)(EDM(0.002, 80.0))
    share = torch.arange(8, dtype=torch.float64) / 7
    ends = 80.0 ** (1 / 7), 0.002 ** (1 / 7)
    assert torch.allclose(times[:-1], (ends[0] + share * (ends[1] - ends[0])) ** 7, rtol=1e-12)


def test_one_step_grids() -> None:
    for grid in (Uniform(1), LogSNR(1), Karras(1)):
        assert grid(VPLinear()).tolist() == [1.0, 0.0]


def test_levels_visits_the_whole_table() -> None:
    assert Levels()(cosine_table(5)).tolist() == [4, 3, 2, 1, 0, -1]
    assert Levels(stride=2)(cosine_table(6)).tolist() == [4, 2, 0, -1]
    with pytest.raises(TypeError, match="DiscreteTable"):
        Levels()(VPLinear())


def test_partial_keeps_the_density_and_hits_its_ends() -> None:
    table = linear_table(1000)
    times = Partial(Levels(), start=400, stop=390)(table)
    assert times.tolist() == list(range(400, 389, -1))
    times = Partial(Uniform(4), start=0.6)(VPLinear())
    assert torch.allclose(times, torch.tensor([0.6, 0.5, 0.25, 0.0]).double())
    upwards = Partial(Ascending(Uniform(4)), stop=0.6)(VPLinear())
    assert torch.allclose(upwards, torch.tensor([0.0, 0.25, 0.5, 0.6]).double())
    for start, stop in ((0.2, 0.6), (1.5, None), (0.5, 0.5), (None, -0.1)):
        with pytest.raises(ValueError, match="start, stop"):
            Partial(Uniform(4), start, stop)(VPLinear())


def test_ascending_reverses() -> None:
    assert torch.equal(Ascending(LogSNR(7))(EDM()), LogSNR(7)(EDM()).flip(0))


def test_thousand_times_are_exact() -> None:
    times = Uniform(1000)(linear_table())
    assert torch.equal(times, torch.arange(999, -2, -1).double())


@pytest.mark.parametrize("steps", [0, -3, 2.5, True])
def test_step_counts_are_checked(steps: object) -> None:
    for grid in (Uniform, LogSNR, Karras):
        with pytest.raises(ValueError, match="steps: found"):
            grid(steps)
    with pytest.raises(ValueError, match="exponent"):
        Karras(5, exponent=0.0)
    with pytest.raises(ValueError, match="stride"):
        Levels(0)


def test_quadratic_is_dense_where_guidance_acts() -> None:
    times = Quadratic(50)(linear_table())
    assert times.tolist()[-12:] == [50, 41, 34, 27, 20, 15, 10, 7, 4, 2, 0, -1]
    assert times.tolist()[:5] == [996, 956, 916, 878, 840]
    assert len(times) == 49 + 1
    counts = []
    for grid in (Levels(4), Levels(10), Levels(20), Levels(40), Quadratic(100), Quadratic(50), Quadratic(25)):
        sigma = linear_table()(grid(linear_table())[:-1])[1]
        counts.append(int((sigma**2 < 0.02).sum()))
    assert counts == [10, 4, 2, 1, 18, 9, 5]


def test_snapped_visits_trained_times_only() -> None:
    times = Snapped(50)(linear_table())
    assert times.tolist()[-9:] == [32, 28, 20, 16, 12, 8, 4, 0, -1]
    assert len(times) == 48 + 1
    respaced = linear_table().respaced("ddim250")
    assert torch.equal(4 * Snapped(50)(respaced)[:-1], times[:-1])  # positions in the respaced table
    with pytest.raises(ValueError, match=r"2 is the first; the table has 0, 4, 8, 12 \.\.\. 996"):
        Quadratic(50)(respaced)
    for grid in (Quadratic(50), Snapped(50)):
        with pytest.raises(TypeError, match="found VPLinear; needs a DiscreteTable"):
            grid(VPLinear())
    for make in (lambda: Quadratic(1), lambda: Quadratic(50, 40), lambda: Snapped(50, 998), lambda: Snapped(50, 100)):
        with pytest.raises(ValueError, match=r"(points|top): found"):
            make()


def test_spacings_of_the_released_code() -> None:
    table = linear_table()
    assert table.respaced("ddim250").indices == tuple(range(0, 1000, 4))
    assert table.respaced("ddim25").indices[-1] == 960
    assert table.respaced("ddim50").indices[-1] == 980
    with pytest.raises(ValueError, match="no integer stride"):
        table.respaced("ddim60")
