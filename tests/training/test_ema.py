"""Averages of the weights against their integrals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from skiagraph.errors import DataError, InputError
from skiagraph.training.ema import (
    ExponentialAverage,
    PowerAverage,
    Profile,
    combine,
    named_state,
    posthoc_weights,
    power_exponent,
    relative_width,
)
from skiagraph.training.snapshots import find_snapshots, rebuild_average, save_snapshot


def one(value: float) -> dict[str, Tensor]:
    return {"weight": torch.tensor([value], dtype=torch.float64)}


def test_exponents_of_the_paper() -> None:
    assert power_exponent(0.05) == pytest.approx(16.97, abs=0.005)
    assert power_exponent(0.10) == pytest.approx(6.94, abs=0.005)
    assert relative_width(0.0) == pytest.approx(12**-0.5)


@pytest.mark.parametrize("length", [0.01, 0.05, 0.1, 0.2, 0.27])
def test_width_and_exponent_are_inverse(length: float) -> None:
    assert relative_width(power_exponent(length)) == pytest.approx(length, rel=1e-9)


@pytest.mark.parametrize("length", [0.0, 0.29, float("nan")])
def test_impossible_lengths_are_refused(length: float) -> None:
    with pytest.raises(InputError, match="sigma_rel"):
        power_exponent(length)


@pytest.mark.parametrize("power", [0, 1, 2])
def test_power_average_of_a_monomial(power: int) -> None:
    """Average of tau^n is (gamma + 1) / (gamma + n + 1) t^n."""
    average = PowerAverage(one(5.0), 0.1)
    for images in range(1, 4001):
        average.update(one((images / 4000) ** power), images, 1)
    exponent = power_exponent(0.1)
    assert average.values["weight"].item() == pytest.approx((exponent + 1) / (exponent + power + 1), rel=1e-3)


def test_exponential_average_of_a_step() -> None:
    average = ExponentialAverage(one(0.0), half_life=100, ramp=10.0)
    for images in range(10, 310, 10):
        average.update(one(1.0), images, 10)
    assert average.values["weight"].item() == pytest.approx(1 - 0.5**3)


def test_half_life_is_limited_early_on() -> None:
    average = ExponentialAverage(one(0.0), half_life=1e9, ramp=0.5)
    average.update(one(1.0), 20, 10)
    assert average.values["weight"].item() == pytest.approx(0.5)


def test_whole_numbers_and_tied_weights() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.BatchNorm1d(2))
    network[1].weight = network[0].weight
    state = named_state(network)
    assert "1.weight" not in state
    average = PowerAverage(state, 0.1)
    network(torch.randn(4, 2, generator=torch.Generator().manual_seed(0)))
    average.update(state, 8, 4)
    assert average.values["2.num_batches_tracked"].item() == 1


def test_posthoc_weights_of_a_snapshot_are_that_snapshot() -> None:
    snapshots = [Profile(length, images) for length in (0.05, 0.1) for images in (1e6, 2e6, 3e6)]
    weights = posthoc_weights(snapshots, Profile(0.1, 2e6))
    assert weights == pytest.approx([0, 0, 0, 0, 1, 0], abs=1e-6)
    assert sum(posthoc_weights(snapshots, Profile(0.2, 3e6))) == pytest.approx(1, abs=1e-9)
    with pytest.raises(InputError, match="snapshots: found none"):
        posthoc_weights([], Profile(0.1, 1))


@pytest.mark.parametrize("length", [0.07, 0.15])
def test_a_length_that_was_not_tracked_is_rebuilt(tmp_path: Path, length: float) -> None:
    """A random walk of weights: the rebuilt average is close to the one that was tracked all along."""
    generator = torch.Generator().manual_seed(0)
    state = {"weight": torch.zeros(200)}
    tracked = [PowerAverage(state, 0.05), PowerAverage(state, 0.1)]
    truth = PowerAverage(state, length)
    for images in range(4, 3205, 4):
        state["weight"] += torch.randn(200, generator=generator)
        for average in [*tracked, truth]:
            average.update(state, images, 4)
        if images % 160 == 0:
            for average in tracked:
                save_snapshot(tmp_path, average, images)
    assert len(find_snapshots(tmp_path)) == 40
    rebuilt = rebuild_average(tmp_path, length)["weight"]
    wanted = truth.values["weight"]
    nearest = min((average.values["weight"] - wanted).norm().item() for average in tracked)
    assert (rebuilt - wanted).norm() < 0.01 * wanted.norm()
    assert (rebuilt - wanted).norm() < 0.1 * nearest
    early = rebuild_average(tmp_path, 0.1, images=1600)
    assert not torch.equal(early["weight"], rebuilt)


def test_missing_snapshots_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no snapshots"):
        rebuild_average(tmp_path, 0.1)
    save_snapshot(tmp_path, PowerAverage(one(1.0), 0.1), 50)
    with pytest.raises(DataError, match="up to 20 images"):
        rebuild_average(tmp_path, 0.1, images=20)
    (tmp_path / "power-x.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match="power-LENGTH-IMAGES"):
        find_snapshots(tmp_path)


def test_combine_sums_in_float64() -> None:
    states = [
        {"a": torch.full((3,), value), "n": torch.tensor(number)} for number, value in enumerate((1e8, 1.0, -1e8))
    ]
    total = combine(states, [1.0, 2.0, 1.0])
    assert total["a"].tolist() == [2.0] * 3
    assert total["n"].item() == 2
