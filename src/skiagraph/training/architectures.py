"""Kinds of network a prior can be made of: a name in prior.json, and the function that builds it from its settings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from skiagraph.errors import DataError, InputError

__all__ = ["Builder", "architecture_kinds", "build_network", "register_architecture", "unet_architecture"]

Builder = Callable[[Mapping[str, Any]], nn.Module]
"""Builds a network with fresh weights from its JSON settings; unknown settings raise TypeError or ValueError."""


def _unet(settings: Mapping[str, Any]) -> nn.Module:
    from skiagraph.networks import UNet, UNetConfig

    return UNet(UNetConfig(**settings))


def _ddpm_unet(settings: Mapping[str, Any]) -> nn.Module:
    from skiagraph.networks import DDPMUNet, DDPMUNetConfig

    return DDPMUNet(DDPMUNetConfig(**settings))


_BUILDERS: dict[str, Builder] = {"unet": _unet, "ddpm-unet": _ddpm_unet}


def register_architecture(kind: str, build: Builder) -> None:
    """Make a kind of network known, so that priors made of it can be loaded.

    Args:
        kind: the name that prior.json gives; one builder a name.
        build: makes the network from its settings.
    """
    if _BUILDERS.get(kind, build) is not build:
        raise InputError(f"architecture kind {kind!r} is taken by another builder; choose another name.")
    _BUILDERS[kind] = build


def architecture_kinds() -> tuple[str, ...]:
    """Return the kinds known at this moment."""
    return tuple(sorted(_BUILDERS))


def build_network(kind: str, settings: Mapping[str, Any]) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        kind: one of `architecture_kinds()`.
        settings: the JSON settings its builder takes.
    """
    if kind not in _BUILDERS:
        known = ", ".join(architecture_kinds())
        raise DataError(
            f"architecture: found kind {kind!r}, which nothing here can build (known: {known}). A prior belongs to the "
            "commands of the task that trained it; in Python, import the module that registers its kind first."
        )
    try:
        return _BUILDERS[kind](settings)
    except (TypeError, ValueError) as error:
        raise DataError(f"architecture {kind!r}: its settings do not fit ({error}).") from error


def unet_architecture(config: Any) -> dict[str, Any]:
    """Return the architecture entry of a prior record for a `skiagraph.networks.UNetConfig`."""
    settings = json.loads(json.dumps(dataclasses.asdict(config)))
    return {"kind": "unet", "settings": settings}
