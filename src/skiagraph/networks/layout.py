"""Reads the shape of a network off the names and shapes in a guided-diffusion state dict."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from skiagraph.errors import DataError
from skiagraph.networks.classifier import ClassifierConfig
from skiagraph.networks.layers import AttentionOrder
from skiagraph.networks.unet import UNetConfig

__all__ = ["Unstated", "check_layout", "infer_classifier_config", "infer_unet_config"]

State = Mapping[str, Tensor]
Resampling = Literal["residual", "convolution", "mean"]
Members = dict[int, dict[int, set[str]]]


@dataclass(frozen=True)
class Unstated:
    """What names and shapes don't tell; the fields are documented at `EncoderConfig`."""

    heads: int
    head_channels: int | None
    attention_order: AttentionOrder
    groups: int
    downsample_depth: bool


def infer_unet_config(state: State, unstated: Unstated) -> UNetConfig:
    """Infer the configuration of a U-Net.

    Args:
        state: parameter names and values, in the layout of guided-diffusion or improved-diffusion.
        unstated: what the weights don't tell.

    Returns:
        The configuration; `check_layout` then tells whether it explains every entry.
    """
    blocks, members = _members(state, "output_blocks"), _members(state, "input_blocks")
    if not blocks:
        raise DataError("the weights have no output_blocks.*; this is not a U-Net (an encoder classifier?)")
    resampling, residual_blocks = _unet_resampling(blocks, members)
    total = max(blocks) + 1
    if residual_blocks < 1 or total % (residual_blocks + 1):
        raise DataError(f"{total} output blocks do not divide into levels of {residual_blocks + 1}; unknown layout")
    shared = _shared(state, total // (residual_blocks + 1), residual_blocks, resampling)
    table = state.get("label_emb.weight")
    return UNetConfig(
        out_channels=_weight(state, "out.2.weight").shape[0],
        classes=0 if table is None else table.shape[0],
        **shared,
        **vars(unstated),
    )


def infer_classifier_config(
    state: State, unstated: Unstated, *, residual_blocks: int | None, image_size: tuple[int, ...] | None
) -> ClassifierConfig:
    """Infer the configuration of an encoder classifier.

    Args:
        state: parameter names and values, in the layout of guided-diffusion.
        unstated: what the weights don't tell.
        residual_blocks: residual blocks a level, needed only where several numbers explain the weights.
        image_size: spatial sizes, needed only for attention pooling over a grid that is not a square or cube.

    Returns:
        The configuration; `check_layout` then tells whether it explains every entry.
    """
    members = _members(state, "input_blocks")
    resampling, residual_blocks = _classifier_resampling(state, members, residual_blocks)
    levels = (max(members, default=0) + 1) // (residual_blocks + 1)
    shared = _shared(state, levels, residual_blocks, resampling)
    attention = "out.2.positional_embedding" in state
    if not attention and "out.3.weight" not in state:
        raise DataError("the pool of this classifier is unknown; supported: guided-diffusion's 'attention', 'adaptive'")
    if attention and image_size is None:
        keeps_depth = shared["dimensions"] == 3 and not unstated.downsample_depth
        factors = [2 ** (levels - 1)] * shared["dimensions"]
        image_size = _square(
            state["out.2.positional_embedding"].shape[1] - 1, [1, *factors[1:]] if keeps_depth else factors
        )
    return ClassifierConfig(
        out_channels=_weight(state, "out.2.c_proj.weight" if attention else "out.3.weight").shape[0],
        pool="attention" if attention else "adaptive",
        image_size=image_size if attention else None,
        **shared,
        **vars(unstated),
    )


def _shared(state: State, levels: int, residual_blocks: int, resampling: Resampling) -> dict[str, Any]:
    """The fields of `EncoderConfig` that names and shapes tell, apart from the outputs."""
    stem = _weight(state, "input_blocks.0.0.weight")
    return {
        "dimensions": stem.dim() - 2,
        "in_channels": stem.shape[1],
        "channels": _channels(state),
        "multipliers": _multipliers(state, levels, residual_blocks),
        "residual_blocks": residual_blocks,
        "attention_downsamplings": _attention(state, levels, residual_blocks),
        "scale_shift": _scale_shift(state),
        "residual_resampling": resampling == "residual",
        "conv_resampling": resampling != "mean",
    }


def check_layout(state: State, network: nn.Module) -> None:
    """Refuse weights whose names or shapes are not exactly those of `network` (which may live on "meta")."""
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    problems = [f"{name} is missing, wanted {wanted[name]}" for name in sorted(wanted.keys() - found.keys())]
    problems += [f"{name} {found[name]} is not part of the network" for name in sorted(found.keys() - wanted.keys())]
    problems += [
        f"{name} has shape {found[name]}, wanted {wanted[name]}"
        for name in sorted(wanted.keys() & found.keys())
        if found[name] != wanted[name]
    ]
    if problems:
        rest = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise DataError("the weights do not fit the inferred network: " + "; ".join(problems[:5]) + rest)


def _weight(state: State, name: str) -> Tensor:
    if name not in state:
        raise DataError(f"{name} is missing; these are not weights in the layout of guided-diffusion")
    value = state[name]
    if not 2 <= value.dim() <= 5 or 0 in value.shape:
        raise DataError(
            f"{name} has shape {tuple(value.shape)}; these are not weights in the layout of guided-diffusion"
        )
    return value


def _members(state: State, prefix: str) -> Members:
    """Sort the names `prefix.block.member.rest` by block and member."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d{1,4})\.(\d{1,4})\.(.+)")
    members: Members = {}
    for match in filter(None, map(pattern.fullmatch, state)):
        members.setdefault(int(match[1]), {}).setdefault(int(match[2]), set()).add(match[3])
    return members


def _unet_resampling(blocks: Members, members: Members) -> tuple[Resampling, int]:
    """Tell how the way up resamples, and after how many residual blocks (of the way down) it first does."""
    for index in sorted(blocks):
        for position, names in blocks[index].items():
            if position and "conv.weight" in names:
                return "convolution", index
            if position and "in_layers.0.weight" in names:
                return "residual", index
    missing = set(range(1, max(members, default=0))) - members.keys()
    return ("mean", min(missing) - 1) if missing else ("convolution", max(blocks))


def _classifier_resampling(state: State, members: Members, given: int | None) -> tuple[Resampling, int]:
    """Tell how the way down resamples and after how many residual blocks."""
    learned = [index for index, parts in members.items() if "op.weight" in parts.get(0, ())]
    missing = set(range(1, max(members, default=0))) - members.keys()
    if learned or missing:
        return ("convolution", min(learned) - 1) if learned else ("mean", min(missing) - 1)
    total = max(members, default=0) + 1
    divisors = [count for count in range(1, total) if total % (count + 1) == 0]
    possible = [count for count in divisors if _explains(state, members, total, count)]
    if given is not None and given in possible:
        possible = [given]
    if len(possible) != 1 or (given is not None and given not in possible):
        raise ValueError(
            f"residual_blocks is {given!r}; the weights allow {possible}: pass the one the classifier was trained with"
        )
    return "residual" if total > possible[0] + 1 else "convolution", possible[0]


def _explains(state: State, members: Members, total: int, residual_blocks: int) -> bool:
    """Whether levels of `residual_blocks` have one width and one kind of attention each, and plain blocks between."""
    for start in range(0, total, residual_blocks + 1):
        level = range(start + 1, start + residual_blocks + 1)
        widths = {_weight(state, f"input_blocks.{index}.0.out_layers.3.weight").shape[0] for index in level}
        if len(widths) != 1 or len({1 in members[index] for index in level}) != 1:
            return False
        between = members.get(start, {}) if start else {}
        if 1 in between or "skip_connection.weight" in between.get(0, ()):
            return False
    return True


def _channels(state: State) -> int:
    return _weight(state, "time_embed.0.weight").shape[1]


def _multipliers(state: State, levels: int, residual_blocks: int) -> tuple[float, ...]:
    """Width of each level as a multiple of the time embedding's sinusoids."""
    channels, multipliers = _channels(state), []
    for level in range(levels):
        name = f"input_blocks.{1 + level * (residual_blocks + 1)}.0.out_layers.3.weight"
        width = _weight(state, name).shape[0]
        multipliers.append(width // channels if width % channels == 0 else width / channels)
    return tuple(multipliers)


def _attention(state: State, levels: int, residual_blocks: int) -> tuple[int, ...]:
    names = {2**level: f"input_blocks.{1 + level * (residual_blocks + 1)}.1.qkv.weight" for level in range(levels)}
    return tuple(factor for factor, name in names.items() if name in state)


def _scale_shift(state: State) -> bool:
    width = _weight(state, "middle_block.0.out_layers.3.weight").shape[0]
    return _weight(state, "middle_block.0.emb_layers.1.weight").shape[0] == 2 * width


def _square(positions: int, factors: Sequence[int]) -> tuple[int, ...]:
    """Sizes of an image whose coarsest level is a square (cube) of that many positions."""
    side = round(positions ** (1 / len(factors)))
    if side < 1 or side ** len(factors) != positions:
        raise ValueError(f"image_size is None, but {positions} pooled positions are no square grid; pass image_size")
    return tuple(side * factor for factor in factors)
