"""Networks in which no parameter is zero: a fresh one gives 0 and would pass any comparison."""

from __future__ import annotations

import torch
from torch import Tensor

from skiagraph.networks.classifier import ClassifierConfig, EncoderClassifier
from skiagraph.networks.unet import UNet, UNetConfig

__all__ = ["filled_classifier", "filled_unet", "noise"]


def filled_unet(config: UNetConfig, seed: int = 0) -> UNet:
    """A U-Net with seeded noise on every parameter."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = UNet(config).eval()
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return network


def filled_classifier(config: ClassifierConfig, seed: int = 0) -> EncoderClassifier:
    """A classifier with seeded noise on every parameter."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = EncoderClassifier(config).eval()
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return network


def noise(*shape: int, seed: int = 1) -> Tensor:
    """Seeded standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
