"""The network of a measurement prior: a U-Net between a linear estimate and a data step."""

from __future__ import annotations

from typing import Any

import torch

from skiagraph.inverse.consistent import ConsistentNetwork
from skiagraph.networks.unet import UNet, UNetConfig
from skiagraph.tasks.reconstruct.settings import NetworkSettings

__all__ = ["KIND", "build_network", "network_record"]

KIND = "consistent-unet"


def build_network(settings: NetworkSettings, seed: int = 0) -> ConsistentNetwork:
    """A fresh network; its weights are a function of the seed, and the global random state is left alone."""
    patch = settings.patch**2
    config = UNetConfig(
        in_channels=4 * patch,
        out_channels=2 * patch,
        channels=settings.channels,
        multipliers=tuple(float(value) for value in settings.multipliers),
        residual_blocks=settings.residual_blocks,
        groups=8,
        heads=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = UNet(config)
    return ConsistentNetwork(backbone, patch=settings.patch, sigma_data=settings.sigma_data)


def network_record(settings: NetworkSettings) -> dict[str, Any]:
    """What `prior.json` says of the architecture."""
    return settings.model_dump(mode="json")
