"""The U-Net of a measurement-score prior, what it weighs, and what one evaluation costs."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import nn

from skiagraph.errors import InputError
from skiagraph.networks.unet import UNet, UNetConfig, parameter_count
from skiagraph.tasks.measurement.settings import UNetSettings

__all__ = ["NetworkCost", "build_unet", "multipliers_for", "network_cost", "operations_per_second", "unet_config"]

MULTIPLIERS = {256: (1, 1, 2, 2, 4, 4), 128: (1, 1, 2, 3, 4), 64: (1, 2, 3, 4), 32: (1, 1, 2, 3, 4)}
"""Width factors by image size, as in the released settings, where no key changes them."""


def multipliers_for(size: tuple[int, int]) -> tuple[float, ...]:
    """Width factors of an image size: those of the largest size in the table that does not exceed it, at least 32's."""
    longest = max(size)
    fitting = [known for known in MULTIPLIERS if known <= longest]
    return tuple(float(value) for value in MULTIPLIERS[max(fitting, default=32)])


def unet_config(settings: UNetSettings, channels: int, size: tuple[int, int], *, mask_channel: bool) -> UNetConfig:
    """The network for images of `channels` and `size`: attention where 8 to 32 features stand along the longer side,
    or fewer where the settings say so.

    Args:
        settings: widths and depths.
        channels: of the image.
        size: rows and columns; any, borders are padded.
        mask_channel: whether the mask enters as one more channel.
    """
    factors = tuple(settings.multipliers) if settings.multipliers is not None else multipliers_for(size)
    grid = max(size) / settings.patch
    attention = tuple(2**level for level in range(len(factors)) if 8 <= grid / 2**level <= settings.attention)
    try:
        return UNetConfig(
            in_channels=channels + int(mask_channel),
            out_channels=channels,
            channels=settings.channels,
            multipliers=factors,
            residual_blocks=settings.residual_blocks,
            attention_downsamplings=attention,
            head_channels=settings.head_channels,
            residual_resampling=True,
            groups=settings.groups,
            patch=settings.patch,
        )
    except ValueError as error:
        raise InputError(f"network: {error}") from None


def build_unet(config: UNetConfig, seed: int = 0) -> UNet:
    """A fresh network; its weights are a function of the seed, and the global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet(config)


@dataclass(frozen=True)
class NetworkCost:
    """What a network needs.

    Args:
        parameters: stored weights.
        operations: floating-point operations of one image's evaluation, 2 a multiply-add.
        activations: bytes that one image's backward pass keeps, an estimate.
    """

    parameters: int
    operations: float
    activations: float


def network_cost(config: UNetConfig, size: tuple[int, int]) -> NetworkCost:
    """Count a network's weights and operations without making it."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network = UNet(config).eval()
        x = torch.empty(1, config.in_channels, *size)
        kept: list[int] = []
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.GroupNorm | nn.SiLU | nn.Conv1d):
                module.register_forward_hook(lambda _, __, out: kept.append(4 * out.numel()))
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            network(x, torch.empty(1))
    return NetworkCost(parameter_count(network), float(counter.get_total_flops()), float(sum(kept)))


def operations_per_second(device: torch.device, milliseconds: float = 150) -> float:
    """What this device does in a convolution of the network's kind just now, in operations a second."""
    layer = nn.Conv2d(128, 128, 3, padding=1).to(device).requires_grad_(False)
    x = torch.zeros(1, 128, 64, 64, device=device)
    operations, done = 2 * 128 * 128 * 9 * 64 * 64, 0
    layer(x)
    started = time.perf_counter()
    while time.perf_counter() - started < milliseconds / 1000:
        layer(x)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        done += 1
    return done * operations / (time.perf_counter() - started)
