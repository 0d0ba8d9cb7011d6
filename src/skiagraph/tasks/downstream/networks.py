"""Twelve classic classifiers in variants for small images, most of them MONAI's; a training of each takes seconds.

Widths are chosen so that 600 steps of 64 images of 28 x 28 pixels take 5 to 15 seconds on one free core.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skiagraph.tasks.downstream.small_networks import alexnet, squeeze_excitation, vgg

__all__ = ["NETWORKS", "ClassicNetwork", "build_classifier", "logits_of", "scaled_seconds"]

Builder = Callable[[int, int, tuple[int, int]], nn.Module]

EFFICIENT = (
    *("r1_k3_s11_e1_i32_o16_se0.25", "r1_k3_s22_e4_i16_o24_se0.25", "r1_k5_s11_e4_i24_o24_se0.25"),
    *("r1_k3_s22_e4_i24_o40_se0.25", "r1_k5_s11_e4_i40_o48_se0.25"),
)


@dataclass(frozen=True)
class ClassicNetwork:
    """One classic design.

    Args:
        about: what it is, and where it comes from.
        build: (channels, classes, (H, W)) to a network from (B, C, H, W) to (B, K) logits.
        seconds: measured for 600 steps of 64 images of 28 x 28 pixels on one core.
    """

    about: str
    build: Builder
    seconds: float


def _lenet(channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    from monai.networks.nets import Classifier

    made: nn.Module = Classifier(
        (channels, *size), classes, (16, 32, 64), (2, 2, 2), kernel_size=5, num_res_units=0, act="relu", norm="batch"
    )
    return made


def _resnet(block: str, layers: list[int], widths: list[int]) -> Builder:
    def build(channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
        from monai.networks.nets import ResNet

        made: nn.Module = ResNet(block, layers, widths, 2, channels, 3, 2, no_max_pool=True, num_classes=classes)
        return made

    return build


def _densenet(channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    from monai.networks.nets import DenseNet

    made: nn.Module = DenseNet(2, channels, classes, init_features=16, growth_rate=8, block_config=(3, 4, 4), bn_size=2)
    return made


def _efficientnet(channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    from monai.networks.nets.efficientnet import EfficientNet

    made: nn.Module = EfficientNet(
        list(EFFICIENT), 2, channels, classes, 0.5, 1.0, 0.2, max(size), drop_connect_rate=0.1, depth_divisor=4
    )
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1  # MONAI's 0.01 leaves running means at their start after a few hundred steps
    return made


def _transformer(channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    from monai.networks.nets import ViT

    patch = tuple(
        next(side for side in range(max(1, length // 4), length + 1) if length % side == 0) for length in size
    )
    made: nn.Module = ViT(
        *(channels, size, patch, 48, 96, 3, 4),
        classification=True,
        num_classes=classes,
        spatial_dims=2,
        post_activation="none",
    )
    return made


def _excited(block: str, planes: tuple[int, ...], groups: int) -> Builder:
    return lambda channels, classes, size: squeeze_excitation(channels, classes, block, planes, groups)


NETWORKS: dict[str, ClassicNetwork] = {
    "lenet": ClassicNetwork("LeNet-like: three strided 5 x 5 convolutions (MONAI Classifier)", _lenet, 4),
    "alexnet": ClassicNetwork("AlexNet's order of layers, narrow (own)", lambda c, k, s: alexnet(c, k), 4),
    "vgg-11": ClassicNetwork("VGG-11's pattern with batch norm, narrow (own)", lambda c, k, s: vgg(c, k), 6),
    "resnet-10": ClassicNetwork("ResNet-10, stem 3 x 3 (MONAI)", _resnet("basic", [1] * 4, [12, 24, 48, 96]), 9),
    "resnet-18": ClassicNetwork("ResNet-18, stem 3 x 3 (MONAI)", _resnet("basic", [2] * 4, [8, 16, 32, 64]), 9),
    "resnet-34": ClassicNetwork("ResNet-34, stem 3 x 3 (MONAI)", _resnet("basic", [3, 4, 6, 3], [6, 12, 24, 48]), 14),
    "densenet": ClassicNetwork("DenseNet, three blocks (MONAI)", _densenet, 8),
    "efficientnet-b0": ClassicNetwork("EfficientNet-B0's blocks, fewer and narrow (MONAI)", _efficientnet, 12),
    "senet": ClassicNetwork("SENet bottlenecks (MONAI's block)", _excited("SEBottleneck", (4, 8, 16), 4), 9),
    "se-resnet": ClassicNetwork("SE-ResNet bottlenecks (MONAI's)", _excited("SEResNetBottleneck", (8, 16, 32), 1), 10),
    "se-resnext": ClassicNetwork(
        "SE-ResNeXt bottlenecks (MONAI's)", _excited("SEResNeXtBottleneck", (16, 32, 64), 4), 12
    ),
    "vit": ClassicNetwork("vision transformer, 16 patches, 3 layers (MONAI)", _transformer, 8),
}
"""Name -> network; a test builds each and asks for finite logits and gradients."""


def build_classifier(name: str, channels: int, classes: int, size: tuple[int, int], seed: int) -> nn.Module:
    """A network with weights drawn from `seed`, whatever was drawn before.

    Args:
        name: one of `NETWORKS`.
        channels: of the images.
        classes: logits.
        size: (H, W), 16 or more each.
        seed: of the weights.
    """
    if name not in NETWORKS:
        raise ValueError(f"networks: found {name!r}; allowed are {', '.join(NETWORKS)}.")
    if min(size) < 16:
        raise ValueError(f"size: found {size} pixels; these networks need 16 or more along each axis.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[name].build(channels, classes, size)


def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    """(B, K) float32 logits; transformers return more, of which the first counts."""
    found = network(images)
    logits: Tensor = found[0] if isinstance(found, tuple) else found
    return logits.float()


def scaled_seconds(name: str, steps: int, batch: int, size: tuple[int, int]) -> float:
    """What a training is expected to take on one core, from the measured time."""
    return NETWORKS[name].seconds * steps / 600 * batch / 64 * max(0.5, math.prod(size) / 784)
