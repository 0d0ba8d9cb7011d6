"""Discrete tables against published values and the definitions of their lineage."""

from __future__ import annotations

import math

import pytest
import torch

from skiagraph.diffusion.schedule import DiscreteTable, cosine_table, linear_table, noise_to_signal


def rho(table: DiscreteTable, t: float) -> float:
    return float(noise_to_signal(table, t))


def test_linear_table_respaced_to_200_levels() -> None:
    table = linear_table().respaced("ddim200")
    assert len(table) == 200
    printed = [0.0100005, 0.0299879, 0.0468855, 0.0632371, 0.0793981, 0.0954838, 0.1115459]
    assert [round(rho(table, t), 7) for t in range(7)] == printed
    assert round(rho(table, 199), 4) == 151.1829
    assert sum(rho(table, t) <= 0.1 for t in range(200)) == 6
    assert float(table.original_index(torch.tensor(199.0))) == 995
    assert torch.equal(table.original_index(torch.tensor([0.0, 1.0, 1.5])), torch.tensor([0.0, 5.0, 7.5]).double())


def test_linear_table_holds_the_cumulative_product() -> None:
    betas = torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)
    alpha_bar = torch.cumprod(1 - betas, 0)
    alpha, sigma = linear_table()(torch.arange(1000))
    assert torch.allclose(alpha**2, alpha_bar, rtol=1e-13)
    assert torch.allclose(sigma**2, 1 - alpha_bar, rtol=1e-11)
    known = {0: 0.9999, 100: 0.8951, 480: 0.09487, 960: 8.741e-5, 980: 5.904e-5, 996: 4.288e-5}
    for t, value in known.items():
        assert float(alpha[t] ** 2) == pytest.approx(value, rel=6e-4)


def test_noise_level_between_two_levels() -> None:
    table = linear_table()
    time = table.time_of(torch.tensor(-2 * math.log(0.1)).double())
    assert float(time) == pytest.approx(26.405594, abs=5e-4)
    assert float(table(time)[0] ** 2) == pytest.approx(1 / 1.01, abs=1e-9)
    assert rho(table, 26.5) == pytest.approx((rho(table, 26) + rho(table, 27)) / 2, rel=1e-12)


@pytest.mark.parametrize(
    ("steps", "level", "alpha_bar", "ratio"),
    [
        (1000, 400, 0.64599, 0.740),
        (4000, 400, 0.97196, 0.170),
        (1000, 500, 0.49229, 1.016),
        (4000, 500, 0.95765, 0.210),
    ],
)
def test_cosine_table(steps: int, level: int, alpha_bar: float, ratio: float) -> None:
    table = cosine_table(steps)
    assert len(table) == steps
    assert float(table(level)[0] ** 2) == pytest.approx(alpha_bar, abs=6e-6)
    assert rho(table, level) == pytest.approx(ratio, abs=6e-4)


def test_linear_table_of_another_length_covers_the_same_range() -> None:
    short = linear_table(250)
    assert float(short(0)[0] ** 2) == pytest.approx(1 - 4e-4, abs=1e-12)
    assert rho(short, 249) == pytest.approx(rho(linear_table(), 999), rel=0.15)


def test_ends() -> None:
    table = linear_table()
    assert [float(v) for v in table(-1)] == [1.0, 0.0]
    assert [float(v) for v in table(1000)] == [0.0, 1.0]
    assert rho(table, 999.5) == pytest.approx(2 * rho(table, 999), rel=1e-12)
    assert float(table.time_of(table.log_snr(999.5))) == pytest.approx(999.5, abs=1e-9)
    assert float(table.original_index(1000)) == 1000
    for t in (-1.5, 1000.5, math.nan):
        with pytest.raises(ValueError, match="allowed -1"):
            table(t)


@pytest.mark.parametrize("count", [1, 2, 25, 50, 100, 143, 200, 250, 500, 1000])
def test_ddim_spacing_takes_the_true_stride(count: int) -> None:
    table = linear_table().respaced(f"ddim{count}")
    stride = next(k for k in range(1, 1001) if len(range(0, 1000, k)) == count)
    assert table.indices == tuple(range(0, 1000, stride))
    full = linear_table()
    assert all(rho(table, k) == rho(full, k * stride) for k in (0, count // 2, count - 1))


def test_143_steps_have_stride_7() -> None:
    assert linear_table().respaced("ddim143").indices[1] == 7


@pytest.mark.parametrize(
    "steps", ["ddim60", "ddim999", "ddim1001", "ddim0", "ddim", "ddim-5", "ten", "10,,20", 0, [3, -1], []]
)
def test_impossible_spacings_are_refused(steps: object) -> None:
    with pytest.raises(ValueError, match="steps: found"):
        linear_table().respaced(steps)  # type: ignore[arg-type]


def test_section_counts() -> None:
    table = linear_table(300)
    assert table.respaced("10,15,20").indices == table.respaced([10, 15, 20]).indices
    kept = table.respaced("10,15,20").indices
    assert [sum(a <= k < a + 100 for k in kept) for a in (0, 100, 200)] == [10, 15, 20]
    assert {0, 99, 100, 199, 200, 299} <= set(kept)  # first and last level of every section
    assert linear_table().respaced(7).indices == (0, 166, 333, 500, 666, 832, 999)  # 499.5 and 832.5 go to even numbers
    assert cosine_table(100).respaced(15).indices[7] == _rounded_sum(99 / 14, 7)
    assert table.respaced(25).indices == table.respaced([25]).indices
    assert cosine_table(10).respaced([2, 2, 1]).indices == (0, 3, 4, 6, 7)  # sections of 4, 3 and 3 levels
    with pytest.raises(ValueError, match="section 0, which has 150"):
        table.respaced([151, 10])


def _rounded_sum(stride: float, times: int) -> int:
    """Repeated addition, as released: 49.499999... here, where the product would be 49.5 and round to 50."""
    place = 0.0
    for _ in range(times):
        place += stride
    assert round(place) != round(times * stride)
    return round(place)


def test_respacing_twice_keeps_original_times() -> None:
    table = linear_table().respaced("ddim200").respaced("ddim50")
    assert table.indices == tuple(range(0, 1000, 20))
    assert table.original_steps == 1000


def test_tables_are_checked() -> None:
    with pytest.raises(ValueError, match="respace a long table"):
        linear_table(20)
    for levels in ((), (0.5, 0.6), (1.0, 0.5), (0.5, 0.0)):
        with pytest.raises(ValueError, match="alpha_bar"):
            DiscreteTable(levels)
    with pytest.raises(ValueError, match="indices"):
        DiscreteTable((0.9, 0.5), (0,))
    with pytest.raises(ValueError, match="indices"):
        DiscreteTable((0.9, 0.5), (3, 2))
    with pytest.raises(ValueError, match="original_steps"):
        DiscreteTable((0.9, 0.5), (3, 7), 7)


def test_equality_and_hash_follow_the_values() -> None:
    assert linear_table() == linear_table()
    assert hash(linear_table()) == hash(linear_table())
    assert linear_table() != cosine_table()
