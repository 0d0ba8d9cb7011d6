"""A prior of nothing: a tiny network with filled weights, and a complete record."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from skiagraph.networks import UNet, UNetConfig
from skiagraph.training import PriorRecord, unet_architecture

__all__ = ["CONFIG", "filled", "record"]

CONFIG = UNetConfig(in_channels=2, out_channels=2, channels=8, multipliers=(1, 2), residual_blocks=1, groups=4, heads=2)


def record(**changes: Any) -> PriorRecord:
    """A record in which every section has something to say, but for `changes`."""
    values: dict[str, Any] = {
        "name": "tiny",
        "summary": "A prior of nothing, for tests.",
        "architecture": unet_architecture(CONFIG),
        "parametrisation": "edm",
        "schedule": {"kind": "edm", "settings": {"sigma_max": 60.0}},
        "time": {"kind": "log_rho"},
        "channels": [{"name": "real", "meaning": "real part"}, {"name": "imaginary", "meaning": "imaginary part"}],
        "normalisation": {"method": "divide by the largest magnitude", "low": -1, "high": 1},
        "measurement": {"family": "RandomColumns", "settings": {"acceleration": 4}, "noise_level": 0.01},
        "size": [16, 16],
        "spacing_mm": [2.0, 2.0],
        "data": {
            "provenance": "simulated k-space",
            "splits": {"train": ["head-a"], "test": ["head-b"]},
            "sources": [{"name": "heads", "package": "p", "version": "1", "licence": "MIT", "sha256": "0" * 64}],
        },
        "training": {
            "objective": "denoising",
            "images_seen": 480,
            "seeds": {"training": 0},
            "ema": {"kind": "power", "length": 0.1},
        },
        "licence": "Apache-2.0",
        "figures": {"PSNR at R = 4 (dB)": 30.5},
        "limits": ["Not for patients."],
    }
    return PriorRecord(**{**values, **changes})


def filled() -> UNet:
    """The network with random weights everywhere, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet(CONFIG)
        for value in network.parameters():
            nn.init.normal_(value, std=0.1)
    return network
