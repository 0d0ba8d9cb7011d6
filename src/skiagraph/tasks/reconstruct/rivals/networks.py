"""The networks of the rivals: how they are made, kept in a prior folder and found again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from skiagraph.inverse.ambient import AmbientNetwork
from skiagraph.inverse.unrolled import UnrolledNetwork
from skiagraph.networks.patched import PatchedUNet
from skiagraph.tasks.reconstruct.rivals.settings import UNetSettings, UnrolledSettings
from skiagraph.training.architectures import register_architecture

__all__ = ["AMBIENT", "IMAGE", "UNROLLED", "ambient_network", "image_network", "unrolled_network"]

AMBIENT, IMAGE, UNROLLED = "ambient-data-step", "patched-unet", "unrolled-unet"


def _unet(settings: UNetSettings, inputs: int, seed: int) -> PatchedUNet:
    """A fresh U-Net; its weights are a function of the seed, and the global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PatchedUNet(
            inputs,
            2,
            channels=settings.channels,
            multipliers=settings.multipliers,
            residual_blocks=settings.residual_blocks,
            patch=settings.patch,
        )


def unrolled_network(settings: UnrolledSettings, seed: int = 0) -> UnrolledNetwork:
    """The network of SSDU."""
    return UnrolledNetwork(
        _unet(settings, 2, seed),
        cascades=settings.cascades,
        data_iterations=settings.data_iterations,
        sigma_data=settings.sigma_data,
    )


def ambient_network(settings: UNetSettings, seed: int = 0) -> AmbientNetwork:
    """The network of Ambient diffusion: it also reads the mask."""
    return AmbientNetwork(_unet(settings, 3, seed), sigma_data=settings.sigma_data)


def image_network(settings: UNetSettings, seed: int = 0) -> PatchedUNet:
    """The network of an ordinary image prior; its parametrisation is EDM's."""
    return _unet(settings, 2, seed)


def _unrolled(settings: Mapping[str, Any]) -> UnrolledNetwork:
    return unrolled_network(UnrolledSettings(**settings))


def _ambient(settings: Mapping[str, Any]) -> AmbientNetwork:
    return ambient_network(UNetSettings(**settings))


def _image(settings: Mapping[str, Any]) -> PatchedUNet:
    return image_network(UNetSettings(**settings))


register_architecture(UNROLLED, _unrolled)
register_architecture(AMBIENT, _ambient)
register_architecture(IMAGE, _image)
