"""Weights of the released mutual-information guided translation: a list of five, with either of its two networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from skiagraph.errors import DataError
from skiagraph.networks.ddpm_unet import DDPMUNet, DDPMUNetConfig
from skiagraph.networks.importer import ImportNotes, clean_weights, load_plain, notes_of, source_of, without_prefixes
from skiagraph.networks.layout import Unstated, check_layout, infer_unet_config
from skiagraph.networks.unet import UNet, UNetConfig

__all__ = ["import_translation"]

_AVERAGE, _LAST = 4, 0


def import_translation(
    path: str | Path, *, size: int = 128
) -> tuple[DDPMUNetConfig | UNetConfig, dict[str, Tensor], ImportNotes]:
    """Read a checkpoint [weights, optimiser, epoch, step, average] of the release, or a plain state dict.

    The average (entry 4) is taken, else the weights, and the notes say which. Names and shapes must all be explained.

    Args:
        path: the .pth file; nothing in it is executed.
        size: side of the training images, which places the attention of the first network.
    """
    file = Path(path)
    source, content = source_of(file), load_plain(file)
    messages: list[str] = []
    averaged = False
    if isinstance(content, list | tuple):
        averaged = len(content) > _AVERAGE and _is_weights(content[_AVERAGE])
        content = content[_AVERAGE if averaged else _LAST] if len(content) else None
        messages.append(
            "The moving average (entry 4 of the list) was taken."
            if averaged
            else "The list holds no moving average; the last weights (entry 0) were taken, which sample worse."
        )
    if not isinstance(content, Mapping) or not _is_weights(content):
        raise DataError(f"{file.name}: neither a list whose entry 4 or 0 holds weights nor a state dict; give another")
    state = without_prefixes(dict(content), messages)
    config: DDPMUNetConfig | UNetConfig
    if "conv_in.weight" in state:
        config = _ddpm_config(state, size)
        with torch.device("meta"):
            check_layout(state, DDPMUNet(config))
    else:
        config = infer_unet_config(state, Unstated(1, None, "legacy", 32, False))
        with torch.device("meta"):
            check_layout(state, UNet(config))
    notes = notes_of(source, False, messages)
    if averaged:
        kept = tuple(told for told in notes.messages if not told.startswith("The file name does not say"))
        notes = replace(notes, ema=True, messages=kept)
    return config, clean_weights(state, messages), notes


def _is_weights(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())
    )


def _ddpm_config(state: Mapping[str, Tensor], size: int) -> DDPMUNetConfig:
    """Widths, depths and attention from names and shapes."""
    try:
        base = state["conv_in.weight"].shape[0]
        levels = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("down."))
        blocks = 1 + max(int(name.split(".")[3]) for name in state if name.startswith("down.0.block."))
        factors = tuple(state[f"down.{level}.block.0.conv1.weight"].shape[0] // base for level in range(levels))
        attending = [level for level in range(levels) if f"down.{level}.attn.0.q.weight" in state]
        return DDPMUNetConfig(
            in_channels=state["conv_in.weight"].shape[1],
            out_channels=state["conv_out.weight"].shape[0],
            channels=base,
            multipliers=factors,
            residual_blocks=blocks,
            attention=tuple(size >> level for level in attending),
            size=size,
        )
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(f"the names begin like the release's first network, but {error} does not fit it") from error
