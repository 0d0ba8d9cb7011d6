"""The network of a measurement prior: a U-Net between a linear estimate and a data step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from skiagraph.errors import InputError
from skiagraph.inverse.consistent import ConsistentNetwork
from skiagraph.inverse.level_tables import KNOTS
from skiagraph.networks.unet import UNet, UNetConfig
from skiagraph.tasks.reconstruct.settings import NetworkSettings
from skiagraph.training.architectures import register_architecture
from skiagraph.training.prior import Prior
from skiagraph.training.record import PriorRecord

__all__ = ["KIND", "build_network", "load_prior", "start_from"]

KIND = "consistent-unet"


def build_network(settings: NetworkSettings, seed: int = 0) -> ConsistentNetwork:
    """A fresh network; its weights are a function of the seed, and the global random state is left alone."""
    patch = settings.patch**2
    config = UNetConfig(
        in_channels=4 * patch,
        out_channels=(3 if settings.trust == "map" else 2) * patch,
        channels=settings.channels,
        multipliers=tuple(float(value) for value in settings.multipliers),
        residual_blocks=settings.residual_blocks,
        groups=8,
        heads=1,
        embedding_inputs=0 if settings.noise_range is None else KNOTS,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone, *later = (_unaware(UNet(config)) for _ in range(settings.cascades))
    return ConsistentNetwork(
        backbone,
        later=later,
        patch=settings.patch,
        sigma_data=settings.sigma_data,
        linear_iterations=settings.linear_iterations,
        data_iterations=settings.data_iterations,
        noise_range=settings.noise_range,
    )


def _unaware(network: UNet) -> UNet:
    """The network with a vector condition, where it has one, that changes nothing before it is trained."""
    if network.config.embedding_inputs:
        for parameter in network.vector_embed[-1].parameters():
            torch.nn.init.zeros_(parameter)
    return network


def start_from(network: ConsistentNetwork, folder: Path) -> None:
    """Copy the weights of another prior; what it lacks (output channels, the noise) changes nothing at first."""
    other, _ = load_prior(folder)
    found = other.state_dict()
    target = network.state_dict()
    for name, value in target.items():
        if other.by_noise is None and ("vector_embed." in name or name.startswith("by_noise.")):
            continue
        if name not in found or found[name].shape[1:] != value.shape[1:] or found[name].shape[0] > value.shape[0]:
            raise InputError(
                f"start: the prior in {folder} has another shape at {name!r}; give one of the same network."
            )
        value.zero_()
        value[: found[name].shape[0]] = found[name]
    network.load_state_dict(target)


def _from_record(settings: Mapping[str, Any]) -> ConsistentNetwork:
    return build_network(NetworkSettings(**settings))


register_architecture(KIND, _from_record)


def load_prior(folder: Path, device: str | torch.device = "cpu") -> tuple[ConsistentNetwork, PriorRecord]:
    """Load a measurement prior; a prior of another kind is refused."""
    prior = Prior.load(folder, device=device)
    if not isinstance(prior.network, ConsistentNetwork):
        raise InputError(
            f"prior: {folder} holds a network of kind {prior.record.architecture.kind!r}, but reconstruction from "
            f"k-space needs {KIND!r}; train one with `skiagraph train`."
        )
    return prior.network, prior.record
