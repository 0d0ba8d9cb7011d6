"""What the network inside is shown."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from skiagraph.networks.layers import sinusoidal_embedding
from skiagraph.networks.timed import TimedNetwork


class Shown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def test_the_image_comes_first_and_every_pixel_is_told_the_samples_own_time() -> None:
    x, time = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([7.0, 900.0])
    seen = TimedNetwork(Shown(), 6)(x, time)
    assert seen.shape == (2, 9, 4, 5)
    assert torch.equal(seen[:, :3], x)
    wanted = sinusoidal_embedding(time, 6)
    assert torch.equal(seen[:, 3:], wanted[:, :, None, None].expand(-1, -1, 4, 5))
    assert torch.equal(TimedNetwork(Shown(), 6)(x, torch.tensor(7.0))[:, 3:, 0, 0], wanted[:1].expand(2, -1))
    with pytest.raises(ValueError, match="even number"):
        TimedNetwork(Shown(), 3)
