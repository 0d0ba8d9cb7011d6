"""A fresh network that starts from the weights of another prior, though it sees other channels."""

from __future__ import annotations

from pathlib import Path

import torch

from skiagraph.errors import InputError
from skiagraph.networks.unet import UNet
from skiagraph.training.ema import named_state
from skiagraph.training.prior import Prior

__all__ = ["start_from"]

_ENTRIES = ("input_blocks.0.0.weight", "fine.0.weight")


def start_from(network: UNet, folder: Path) -> None:
    """Copy the weights of a prior; of layers that see the input those of the state, other channels start from zero.

    Args:
        network: is changed; all but its number of input channels must be the prior's.
        folder: of the prior.
    """
    known = named_state(Prior.load(folder).network)
    wanted = named_state(network)
    differ = sorted(
        name
        for name in known.keys() | wanted.keys()
        if name not in known or name not in wanted or (name not in _ENTRIES and known[name].shape != wanted[name].shape)
    )
    if differ:
        raise InputError(
            f"initial: the network of {folder} differs in more than its input channels ({differ[0]} and "
            f"{len(differ) - 1} more); give `network` the same settings"
        )
    with torch.no_grad():
        for name, value in wanted.items():
            if name not in _ENTRIES or known[name].shape == value.shape:
                value.copy_(known[name])
                continue
            state = network.config.patch**2 if name == _ENTRIES[0] else network.config.fine + 1
            value.zero_()
            value[:, :state].copy_(known[name][:, :state])
