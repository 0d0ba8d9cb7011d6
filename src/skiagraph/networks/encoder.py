"""The half that the U-Net and the encoder classifier share: configuration, time embedding and the way down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from skiagraph.networks.layers import (
    AttentionBlock,
    AttentionOrder,
    Downsample,
    EmbeddedSequential,
    ResidualBlock,
    Upsample,
    convolution,
    sinusoidal_embedding,
)

__all__ = [
    "EncoderConfig",
    "TimeEmbedding",
    "attention_block",
    "check_image",
    "middle_block",
    "pad_to_multiple",
    "residual_block",
    "way_down",
]


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """What decides the shape of an encoder; every field is stored with the prior.

    Args:
        dimensions: spatial axes, 1 to 3.
        in_channels, out_channels: channels (or logits) in and out; a learned variance doubles `out_channels`.
        channels: width c; level l has round(multipliers[l] c) channels and the time embedding has 4c entries.
        multipliers: one width factor a level; each further level halves the resolution.
        residual_blocks: residual blocks a level on the way down.
        attention_downsamplings: downsampling factors (1, 2, 4, ...) at which attention follows each residual block;
            the middle always has attention.
        heads: attention heads; ignored when `head_channels` is given.
        head_channels: channels a head, or None to use `heads`.
        attention_order: how the qkv channels are cut, "legacy" (the released weights) or "new".
        scale_shift: whether the embedding scales and shifts the second norm of a block, or only shifts before it.
        residual_resampling: resample inside residual blocks (True) or by separate layers (False).
        conv_resampling: whether the separate layers convolve; without effect when `residual_resampling`.
        downsample_depth: for 3-D, also halve the first spatial axis; guided-diffusion keeps it (False).
        dropout: probability in [0, 1) inside the residual blocks.
        groups: groups of the normalisations; gcd(groups, channels) where `groups` does not divide a width.
        checkpointing: recompute blocks in the backward pass: less memory, about a third more time.
    """

    dimensions: int = 2
    in_channels: int = 1
    out_channels: int = 1
    channels: int = 128
    multipliers: tuple[float, ...] = (1, 2, 2)
    residual_blocks: int = 2
    attention_downsamplings: tuple[int, ...] = ()
    heads: int = 4
    head_channels: int | None = None
    attention_order: AttentionOrder = "legacy"
    scale_shift: bool = True
    residual_resampling: bool = False
    conv_resampling: bool = True
    downsample_depth: bool = True
    dropout: float = 0.0
    groups: int = 32
    checkpointing: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "multipliers", tuple(self.multipliers))
        object.__setattr__(self, "attention_downsamplings", tuple(self.attention_downsamplings))
        if self.dimensions not in (1, 2, 3):
            raise ValueError(f"dimensions is {self.dimensions!r}; allowed: 1, 2, 3")
        for name in ("in_channels", "out_channels", "channels", "residual_blocks", "heads", "groups"):
            _require_positive(name, getattr(self, name))
        if self.head_channels is not None:
            _require_positive("head_channels", self.head_channels)
        if not self.multipliers or min(self.widths) < 1:
            raise ValueError(f"multipliers is {self.multipliers!r}; give one positive factor a level, e.g. (1, 2, 4)")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout!r}; allowed: 0 <= dropout < 1")
        if self.attention_order not in ("legacy", "new"):
            raise ValueError(f"attention_order is {self.attention_order!r}; allowed: 'legacy', 'new'")
        factors = tuple(2**level for level in range(len(self.multipliers)))
        unknown = sorted(set(self.attention_downsamplings) - set(factors))
        if unknown:
            raise ValueError(f"attention_downsamplings has {unknown}; with {len(factors)} levels allowed: {factors}")
        for factor in (*self.attention_downsamplings, factors[-1]):
            self.heads_for(self.widths[factors.index(factor)])

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at each level, finest first."""
        return tuple(round(multiplier * self.channels) for multiplier in self.multipliers)

    @property
    def embedding_width(self) -> int:
        """Length of the time embedding, 4 `channels`."""
        return 4 * self.channels

    @property
    def stride(self) -> tuple[int, ...]:
        """Downsampling of each spatial axis from one level to the next."""
        keep_depth = self.dimensions == 3 and not self.downsample_depth
        return (1, 2, 2) if keep_depth else (2,) * self.dimensions

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Downsampling of each spatial axis from the input to the middle."""
        return tuple(step ** (len(self.multipliers) - 1) for step in self.stride)

    def heads_for(self, width: int) -> int:
        """Return the number of attention heads at `width` channels; refuse what does not divide."""
        name, divisor = ("heads", self.heads) if self.head_channels is None else ("head_channels", self.head_channels)
        if width % divisor:
            raise ValueError(f"{name} is {divisor}; it must divide the {width} channels of a level with attention")
        return divisor if self.head_channels is None else width // divisor


def _require_positive(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is {value!r}; give a whole number of at least 1")


def residual_block(
    config: EncoderConfig, inputs: int, outputs: int, resample: Upsample | Downsample | None = None
) -> ResidualBlock:
    """Make a residual block with the settings of `config`."""
    return ResidualBlock(
        config.dimensions,
        inputs,
        outputs,
        embedding=config.embedding_width,
        dropout=config.dropout,
        scale_shift=config.scale_shift,
        groups=config.groups,
        resample=resample,
        checkpointing=config.checkpointing,
    )


def attention_block(config: EncoderConfig, channels: int) -> AttentionBlock:
    """Make an attention block with the settings of `config`."""
    return AttentionBlock(
        channels,
        heads=config.heads_for(channels),
        order=config.attention_order,
        groups=config.groups,
        checkpointing=config.checkpointing,
    )


def way_down(config: EncoderConfig) -> tuple[nn.ModuleList, list[int]]:
    """Make the input blocks, finest first, and list the channels each of them gives."""
    width = config.widths[0]
    stem = convolution(config.dimensions, config.in_channels, width, 3, padding=1)
    blocks, given = [EmbeddedSequential(stem)], [width]
    for level, outputs in enumerate(config.widths):
        for _ in range(config.residual_blocks):
            members: list[nn.Module] = [residual_block(config, width, outputs)]
            if 2**level in config.attention_downsamplings:
                members.append(attention_block(config, outputs))
            width = outputs
            blocks.append(EmbeddedSequential(*members))
            given.append(width)
        if level + 1 < len(config.widths):
            blocks.append(EmbeddedSequential(_smaller(config, width)))
            given.append(width)
    return nn.ModuleList(blocks), given


def _smaller(config: EncoderConfig, width: int) -> nn.Module:
    if config.residual_resampling:
        return residual_block(config, width, width, Downsample(config.dimensions, width, config.stride, learned=False))
    return Downsample(config.dimensions, width, config.stride, learned=config.conv_resampling)


def middle_block(config: EncoderConfig) -> EmbeddedSequential:
    """Make the coarsest part: residual block, attention, residual block."""
    width = config.widths[-1]
    return EmbeddedSequential(
        residual_block(config, width, width), attention_block(config, width), residual_block(config, width, width)
    )


class TimeEmbedding(nn.Sequential):
    """Linear(SiLU(Linear(sinusoids(t)))): (B,) or () to (B, 4c), keys `0` and `2`.

    Args:
        channels: c, the number of sinusoids.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(nn.Linear(channels, 4 * channels), nn.SiLU(), nn.Linear(4 * channels, 4 * channels))
        self.channels = channels

    def embed(self, time: Tensor, batch: int) -> Tensor:
        """Embed one time for all samples, (), or one a sample, (B,)."""
        if time.dim() > 1 or (time.dim() == 1 and time.shape[0] != batch):
            raise ValueError(f"time has shape {tuple(time.shape)}; give () or ({batch},), one time a sample of x")
        weight = self.weight
        sinusoids = sinusoidal_embedding(time.expand(batch).to(weight.device), self.channels)
        result: Tensor = self(sinusoids.to(weight.dtype))
        return result

    @property
    def weight(self) -> Tensor:
        """The first weight, which says on which device and in which precision the network lives."""
        return cast(nn.Linear, self[0]).weight


