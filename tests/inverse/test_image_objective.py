"""The default objective for subsampled images: the eps error on what was observed, divided by its number."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.inverse.subsampled import SCHEDULE, Small, images, kspace
from torch import Tensor

from skiagraph.diffusion.objective import MinSNRWeight
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.image_objective import MaskedImageObjective
from skiagraph.inverse.items import measured_items
from skiagraph.inverse.objective import reference_loss


def drawn(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    streams = Streams(range(len(batch["mask"])))
    t = (streams.uniform(dtype=torch.float64) * 200).floor()
    return t, streams.normal_like(batch["measurement"])


def test_it_is_the_error_of_eps_over_the_observed_entries() -> None:
    batch = images()
    batch["mask"][0, :, :8] = 0  # an item that keeps less
    batch["measurement"] = batch["mask"] * batch["measurement"]
    found = MaskedImageObjective(SCHEDULE)(Small(), batch, Streams(range(4)))
    t, noise = drawn(batch)
    alpha, sigma = (value.reshape(-1, 1, 1, 1) for value in SCHEDULE(t))
    eps = Small()(batch["mask"] * (alpha * batch["measurement"] + sigma * noise), 5 * t)
    observed = [(noise - eps)[i][batch["mask"][i].expand(3, 16, 16) > 0].square().mean() for i in range(4)]
    assert found.loss.tolist() == pytest.approx([float(value.detach()) for value in observed], rel=1e-9)
    assert torch.equal(found.level, SCHEDULE.log_snr(t))
    assert len(set(t.tolist())) == 4


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_the_released_loss_is_the_kept_fraction_of_it(dtype: torch.dtype, tolerance: float) -> None:
    batch = images(dtype=dtype)
    found = MaskedImageObjective(SCHEDULE)(Small(), batch, Streams(range(4))).loss
    t, noise = drawn(batch)
    items = measured_items(batch)
    released = reference_loss(
        Small(), SCHEDULE, items.operator, items.measurement, items.mask, t, noise, (5 * t).to(dtype)
    )
    assert torch.allclose(released, 10 / 16 * found, rtol=tolerance)


def test_a_bounded_weight_for_coils() -> None:
    batch = kspace()
    bounded: Any = MaskedImageObjective(SCHEDULE, parametrisation="v", weight=MinSNRWeight(5.0))
    plain: Any = MaskedImageObjective(SCHEDULE, parametrisation="v")
    t, _ = drawn(batch)
    ratio = torch.exp(SCHEDULE.log_snr(t)).clamp(max=5) / torch.exp(SCHEDULE.log_snr(t))
    loss, free = (one(Small(), batch, Streams(range(4))).loss for one in (bounded, plain))
    assert torch.allclose(loss, ratio * free)


def test_an_item_does_not_depend_on_its_batch() -> None:
    batch = images()
    whole = MaskedImageObjective(SCHEDULE)(Small(), batch, Streams(range(4))).loss
    for item in range(4):
        alone = {name: value[[item]] for name, value in batch.items()}
        single = MaskedImageObjective(SCHEDULE)(Small(), alone, Streams([item])).loss
        assert torch.allclose(single, whole[[item]], rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(1)}, "unknown x"),
        ({"mask": None}, "missing mask"),
        ({"mask": torch.ones(4, 1, 16, 8)}, "mask: found shape"),
        ({"mask": torch.ones(4, 16, 16)}, "mask: found shape"),
        ({"mask": torch.full((4, 1, 16, 16), 0.5)}, "other values than 0 and 1"),
        ({"mask": torch.zeros(4, 1, 16, 16)}, "without any observed entry"),
        ({"measurement": torch.full((4, 3, 16, 16), torch.nan)}, "not finite"),
        ({"maps": torch.ones(4, 3, 16, 16)}, "with a real measurement"),
        ({"measurement": torch.zeros(4, 3, 16, 16, dtype=torch.complex64)}, "found none for k-space of 3 coils"),
        ({"noise": torch.tensor(-0.1)}, "noise: found values that are negative"),
        ({"noise": torch.zeros(3)}, "noise: found shape"),
        ({"noise": torch.zeros(4), "noise_covariance": torch.eye(3)[None]}, "together with noise_covariance"),
        ({"noise_covariance": torch.eye(2)[None]}, "noise_covariance: found shape"),
        ({"noise_covariance": -torch.eye(3)[None]}, "a covariance has none below 0"),
    ],
)
def test_wrong_batches_are_refused(change: dict[str, Any], message: str) -> None:
    batch = {name: value for name, value in {**images(), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        MaskedImageObjective(SCHEDULE)(Small(), batch, Streams(range(4)))


def test_maps_that_do_not_sum_to_one_are_refused_and_one_coil_needs_none() -> None:
    batch = kspace()
    with pytest.raises(ValueError, match="normalise_maps"):
        measured_items({**batch, "maps": 1.1 * batch["maps"]})
    with pytest.raises(ValueError, match="maps: found shape"):
        measured_items({**batch, "maps": batch["maps"][:, :2]})
    single = {"measurement": batch["measurement"][:, :1], "mask": batch["mask"]}
    items = measured_items(single)
    s = items.measurement
    assert torch.allclose(items.operator.forward(items.operator.adjoint(s)), s)
    assert torch.equal(items.count, 2 * 7 * batch["mask"].flatten(1).sum(1))


def test_an_exact_zero_in_the_data_counts_as_observed() -> None:
    batch = images()
    zero = {**batch, "measurement": torch.zeros_like(batch["measurement"])}
    assert torch.equal(measured_items(zero).count, measured_items(batch).count)
    assert (MaskedImageObjective(SCHEDULE)(Small(), zero, Streams(range(4))).loss > 0).all()
