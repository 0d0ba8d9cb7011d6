"""Classic designs that MONAI has none of for small images, in the fewest lines; blocks are MONAI's where it has them.

MONAI holds no AlexNet and no VGG, and the widths of its SENet family are fixed at those for 224 x 224 pixels (8 to 35
million weights, a quarter of an hour of one core for what takes the others seconds).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

__all__ = ["alexnet", "squeeze_excitation", "vgg"]


def alexnet(channels: int, classes: int, width: int = 16) -> nn.Module:
    """AlexNet's order of layers (Krizhevsky et al. 2012), narrow: 5 convolutions, 2 hidden layers with dropout.

    Args:
        channels: of the image.
        classes: logits.
        width: channels of the first convolution.
    """
    return nn.Sequential(
        *(nn.Conv2d(channels, width, 5, 2, 2), nn.ReLU(True), nn.MaxPool2d(2)),
        *(nn.Conv2d(width, 2 * width, 5, 1, 2), nn.ReLU(True), nn.MaxPool2d(2)),
        *(nn.Conv2d(2 * width, 3 * width, 3, 1, 1), nn.ReLU(True)),
        *(nn.Conv2d(3 * width, 2 * width, 3, 1, 1), nn.ReLU(True)),
        *(nn.Conv2d(2 * width, 2 * width, 3, 1, 1), nn.ReLU(True)),
        *(nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(18 * width, 8 * width), nn.ReLU(True)),
        *(nn.Dropout(0.5), nn.Linear(8 * width, classes)),
    )


def vgg(channels: int, classes: int, widths: Sequence[int] = (8, 16, 32, 64)) -> nn.Module:
    """VGG-11's pattern (Simonyan and Zisserman 2015) with batch normalisation: 3 x 3 convolutions, halved four times.

    Args:
        channels: of the image.
        classes: logits.
        widths: channels of the four stages; the last two have two convolutions.
    """
    layers: list[nn.Module] = []
    before = channels
    for width, count in zip(widths, (1, 1, 2, 2), strict=True):
        for _ in range(count):
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True)]
            before = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


def squeeze_excitation(
    channels: int, classes: int, block: str, planes: Sequence[int], groups: int, reduction: int = 4
) -> nn.Module:
    """Three stages of one of MONAI's squeeze-and-excitation bottlenecks each (Hu et al. 2018), for small images.

    Args:
        channels: of the image.
        classes: logits.
        block: "SEBottleneck", "SEResNetBottleneck" or "SEResNeXtBottleneck" of `monai.networks.blocks`.
        planes: width of the three stages.
        groups: of the 3 x 3 convolutions.
        reduction: of the excitation.
    """
    from monai.networks import blocks

    kind: Any = getattr(blocks, block)
    before = 2 * planes[0]
    layers: list[nn.Module] = [
        *(nn.Conv2d(channels, before, 3, 2, 1, bias=False), nn.BatchNorm2d(before), nn.ReLU(True))
    ]
    for stage, width in enumerate(planes):
        after, stride = width * kind.expansion, 1 if stage == 0 else 2
        shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        layers.append(
            kind(
                spatial_dims=2,
                inplanes=before,
                planes=width,
                groups=groups,
                reduction=reduction,
                stride=stride,
                downsample=shortcut,
            )
        )
        before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))