def check_image(x: Tensor, config: EncoderConfig) -> None:
    """Refuse an input that is not (B, in_channels, *size) with as many axes as the configuration says."""
    if x.dim() != config.dimensions + 2 or x.shape[1] != config.in_channels:
        wanted = f"(B, {config.in_channels}" + ", size" * config.dimensions + ")"
        raise ValueError(f"x has shape {tuple(x.shape)}; this network takes {wanted}")


def pad_to_multiple(x: Tensor, multiples: tuple[int, ...]) -> tuple[Tensor, tuple[slice, ...]]:
    """Repeat the border until every spatial size is a multiple, and give the index that crops back.

    The margin is split evenly over both ends. Made of copies only, so its gradient is deterministic on every device.

    Args:
        x: (B, C, *size).
        multiples: one positive factor a spatial axis.

    Returns:
        (B, C, *padded size), and slices over all axes that cut the original out.
    """
    crop = [slice(None), slice(None)]
    for axis, multiple in enumerate(multiples, start=2):
        size = x.shape[axis]
        margin = -size % multiple
        before, after = margin // 2, margin - margin // 2
        crop.append(slice(before, before + size))
        if margin:
            counts = list(x.shape)
            counts[axis] = before
            first = x.narrow(axis, 0, 1).expand(counts)
            counts[axis] = after
            last = x.narrow(axis, size - 1, 1).expand(counts)
            x = torch.cat([first, x, last], dim=axis)
    return x, tuple(crop)
