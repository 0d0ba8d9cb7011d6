"""A fresh network that starts from the weights of another prior, though it sees other channels."""

from __future__ import annotations

from pathlib import Path

import torch

from skiagraph.errors import InputError
from skiagraph.networks.unet import UNet
from skiagraph.training.ema import named_state
from skiagraph.training.prior import Prior

__all__ = ["start_from"]

_ENTRY = "input_blocks.0.0.weight"


def start_from(network: UNet, folder: Path) -> None:
    """Copy the weights of a prior; of the first layer those of the state, other channels of it start from zero.

    Args:
        network: is changed; all but its number of input channels must be the prior's.
        folder: of the prior.
    """
    known = named_state(Prior.load(folder).network)
    wanted = named_state(network)
    differ = sorted(
        name
        for name in known.keys() | wanted.keys()
        if name not in known or name not in wanted or (name != _ENTRY and known[name].shape != wanted[name].shape)
    )
    if differ:
        raise InputError(
            f"initial: the network of {folder} differs in more than its input channels ({differ[0]} and "
            f"{len(differ) - 1} more); give `network` the same settings"
        )
    with torch.no_grad():
        for name, value in wanted.items():
            if name != _ENTRY or known[name].shape == value.shape:
                value.copy_(known[name])
                continue
            state = network.config.patch**2
            value.zero_()
            value[:, :state].copy_(known[name][:, :state])
