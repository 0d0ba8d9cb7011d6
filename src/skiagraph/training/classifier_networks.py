"""Networks that classify: the encoder half of the U-Net, and MONAI's networks in sizes that suit small images.

build_network(kind, settings)     kinds "encoder_classifier", "monai_classifier"; registered on import
encoder_architecture(config), monai_architecture(network, ...) -> the architecture entry of a record
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from skiagraph.networks.classifier import ClassifierConfig, EncoderClassifier
from skiagraph.networks.timed import TimedNetwork
from skiagraph.training.architectures import build_network, register_architecture

__all__ = ["MONAI_NETWORKS", "build_classifier", "encoder_architecture", "monai_architecture", "monai_classifier"]


def _resnet(blocks: tuple[int, ...], block: str = "basic") -> Callable[[int, int, int, float], nn.Module]:
    def build(channels: int, classes: int, width: int, dropout: float) -> nn.Module:
        from monai.networks.nets import ResNet

        widths = [width * 2**level for level in range(4)]
        network: nn.Module = ResNet(
            block,
            list(blocks),
            widths,
            spatial_dims=2,
            n_input_channels=channels,
            conv1_t_size=3,
            conv1_t_stride=1,
            no_max_pool=True,
            num_classes=classes,
        )
        return network

    return build


def _densenet(channels: int, classes: int, width: int, dropout: float) -> nn.Module:
    from monai.networks.nets import DenseNet

    network: Any = DenseNet(
        spatial_dims=2,
        in_channels=channels,
        out_channels=classes,
        init_features=width,
        growth_rate=width // 2,
        block_config=(4, 4, 4),
        dropout_prob=dropout,
    )
    network.features.conv0 = nn.Conv2d(channels, width, 3, padding=1, bias=False)  # the stem halves twice: too much
    network.features.pool0 = nn.Identity()
    made: nn.Module = network
    return made


MONAI_NETWORKS: Mapping[str, Callable[[int, int, int, float], nn.Module]] = {
    "resnet10": _resnet((1, 1, 1, 1)),
    "resnet18": _resnet((2, 2, 2, 2)),
    "resnet50": _resnet((3, 4, 6, 3), "bottleneck"),
    "densenet": _densenet,
}
"""Builders by name: (channels, classes, width, dropout) -> network from (B, C, H, W) to logits (B, K)."""


def monai_classifier(
    network: str, channels: int, classes: int, width: int = 16, dropout: float = 0.0, time_channels: int = 0
) -> nn.Module:
    """Make one of MONAI's networks for images from about 16 pixels: first convolution 3 x 3, no early pooling.

    Args:
        network: one of `MONAI_NETWORKS`.
        channels: of the images.
        classes: number of logits.
        width: channels of the first level.
        dropout: probability in [0, 1), where the network has dropout.
        time_channels: sinusoids that tell a noisy classifier the time (`TimedNetwork`); 0 for one of clean images.
    """
    if dropout and network.startswith("resnet"):
        raise ValueError(f"dropout: found {dropout}, but {network} has none; leave it out")
    if network not in MONAI_NETWORKS:
        raise ValueError(f"network: found {network!r}, allowed: {', '.join(MONAI_NETWORKS)}")
    made = MONAI_NETWORKS[network](channels + time_channels, classes, width, dropout)
    return TimedNetwork(made, time_channels) if time_channels else made


def build_classifier(kind: str, settings: Mapping[str, Any]) -> nn.Module:
    """Build a classifying network with fresh weights; kinds of others are added by `register_architecture`.

    Args:
        kind: "encoder_classifier", called as network(x, time), or "monai_classifier" and others, as network(x), with
            time channels as network(x, time).
        settings: the JSON settings its builder takes.
    """
    return build_network(kind, settings)


def encoder_architecture(config: ClassifierConfig) -> dict[str, Any]:
    """Return the architecture entry of a record for an `EncoderClassifier`."""
    return {"kind": "encoder_classifier", "settings": json.loads(json.dumps(dataclasses.asdict(config)))}


def monai_architecture(
    network: str, channels: int, classes: int, width: int = 16, dropout: float = 0.0, time_channels: int = 0
) -> dict[str, Any]:
    """Return the architecture entry of a record for `monai_classifier`, whose arguments these are."""
    settings = {"network": network, "channels": channels, "classes": classes, "width": width, "dropout": dropout}
    told = {"time_channels": time_channels} if time_channels else {}
    return {"kind": "monai_classifier", "settings": {**settings, **told}}


def _encoder(settings: Mapping[str, Any]) -> nn.Module:
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()
    }
    return EncoderClassifier(ClassifierConfig(**values))


def _monai(settings: Mapping[str, Any]) -> nn.Module:
    return monai_classifier(**settings)


register_architecture("encoder_classifier", _encoder)
register_architecture("monai_classifier", _monai)
