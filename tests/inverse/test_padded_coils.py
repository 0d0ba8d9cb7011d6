"""Items of several coil counts in one batch: coils of zeros change no objective, and draw nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.inverse.scans import maps, scan
from torch import Tensor, nn

from skiagraph.diffusion.schedule import linear_table
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.ambient import AmbientNetwork, AmbientObjective
from skiagraph.inverse.fresh_masks import FreshMasks
from skiagraph.inverse.image_objective import MaskedImageObjective
from skiagraph.inverse.items import measured_items
from skiagraph.inverse.noisy_objective import NoisyMeasurementObjective
from skiagraph.inverse.released_objective import ReferenceMeasurementScoreObjective
from skiagraph.inverse.unrolled import SelfSupervisedObjective, UnrolledNetwork
from skiagraph.physics.coils import pad_coils
from skiagraph.physics.masks import RandomColumns

TABLE = linear_table()
LEVELS = TABLE.respaced("ddim200")


class Eps(nn.Module):
    """Something to say of an image and a time."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, n, H, W) -> (B, 2, H, W)."""
        return torch.tanh(x - 0.5 * x.roll(1, -1) + 0.001 * time[:, None, None, None])[:, :2]


def _measured(noise: float = 0.0, covariance: bool = False) -> dict[str, Tensor]:
    """One item of three coils as the objectives of `measured_items` read it."""
    one = scan(batch=1, coils=3, noise=noise)
    batch = {"measurement": one["kspace"], "mask": one["mask"], "maps": one["maps"]}
    if not noise:
        return batch
    if not covariance:
        return {**batch, "noise": one["noise"]}
    psi = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 0.5]], dtype=torch.complex64)
    return {**batch, "noise_covariance": noise**2 * psi[None]}


def _padded(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same item with two coils of zeros behind its own."""
    padded = dict(batch)
    for name in ("measurement", "kspace", "maps"):
        if name in batch:
            padded[name] = pad_coils(batch[name], 5)
    if "noise_covariance" in batch:
        padded["noise_covariance"] = torch.zeros(1, 5, 5, dtype=torch.complex64)
        padded["noise_covariance"][:, :3, :3] = batch["noise_covariance"]
    return padded


def _ambient() -> tuple[AmbientObjective, nn.Module]:
    network = AmbientNetwork(Eps())
    return AmbientObjective(network, centre=4), network


CASES: dict[str, Callable[[], tuple[Any, Any, dict[str, Tensor]]]] = {
    "masked": lambda: (MaskedImageObjective(LEVELS), Eps(), _measured()),
    "noisy": lambda: (NoisyMeasurementObjective(LEVELS), Eps(), _measured(0.1)),
    "correlated noise": lambda: (NoisyMeasurementObjective(LEVELS), Eps(), _measured(0.1, covariance=True)),
    "released": lambda: (ReferenceMeasurementScoreObjective(LEVELS), Eps(), _measured()),
    "released, noisy": lambda: (ReferenceMeasurementScoreObjective(LEVELS, 0.1), Eps(), _measured(0.1)),
    "ambient": lambda: (*_ambient(), scan(batch=1, coils=3)),
    "self-supervised": lambda: (SelfSupervisedObjective(), UnrolledNetwork(Eps()), scan(batch=1, coils=3)),
    "fresh masks": lambda: (
        FreshMasks(NoisyMeasurementObjective(LEVELS), RandomColumns(16, 2.0, 4), 0.1),
        Eps(),
        {"measurement": _measured()["measurement"], "maps": maps(batch=1, coils=3)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_coils_of_zeros_change_no_loss(case: str) -> None:
    objective, network, batch = CASES[case]()
    for seed in range(4):  # times on both sides of the noise
        alone = objective(network, batch, Streams([seed])).loss
        padded = objective(network, _padded(batch), Streams([seed])).loss
        torch.testing.assert_close(padded, alone, rtol=2e-5, atol=1e-6)


def test_entries_of_padding_are_not_counted() -> None:
    batch = _measured()
    items = measured_items(_padded(batch))
    assert items.count.tolist() == measured_items(batch).count.tolist()
    assert items.entries.tolist() == [2 * 3 * 12 * 16]
    pictures = measured_items({"measurement": torch.ones(2, 3, 4, 4), "mask": torch.ones(1, 1, 4, 4)})
    assert pictures.count.tolist() == pictures.entries.tolist() == [48.0, 48.0]
