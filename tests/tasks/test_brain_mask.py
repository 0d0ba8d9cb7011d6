"""The way to SynthStrip's network and back: grid, padding, largest piece, weights; a tiny network stands in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from skiagraph.data.volume import Volume
from skiagraph.errors import DataError, SampleUnavailable
from skiagraph.tasks import brain_mask as room
from skiagraph.tasks.brain_mask import brain_mask, load_synthstrip

AFFINE = np.array([[-2.0, 0, 0, 40], [0, 0, 3.0, -30], [0, 2.0, 0, -50], [0, 0, 0, 1.0]])


class Threshold(nn.Module):
    """Distance -5 mm where the image is bright, 5 mm elsewhere; keeps the shape it was asked for."""

    seen: tuple[int, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        self.seen = tuple(x.shape)
        return torch.where(x > 0.5, -5.0, 5.0)


@pytest.fixture(autouse=True)
def small_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_LEAST_SIDE", 64)


def head() -> tuple[Volume, np.ndarray]:
    """A bright ball with a hole, and a bright crumb, on an anisotropic grid."""
    index = np.stack(np.meshgrid(*[np.arange(side) for side in (20, 22, 14)], indexing="ij"), -1)
    place = (index - np.array([9.5, 10.5, 6.5])) * (2.0, 2.0, 3.0)
    radius = np.linalg.norm(place, axis=-1)
    image = np.where(radius < 14, 100.0, 0.0)
    image[9:11, 10:12, 6:8] = 0.0
    image[0, 0, 0] = 100.0
    return Volume(image.astype(np.float32), AFFINE, "ball"), radius < 14


def test_the_mask_lies_on_the_volumes_grid() -> None:
    volume, ball = head()
    network = Threshold()
    found = brain_mask(volume, network)  # type: ignore[arg-type]
    assert network.seen == (1, 1, 64, 64, 64)
    assert found.mask.shape == volume.array.shape
    assert found.mask[9, 10, 6]  # filled
    assert not found.mask[0, 0, 0]  # not the largest piece
    overlap = 2 * (found.mask & ball).sum() / (found.mask.sum() + ball.sum())
    assert overlap > 0.9
    assert found.litres == pytest.approx(found.mask.sum() * 12 / 1e6)


def test_a_volume_without_brain_is_refused() -> None:
    volume, _ = head()

    class Nothing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.full_like(x, 9.0)

    with pytest.raises(DataError, match="ball: no brain was found"):
        brain_mask(volume, Nothing())  # type: ignore[arg-type]
    with pytest.raises(DataError, match="constant image"):
        brain_mask(Volume(np.ones((4, 4, 4)), AFFINE), Threshold())  # type: ignore[arg-type]


def test_weights_come_from_the_cache_and_are_checked(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from skiagraph.data.network_archives import SYNTHSTRIP
    from skiagraph.networks.synthstrip import SynthStripNetwork

    with pytest.raises(SampleUnavailable, match="downloading was not allowed"):
        load_synthstrip(cache=tmp_path, download_allowed=False)
    kept = tmp_path / "networks" / SYNTHSTRIP.sha256[:16] / "synthstrip.safetensors"
    kept.parent.mkdir(parents=True)
    torch.manual_seed(0)
    weights = SynthStripNetwork().state_dict()
    save_file(weights, kept)
    network = load_synthstrip(cache=tmp_path, download_allowed=False)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    weights.pop("unet.encoder.0.0.conv.bias")
    save_file(weights, kept)
    with pytest.raises(DataError, match=r"not SynthStrip's as published"):
        load_synthstrip(cache=tmp_path, download_allowed=False)
