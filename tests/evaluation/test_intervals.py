"""Bootstrap intervals: exact invariances, agreement with the normal limit, and the price of correlated values."""

from __future__ import annotations

import numpy as np
import pytest

from skiagraph.evaluation import mean_interval, paired_difference


def test_agrees_with_the_normal_interval_for_many_values() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 2000)
    interval = mean_interval(values, level=0.9, resamples=4000)
    half = 1.645 * values.std() / np.sqrt(values.size)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.08 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.08 * half)


def test_pairs_cancel_what_cases_share() -> None:
    generator = np.random.default_rng(1)
    case = generator.normal(30.0, 5.0, 60)
    first = case + 0.5 + generator.normal(0, 0.1, 60)
    second = case + generator.normal(0, 0.1, 60)
    paired = paired_difference(first, second, resamples=2000)
    assert paired.excludes_zero
    assert paired.high - paired.low < 0.1
    assert paired.low < 0.5 < paired.high
    assert not paired_difference(first, generator.permutation(first), resamples=2000).excludes_zero


def test_a_constant_difference_is_certain() -> None:
    first = np.array([1.0, 4.0, 9.0])
    interval = paired_difference(first + 0.25, first, resamples=100)
    assert (interval.mean, interval.low, interval.high) == (0.25, 0.25, 0.25)
    assert (interval.values, interval.groups, str(interval)) == (3, 3, "0.25 [0.25, 0.25]")


def test_whole_groups_are_drawn() -> None:
    heads = np.random.default_rng(2).normal(0, 1, 20)
    values, labels = np.repeat(heads, 15), np.repeat(np.arange(20), 15)
    alone = mean_interval(heads, resamples=5000)
    grouped = mean_interval(values, resamples=5000, groups=[f"head {label}" for label in labels])
    naive = mean_interval(values, resamples=5000)
    assert grouped.groups == 20
    assert grouped.low == pytest.approx(alone.low, rel=1e-9)
    assert grouped.high == pytest.approx(alone.high, rel=1e-9)
    assert naive.high - naive.low < 0.4 * (grouped.high - grouped.low)


def test_groups_of_unequal_size_keep_the_mean_over_values() -> None:
    values = np.array([1.0, 1.0, 1.0, 5.0])
    interval = mean_interval(values, groups=["a", "a", "a", "b"], resamples=500)
    assert interval.mean == 2.0
    assert (interval.low, interval.high) == (1.0, 5.0)


def test_seed_decides() -> None:
    values = np.random.default_rng(3).normal(size=30)
    one, same, other = (mean_interval(values, resamples=300, seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_refusals() -> None:
    values = np.arange(4.0)
    with pytest.raises(ValueError, match="level: found 95"):
        mean_interval(values, level=95)
    with pytest.raises(ValueError, match="one independent unit"):
        mean_interval(values, groups=["a"] * 4)
    with pytest.raises(ValueError, match="groups: found 2 labels for 4"):
        mean_interval(values, groups=["a", "b"])
    with pytest.raises(ValueError, match="resamples: found 10"):
        mean_interval(values, resamples=10)
    with pytest.raises(ValueError, match=r"first: found shape \(3,\)"):
        paired_difference(values[:3], values)
    with pytest.raises(ValueError, match="not finite"):
        mean_interval([1.0, np.inf])
