"""The U-Net of the first denoising diffusion models (Ho et al. 2020, arXiv 2006.11239), which released weights need.

Kept beside the library's own `UNet` only for such weights: names and numbers are those of its PyTorch lineage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["DDPMUNet", "DDPMUNetConfig"]


@dataclass(frozen=True, kw_only=True)
class DDPMUNetConfig:
    """Everything that decides the shape of a `DDPMUNet`; the defaults are those of mutual-information guidance.

    Args:
        in_channels, out_channels: of the image with its conditions, and of the noise.
        channels: of the first level.
        multipliers: of each level.
        residual_blocks: a level on the way down, one more on the way up.
        attention: sides of the feature maps with attention.
        size: side of the square images, which decides where those lie.
        dropout: inside the residual blocks.
    """

    in_channels: int = 3
    out_channels: int = 1
    channels: int = 64
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    residual_blocks: int = 2
    attention: tuple[int, ...] = (16,)
    size: int = 128
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("multipliers", "attention"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.channels % 32 or self.size % 2 ** (len(self.multipliers) - 1):
            raise ValueError(
                f"channels, size: found {self.channels}, {self.size}; allowed are multiples of 32 and of "
                f"{2 ** (len(self.multipliers) - 1)}"
            )


class DDPMUNet(nn.Module):
    """A residual U-Net with attention at one size, conditioned on time.

    Attention stands where the feature map of a square image of the configured size has one of the sides stated.

    Args:
        config: the shape of the network.
    """

    def __init__(self, config: DDPMUNetConfig) -> None:
        super().__init__()
        self.config = config
        width, embedding = config.channels, 4 * config.channels
        self.temb = nn.Module()
        self.temb.dense = nn.ModuleList([nn.Linear(width, embedding), nn.Linear(embedding, embedding)])
        self.conv_in = nn.Conv2d(config.in_channels, width, 3, padding=1)
        widths = [width * factor for factor in config.multipliers]
        sides = [config.size >> level for level in range(len(widths))]
        self.down, kept = _way_down(config, widths, sides, embedding)
        deepest = widths[-1]
        self.mid = nn.Module()
        self.mid.block_1 = _Residual(deepest, deepest, embedding, config.dropout)
        self.mid.attn_1 = _Attention(deepest)
        self.mid.block_2 = _Residual(deepest, deepest, embedding, config.dropout)
        self.up = _way_up(config, widths, sides, embedding, kept)
        self.norm_out = _norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], config.out_channels, 3, padding=1)

    @property
    def multiple(self) -> int:
        """What must divide the sides of an image."""
        return int(2 ** (len(self.config.multipliers) - 1))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Evaluate: x (B, in_channels, H, W) with sides of whole multiples of the downsampling, time (B,) -> noise."""
        least = self.multiple
        if x.ndim != 4 or x.shape[1] != self.config.in_channels or x.shape[2] % least or x.shape[3] % least:
            raise ValueError(
                f"x: found {tuple(x.shape)}; allowed (B, {self.config.in_channels}, H, W) with sides that {least} "
                "divides"
            )
        first, second = self.temb.dense  # type: ignore[misc]
        embedding = second(functional.silu(first(_embedded(time, self.config.channels))))
        hidden = self.conv_in(x)
        kept = [hidden]
        for level in self.down:
            for number, block in enumerate(level.block):  # type: ignore[arg-type]
                hidden = block(hidden, embedding)
                hidden = level.attn[number](hidden) if len(level.attn) else hidden  # type: ignore[arg-type,index,operator]
                kept.append(hidden)
            if hasattr(level, "downsample"):
                hidden = level.downsample(hidden)  # type: ignore[operator]
                kept.append(hidden)
        hidden = self.mid.block_2(self.mid.attn_1(self.mid.block_1(hidden, embedding)), embedding)  # type: ignore[operator]
        for level in reversed(self.up):
            for number, block in enumerate(level.block):  # type: ignore[arg-type]
                hidden = block(torch.cat([hidden, kept.pop()], 1), embedding)
                hidden = level.attn[number](hidden) if len(level.attn) else hidden  # type: ignore[arg-type,index,operator]
            if hasattr(level, "upsample"):
                hidden = level.upsample(hidden)  # type: ignore[operator]
        result: Tensor = self.conv_out(functional.silu(self.norm_out(hidden)))
        return result


def _way_down(
    config: DDPMUNetConfig, widths: list[int], sides: list[int], embedding: int
) -> tuple[nn.ModuleList, list[int]]:
    """The levels, finest first, and the widths of what they hand across."""
    levels, current, kept = nn.ModuleList(), config.channels, [config.channels]
    for number, (width, side) in enumerate(zip(widths, sides, strict=True)):
        level = nn.Module()
        level.block, level.attn = nn.ModuleList(), nn.ModuleList()
        for _ in range(config.residual_blocks):
            level.block.append(_Residual(current, width, embedding, config.dropout))
            current = width
            if side in config.attention:
                level.attn.append(_Attention(current))
            kept.append(current)
        if number < len(widths) - 1:
            level.downsample = _Down(current)
            kept.append(current)
        levels.append(level)
    return levels, kept


def _way_up(
    config: DDPMUNetConfig, widths: list[int], sides: list[int], embedding: int, kept: list[int]
) -> nn.ModuleList:
    """The levels, finest first though the coarsest runs first."""
    current, handed, made = widths[-1], list(kept), []
    for number in reversed(range(len(widths))):
        level = nn.Module()
        level.block, level.attn = nn.ModuleList(), nn.ModuleList()
        for _ in range(config.residual_blocks + 1):
            level.block.append(_Residual(current + handed.pop(), widths[number], embedding, config.dropout))
            current = widths[number]
            if sides[number] in config.attention:
                level.attn.append(_Attention(current))
        if number:
            level.upsample = _Up(current)
        made.append(level)
    return nn.ModuleList(reversed(made))


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, width, eps=1e-6)


def _embedded(time: Tensor, width: int) -> Tensor:
    """(B, width): sines, then cosines, of time times 10000^(-i / (width / 2 - 1))."""
    half = width // 2
    rates = torch.exp(-math.log(10000) / (half - 1) * torch.arange(half, device=time.device, dtype=torch.float32))
    phases = time.float()[:, None] * rates
    return torch.cat([phases.sin(), phases.cos()], 1)


class _Residual(nn.Module):
    def __init__(self, before: int, after: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(before), nn.Conv2d(before, after, 3, padding=1)
        self.temb_proj = nn.Linear(embedding, after)
        self.norm2, self.conv2 = _norm(after), nn.Conv2d(after, after, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        if before != after:
            self.nin_shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        hidden = self.conv1(functional.silu(self.norm1(x)))
        hidden = hidden + self.temb_proj(functional.silu(embedding))[:, :, None, None]
        hidden = self.conv2(self.dropout(functional.silu(self.norm2(hidden))))
        kept = self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x
        result: Tensor = kept + hidden
        return result


class _Attention(nn.Module):
    """One head over all pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(x)
        query, key, value = (part(hidden).flatten(2).transpose(1, 2) for part in (self.q, self.k, self.v))
        mixed = functional.scaled_dot_product_attention(query, key, value)
        result: Tensor = x + self.proj_out(mixed.transpose(1, 2).reshape(x.shape))
        return result


class _Down(nn.Module):
    """One row and column of zeros at the far ends, then every second pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(functional.pad(x, (0, 1, 0, 1)))
        return result


class _Up(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return result
