"""The corrected noisy objective: its values, its gradient, and that every item stands for itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.inverse import literal
from tests.inverse.scans import Mixing, network, scan
from tests.inverse.subsampled import SCHEDULE, Small, images, kspace, literal_data, literal_spaces, numpy_network
from torch import Tensor

from skiagraph.diffusion.denoiser import NetworkTime
from skiagraph.diffusion.objective import LogNormalTimes, noise_weight
from skiagraph.diffusion.schedule import EDM
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.fresh_masks import FreshColumns, FreshMasks
from skiagraph.inverse.image_objective import MaskedImageObjective
from skiagraph.inverse.noisy_objective import NoisyMeasurementObjective, consistent_partial
from skiagraph.inverse.objective import MeasurementObjective
from skiagraph.inverse.released_objective import ReferenceMeasurementScoreObjective
from skiagraph.physics.masks import Cells, RandomColumns

NU = 0.1
LEVELS = torch.tensor([0.0, 5.0, 6.0, 120.0], dtype=torch.float64)  # the first two are below nu
MAKERS = pytest.mark.parametrize("make", [images, kspace], ids=["images", "coils"])


def at(levels: Tensor) -> Callable[..., Tensor]:
    """Times that are not drawn."""
    return lambda schedule, draws: levels


def objective(levels: Tensor = LEVELS, **settings: Any) -> NoisyMeasurementObjective:
    return NoisyMeasurementObjective(SCHEDULE, at(levels), NU, weight=noise_weight, **settings)


def literal_values(
    batch: dict[str, Tensor], streams: Streams, gain: float = 0.9, held: float | None = None
) -> list[float]:
    """Every item on its own; with `held` the target is that of a network of this gain."""
    s = batch["measurement"]
    data = literal_data(batch, streams.normal_like(s), streams.normal_like(s))
    levels = literal.scale_levels(5)
    # Between two levels rho is linear in t, so that tau_nu is not exactly that of the table of 1000.
    tau = float(SCHEDULE.original_index(SCHEDULE.time_of(-2 * torch.tensor(NU, dtype=torch.float64).log())))
    noise = literal.Noise(NU, tau, 1 / (1 + NU**2), 0.005, 0.05, 1.0)
    found = []
    for item, (space, values) in enumerate(zip(literal_spaces(batch), data, strict=True)):
        level = int(LEVELS[item])
        target = None if held is None else literal.denoised(numpy_network(held), space, noise, *values[:2])
        network_ = numpy_network(gain)
        found.append(literal.default_noisy(network_, space, levels[level], 5.0 * level, noise, values, target))
    return found


@MAKERS
def test_values_with_times_on_both_sides_of_the_noise_in_one_batch(make: Any) -> None:
    batch = make(noise=NU)
    result = objective()(Small(), batch, Streams(range(4)))
    assert result.loss.tolist() == pytest.approx(literal_values(batch, Streams(range(4))), rel=1e-6)
    assert torch.equal(result.level, SCHEDULE.log_snr(LEVELS))
    assert torch.allclose(result.extra["main"] + 0.05 * result.extra["sure"], result.loss)


@MAKERS
@pytest.mark.parametrize("detach", [True, False])
def test_the_gradient_passes_through_the_target_only_if_asked(make: Any, detach: bool) -> None:
    batch, module = make(noise=NU), Small()
    objective(detach_target=detach)(module, batch, Streams(range(4))).loss.sum().backward()
    step = 1e-5
    held = 0.9 if detach else None
    high, low = (sum(literal_values(batch, Streams(range(4)), 0.9 + change, held)) for change in (step, -step))
    assert module.gain.grad is not None
    assert float(module.gain.grad) == pytest.approx((high - low) / (2 * step), rel=1e-4)


@MAKERS
def test_an_item_does_not_depend_on_its_batch(make: Any) -> None:
    batch = make(noise=NU)
    batch["noise"] = torch.tensor([0.1, 0.0, 0.3, 0.1])
    whole = NoisyMeasurementObjective(SCHEDULE)(Small(), batch, Streams(range(4)))
    for item in range(4):
        alone = {name: value[[item]] for name, value in batch.items()}
        single = NoisyMeasurementObjective(SCHEDULE)(Small(), alone, Streams([item]))
        assert torch.allclose(single.loss, whole.loss[[item]], rtol=1e-9)
        assert torch.equal(single.level, whole.level[[item]])


@MAKERS
def test_without_noise_it_is_the_noiseless_objective(make: Any) -> None:
    batch = make()
    plain = MaskedImageObjective(SCHEDULE)(Small(), batch, Streams(range(4))).loss
    found = NoisyMeasurementObjective(SCHEDULE, noise_std=0.0, weight=noise_weight)(Small(), batch, Streams(range(4)))
    assert torch.equal(found.loss, plain)
    batch["noise"] = torch.tensor([0.0, 0.2, 0.0, 0.0])
    mixed = NoisyMeasurementObjective(SCHEDULE, weight=noise_weight)(Small(), batch, Streams(range(4)))
    assert torch.allclose(mixed.loss[[0, 2, 3]], plain[[0, 2, 3]], rtol=1e-6)
    assert not torch.isclose(mixed.loss[1], plain[1])
    assert mixed.extra["sure"][[0, 2, 3]].eq(0).all()


OBJECTIVES: list[Any] = [
    NoisyMeasurementObjective(SCHEDULE, noise_std=NU),
    MaskedImageObjective(SCHEDULE),
    ReferenceMeasurementScoreObjective(SCHEDULE, NU),
    ReferenceMeasurementScoreObjective(SCHEDULE),
]


@MAKERS
@pytest.mark.parametrize("number", range(4))
def test_values_off_the_mask_change_nothing(make: Any, number: int) -> None:
    """Where nothing was observed another image would only have been seen in these entries, even as missing values."""
    batch = make(noise=NU)
    found = OBJECTIVES[number](Small(), batch, Streams(range(4))).loss
    missing = torch.where(batch["mask"] > 0, batch["measurement"], torch.nan)
    assert torch.equal(OBJECTIVES[number](Small(), {**batch, "measurement": missing}, Streams(range(4))).loss, found)


@MAKERS
@pytest.mark.parametrize("number", range(4))
def test_only_the_streams_are_drawn_from_and_no_file_is_written(
    make: Any, number: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    batch = make(noise=NU)
    before = {name: value.clone() for name, value in batch.items()}
    state = torch.get_rng_state()
    first = OBJECTIVES[number](Small(), batch, Streams(range(4))).loss
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert torch.equal(OBJECTIVES[number](Small(), batch, Streams(range(4))).loss, first)
    assert not torch.equal(OBJECTIVES[number](Small(), batch, Streams(range(4, 8))).loss, first)
    assert all(torch.equal(batch[name], value) for name, value in before.items())
    assert not list(tmp_path.iterdir())


@MAKERS
def test_levels_that_the_released_code_fails_at(make: Any) -> None:
    levels = torch.tensor([10.0, 20.0, 30.0, 40.0], dtype=torch.float64)
    assert objective(levels)(Small(), make(noise=NU), Streams(range(4))).loss.isfinite().all()


def test_continuous_schedules_and_other_parametrisations() -> None:
    schedule = EDM(0.01, 20.0)
    batch = images(noise=NU)
    for kind in ("eps", "x0", "v", "edm"):
        settings = {"parametrisation": kind, "time": NetworkTime("log_rho")}
        found = NoisyMeasurementObjective(schedule, LogNormalTimes(), NU, **settings)  # type: ignore[arg-type]
        assert found(Small(), batch, Streams(range(4))).loss.isfinite().all()


def test_a_network_may_see_the_mask() -> None:
    seen: list[Tensor] = []

    class Watching(torch.nn.Module):
        def forward(self, u: Tensor, time: Tensor) -> Tensor:
            seen.append(u)
            return u[:, :3]

    batch = images(noise=NU)
    objective(sees_mask=True)(Watching(), batch, Streams(range(4)))
    assert len(seen) == 3
    assert all(torch.equal(value[:, 3:], batch["mask"]) for value in seen)


def test_the_network_that_is_exact_at_low_noise_trains_on_noisy_scans() -> None:
    batch = scan(noise=NU)
    batch["measurement"] = batch.pop("kspace")
    module, schedule = network(Mixing(3)), EDM(0.01, 20.0)
    learn = NoisyMeasurementObjective(schedule, LogNormalTimes(), partial=consistent_partial)
    optimiser = torch.optim.Adam(module.parameters(), 0.02)
    losses = []
    for _ in range(10):
        loss = learn(module, batch, Streams([1, 2, 3])).loss.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.95 * losses[0]
    with pytest.raises(ValueError, match="operator: found Identity"):
        learn(module, images(), Streams(range(4)))


@pytest.mark.parametrize("make", [images, kspace], ids=["images", "coils"])
def test_training_on_measurements_alone_lowers_the_loss(make: Any) -> None:
    batch = make(noise=NU)
    module = Small(0.0)
    learn = objective(torch.tensor([2.0, 40.0, 80.0, 120.0], dtype=torch.float64))
    optimiser = torch.optim.Adam(module.parameters(), 0.05)
    losses = []
    for _ in range(20):
        loss = learn(module, batch, Streams(range(4))).loss.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.95 * losses[0]


def test_fresh_masks_are_an_ablation_on_complete_data() -> None:
    full = {"measurement": images()["measurement"] + 1.0}
    fresh = FreshMasks(NoisyMeasurementObjective(SCHEDULE), Cells(16), NU)
    first = fresh(Small(), full, Streams(range(4)))
    assert first.loss.shape == (4,)
    assert first.extra["sure"].ne(0).all()
    with pytest.raises(ValueError, match="not complete"):
        fresh(Small(), images(), Streams(range(4)))
    with pytest.raises(ValueError, match="noise_std: found -1"):
        FreshMasks(NoisyMeasurementObjective(SCHEDULE), Cells(16), -1)
    plain = FreshMasks(MaskedImageObjective(SCHEDULE), Cells(16))
    streams = Streams(range(4))
    mask = Cells(16).draw(streams).double()
    masked = {"measurement": mask * full["measurement"], "mask": mask}
    expected = MaskedImageObjective(SCHEDULE)(Small(), masked, streams).loss
    assert torch.equal(plain(Small(), full, Streams(range(4))).loss, expected)


def test_fresh_columns_leave_the_noise_of_the_scan() -> None:
    batch = {**scan(noise=0.02), "mask": torch.ones(3, 1, 1, 16)}
    family, learn = RandomColumns(16, 4.0, 4), MeasurementObjective(flips=False)
    streams = Streams(range(3))
    mask = family.draw(streams).reshape(3, 1, 1, 16)
    expected = learn(network(), {**batch, "kspace": mask * batch["kspace"], "mask": mask}, streams).loss
    assert torch.equal(FreshColumns(learn, family)(network(), batch, Streams(range(3))).loss, expected)
    with pytest.raises(ValueError, match="not complete"):
        FreshColumns(learn, family)(network(), scan(), Streams(range(3)))


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"noise_std: found -0\.1"):
        NoisyMeasurementObjective(SCHEDULE, noise_std=-0.1)
    with pytest.raises(ValueError, match=r"noise_std: found 200; allowed 0 to the schedule's largest"):
        NoisyMeasurementObjective(SCHEDULE, noise_std=200)
    with pytest.raises(ValueError, match="noise_std: found 200"):
        NoisyMeasurementObjective(SCHEDULE)(Small(), {**images(), "noise": torch.tensor(200.0)}, Streams(range(4)))
    with pytest.raises(ValueError, match="kappa: found 0"):
        NoisyMeasurementObjective(SCHEDULE, kappa=0)
    with pytest.raises(ValueError, match="sure_weight: found -1"):
        NoisyMeasurementObjective(SCHEDULE, sure_weight=-1)
    with pytest.raises(ValueError, match="states noise above 0"):
        MaskedImageObjective(SCHEDULE)(Small(), {**images(), "noise": torch.tensor(0.1)}, Streams(range(4)))
