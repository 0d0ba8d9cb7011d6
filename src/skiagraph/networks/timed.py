"""A network of images that is told the time through channels of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skiagraph.networks.layers import sinusoidal_embedding

__all__ = ["TimedNetwork"]


class TimedNetwork(nn.Module):
    """f([x, s(t)]): the sinusoids of the time as channels that are the same in every pixel.

    Any classifier of images becomes one of noised images, p(y | x_t, t), without a change to its inside. Differs from
    the released code, whose ResNet-50 is told no time.

    Args:
        network: takes (B, C + channels, *size).
        channels: even number of sinusoids.
    """

    def __init__(self, network: nn.Module, channels: int) -> None:
        super().__init__()
        if channels < 2 or channels % 2:
            raise ValueError(f"channels is {channels}; give an even number of at least 2")
        self.network, self.channels = network, channels

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Evaluate the network.

        Args:
            x: (B, C, *size).
            time: () or (B,), in the unit the network was trained with.
        """
        told = sinusoidal_embedding(time.expand(len(x)).to(x.device), self.channels).to(x.dtype)
        spread = told.reshape(*told.shape, *[1] * (x.dim() - 2)).expand(-1, -1, *x.shape[2:])
        result: Tensor = self.network(torch.cat([x, spread], dim=1))
        return result
