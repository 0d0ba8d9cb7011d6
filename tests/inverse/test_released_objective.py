"""The released noisy objective equals a literal evaluation of the method page, faults included."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.inverse import literal
from tests.inverse.subsampled import SCHEDULE, Small, images, kspace, literal_data, literal_spaces, numpy_network
from torch import Tensor

from skiagraph.diffusion.schedule import linear_table
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.items import measured_items
from skiagraph.inverse.objective import reference_loss
from skiagraph.inverse.released_objective import ReferenceMeasurementScoreObjective, released_noisy_loss

NU = 0.1
SETTINGS = ReferenceMeasurementScoreObjective(SCHEDULE, NU, acceleration_rate=0.4).settings
MAKERS = pytest.mark.parametrize("make", [images, kspace], ids=["images", "coils"])
LEVELS = pytest.mark.parametrize("level", [0, 4, 5, 6, 10, 60, 199])


def draws(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    s = batch["measurement"]
    first, second = Streams(range(30, 30 + len(s))), Streams(range(40, 40 + len(s)))
    return first.normal_like(s), second.normal_like(s)


def literal_noise() -> literal.Noise:
    return literal.Noise(NU, *literal.noise_time(NU), 0.005, 0.05, 0.4)


def expected(batch: dict[str, Tensor], level: int, gaussians: tuple[Tensor, Tensor], gain: float = 0.9) -> list[float]:
    data = literal_data(batch, *gaussians)
    bar = literal.scale_levels(5)[level]
    noise = literal_noise()
    return literal.reference_noisy(numpy_network(gain), literal_spaces(batch), bar, 5.0 * level, noise, data)


def found(batch: dict[str, Tensor], level: int, gaussians: tuple[Tensor, Tensor], network: Any = None) -> Tensor:
    t = torch.tensor(float(level), dtype=torch.float64)
    return released_noisy_loss(network or Small(), measured_items(batch), SCHEDULE, t, *gaussians, SETTINGS)[0]


def test_the_time_of_the_noise_level_is_that_of_the_page() -> None:
    assert SETTINGS.time == pytest.approx(26.405594, abs=1e-6)
    assert SETTINGS.alpha_bar == pytest.approx(0.990099012, abs=1e-9)
    assert (SETTINGS.time, SETTINGS.alpha_bar) == pytest.approx(literal.noise_time(NU), rel=1e-12)


@MAKERS
@LEVELS
def test_values_of_both_cases(make: Any, level: int) -> None:
    batch = make(noise=NU)
    gaussians = draws(batch)
    assert found(batch, level, gaussians).tolist() == pytest.approx(expected(batch, level, gaussians), rel=1e-8)


@MAKERS
@LEVELS
def test_values_in_single_precision(make: Any, level: int) -> None:
    dtype = torch.float32 if make is images else torch.complex64
    batch = make(noise=NU, dtype=dtype)
    gaussians = draws(batch)
    # At rho = 0.01 a rounding of 1e-7 of s weighs 1e-5 of the difference that is divided by rho.
    tolerance = 1e-5 if level > 0 else 1e-4
    assert found(batch, level, gaussians).tolist() == pytest.approx(expected(batch, level, gaussians), rel=tolerance)


@MAKERS
@pytest.mark.parametrize("level", [3, 60])
def test_the_gradient_passes_through_the_denoised_target(make: Any, level: int) -> None:
    batch, network = make(noise=NU), Small()
    gaussians = draws(batch)
    found(batch, level, gaussians, network).mean().backward()
    step = 1e-5
    high, low = (sum(expected(batch, level, gaussians, 0.9 + change)) / 4 for change in (step, -step))
    assert network.gain.grad is not None
    assert float(network.gain.grad) == pytest.approx((high - low) / (2 * step), rel=1e-4)


def test_one_time_for_a_batch_is_insisted_on() -> None:
    batch = images(noise=NU)
    with pytest.raises(ValueError, match="one time for the whole batch"):
        released_noisy_loss(
            Small(),
            measured_items(batch),
            SCHEDULE,
            torch.tensor([1.0, 1.0, 2.0, 1.0]),
            *draws(batch),
            SETTINGS,
        )


@MAKERS
@pytest.mark.parametrize("noise", [0.0, NU])
def test_the_objective_draws_one_time_and_recorded_noise_in_order(make: Any, noise: float) -> None:
    batch, streams = make(noise=noise), Streams(range(4))
    objective = ReferenceMeasurementScoreObjective(SCHEDULE, noise, acceleration_rate=0.4)
    result = objective(Small(), batch, streams)
    again = Streams(range(4))
    t = (again.uniform(dtype=torch.float64) * 200).floor()[:1].expand(4)
    assert torch.equal(result.level, SCHEDULE.log_snr(t))
    items = measured_items(batch)
    first = again.normal_like(items.measurement)
    if noise > 0:
        second = again.normal_like(items.measurement)
        expected = released_noisy_loss(Small(), items, SCHEDULE, t, first, second, SETTINGS)[0]
    else:
        s, mask = items.measurement, items.mask
        expected = reference_loss(Small(), SCHEDULE, items.operator, s, mask, t, first, 5 * t)
    assert torch.equal(result.loss, expected)
    assert torch.equal(again.uniform(), streams.uniform())


@pytest.mark.parametrize("level", [10, 20, 30])
def test_levels_that_the_released_code_fails_at(level: int) -> None:
    """t = 50, 100, 150 of the table of 1000."""
    batch = images(noise=NU)
    assert found(batch, level, draws(batch)).isfinite().all()


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="noise_std: found -1"):
        ReferenceMeasurementScoreObjective(SCHEDULE, -1)
    with pytest.raises(ValueError, match=r"noise_std: found 1000.*largest noise-to-signal ratio"):
        ReferenceMeasurementScoreObjective(SCHEDULE, 1000)
    with pytest.raises(ValueError, match="acceleration_rate: found 0"):
        ReferenceMeasurementScoreObjective(SCHEDULE, acceleration_rate=0)
    with pytest.raises(ValueError, match="original: found another table"):
        ReferenceMeasurementScoreObjective(SCHEDULE, original=linear_table(1000, 1e-4, 1e-2))
    batch = {**images(noise=NU), "noise": torch.full((4,), 0.2)}
    with pytest.raises(ValueError, match=r"not 0\.1 for every item"):
        ReferenceMeasurementScoreObjective(SCHEDULE, NU)(Small(), batch, Streams(range(4)))
