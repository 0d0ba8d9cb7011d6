"""Prior and classifier folders with tiny filled networks, and a folder of labelled pictures, for whole commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.helpers.tiny_prior import record
from torch import nn

from skiagraph.data.png import write_png
from skiagraph.networks import UNet, UNetConfig
from skiagraph.networks.classifier import ClassifierConfig, EncoderClassifier
from skiagraph.training import Prior, unet_architecture
from skiagraph.training.classifier import Classifier
from skiagraph.training.classifier_networks import encoder_architecture
from skiagraph.training.classifier_record import ClassifierRecord

__all__ = ["CLASSES", "classifier_folder", "flags", "prior_folder", "real_folder"]

CLASSES = ["cat", "dog", "owl"]
SMALL = {"channels": 8, "multipliers": (1, 2), "residual_blocks": 1, "groups": 4, "heads": 2}


def _fill(network: nn.Module, seed: int, std: float) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for value in network.parameters():
            nn.init.normal_(value, std=std)
    return network


def prior_folder(folder: Path, *, unlabelled: bool = True, channels: int = 1, **changes: Any) -> Path:
    """A class-conditional prior of 16 x 16 pixels."""
    config = UNetConfig(
        in_channels=channels, out_channels=channels, classes=len(CLASSES), unlabelled=unlabelled, **SMALL
    )
    values: dict[str, Any] = {
        "name": "animals",
        "architecture": unet_architecture(config),
        "parametrisation": "eps",
        "schedule": {"kind": "linear_table"},
        "time": {"kind": "original_index"},
        "channels": [{"name": f"c{k}", "meaning": "brightness"} for k in range(channels)],
        "measurement": None,
        "classes": CLASSES,
        "conditions": ["label"],
        **changes,
    }
    Prior(_fill(UNet(config), 0, 0.1), record(**values)).save(folder)
    return folder


def classifier_folder(
    folder: Path, *, seed: int = 1, kind: str = "noisy", channels: int = 1, size: int = 16, **changes: Any
) -> Path:
    """A classifier with filled weights, noisy or clean."""
    config = ClassifierConfig(
        in_channels=channels, out_channels=len(changes.get("classes", CLASSES)), pool="adaptive", **SMALL
    )
    noisy = {"schedule": {"kind": "linear_table"}, "times": "original", "trained_times": "1000"}
    values: dict[str, Any] = {
        "name": folder.name,
        "summary": "A classifier of nothing, for tests.",
        "kind": kind,
        "architecture": encoder_architecture(config),
        "classes": CLASSES,
        "channels": channels,
        "size": [size, size],
        "normalisation": {"method": "bit depth", "low": -1, "high": 1},
        "data": {"provenance": "none"},
        "training": {"objective": "cross-entropy", "images_seen": 1, "seeds": {}, "ema": {"kind": "none"}},
        "licence": "Apache-2.0",
        **(noisy if kind == "noisy" else {}),
        **changes,
    }
    network = _fill(EncoderClassifier(config), seed, 0.3)
    Classifier(network, ClassifierRecord.model_validate(values)).save(folder)
    return folder


def real_folder(folder: Path, count: int = 4, channels: int = 1) -> Path:
    """`count` noisy gradients of each class."""
    generator = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        for number in range(count + label):
            base = 40 + 50 * label + 60 * generator.random((16, 16, channels))
            image = base.astype(np.uint8)
            write_png(folder / name / f"{number}.png", image if channels == 3 else image[..., 0])
    return folder


def flags(root: Path, *more: str) -> list[str]:
    """Words of a small run in `root`, where folders are made that are not there yet."""
    if not (root / "prior").exists():
        prior_folder(root / "prior")
        classifier_folder(root / "guide")
        classifier_folder(root / "judge", seed=2, kind="clean")
        real_folder(root / "real")
    given = {"--prior": "prior", "--classifier": "guide", "--judge": "judge", "--real": "real", "--output": "out"}
    words = ["synthesize"]
    for name, place in given.items():
        if name not in more:
            words += [name, str(root / place)]
    return [*words, "--walk.levels", "6", "--filter.no-reject", *more]
