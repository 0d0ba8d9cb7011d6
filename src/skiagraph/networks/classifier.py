"""The encoder half of the U-Net as a classifier that knows the time, for guidance by log p(y | x_t, t)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from skiagraph.networks.encoder import (
    EncoderConfig,
    TimeEmbedding,
    check_image,
    middle_block,
    pad_to_multiple,
    way_down,
)
from skiagraph.networks.layers import attend, convolution, group_norm, zeroed

__all__ = ["AttentionPool", "ClassifierConfig", "EncoderClassifier"]


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(EncoderConfig):
    """Everything that decides the shape of an `EncoderClassifier`; the shared fields are documented at `EncoderConfig`.

    `out_channels` is the number of logits.

    Args:
        pool: "attention" (one query, the mean token, asks all positions; fixed sizes) or "adaptive" (mean; any size).
        image_size: spatial sizes, one an axis, that attention pooling is built for; None for "adaptive".
    """

    pool: Literal["attention", "adaptive"] = "attention"
    image_size: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pool not in ("attention", "adaptive"):
            raise ValueError(f"pool is {self.pool!r}; allowed: 'attention', 'adaptive'")
        if self.pool == "adaptive":
            if self.image_size is not None:
                raise ValueError("image_size has no effect with pool 'adaptive'; leave it out")
            return
        if self.image_size is None or len(self.image_size) != self.dimensions or min(self.image_size) < 1:
            raise ValueError(f"image_size is {self.image_size!r}; attention pooling needs {self.dimensions} sizes")
        object.__setattr__(self, "image_size", tuple(self.image_size))

    @property
    def pooled_positions(self) -> int:
        """Positions at the coarsest level that attention pooling is built for."""
        return math.prod(
            -(-size // factor) for size, factor in zip(self.image_size or (), self.total_stride, strict=True)
        )


class AttentionPool(nn.Module):
    """Attention over all positions and their mean, read out at the mean (Radford et al. 2021, section 2.3).

    Keys `positional_embedding`, `qkv_proj`, `c_proj`; always cuts q, k, v before the heads, as the
    released classifiers do.

    Args:
        positions: number of spatial positions.
        channels: channels in.
        heads: attention heads; divides `channels`.
        outputs: channels out.
    """

    def __init__(self, positions: int, channels: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.randn(channels, positions + 1) / math.sqrt(channels))
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.c_proj = nn.Conv1d(channels, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, *size) to (B, outputs)."""
        tokens = x.flatten(2)
        tokens = torch.cat([tokens.mean(dim=-1, keepdim=True), tokens], dim=-1)
        tokens = tokens + self.positional_embedding.to(tokens.dtype)
        pooled: Tensor = self.c_proj(attend(self.qkv_proj(tokens), self.heads, "new"))
        return pooled[..., 0]


class AdaptivePool(nn.Module):
    """The mean over all positions, kept as axes of length 1 for the convolution that follows."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, *size) to (B, C, 1, ...)."""
        return x.mean(dim=tuple(range(2, x.dim())), keepdim=True)


class EncoderClassifier(nn.Module):
    """Logits of p(y | x_t, t) from the way down and the middle of the U-Net and a pool.

    State-dict keys, shapes and outputs are those of guided-diffusion's noisy classifiers (Dhariwal and Nichol 2021,
    section 4) for its pools "attention" and "adaptive". Sizes that the total downsampling does not divide are padded by
    repeating the border; any dimensions from 1 to 3.

    Args:
        config: the shape of the network.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        width = config.widths[-1]
        self.time_embed = TimeEmbedding(config.channels)
        self.input_blocks, _ = way_down(config)
        self.middle_block = middle_block(config)
        norm = group_norm(width, config.groups)
        if config.pool == "attention":
            pool = AttentionPool(config.pooled_positions, width, config.heads_for(width), config.out_channels)
            self.out = nn.Sequential(norm, nn.SiLU(), pool)
        else:
            last = zeroed(convolution(config.dimensions, width, config.out_channels, 1))
            self.out = nn.Sequential(norm, nn.SiLU(), AdaptivePool(), last, nn.Flatten())

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Evaluate the classifier.

        Args:
            x: (B, in_channels, *size); `image_size` with attention pooling, else any.
            time: () or (B,), in the unit the network was trained with.

        Returns:
            (B, out_channels) logits.
        """
        check_image(x, self.config)
        if self.config.image_size is not None and x.shape[2:] != self.config.image_size:
            raise ValueError(
                f"x has spatial size {tuple(x.shape[2:])}, but attention pooling was built for "
                f"{self.config.image_size}; resample x or use a classifier with pool 'adaptive'"
            )
        hidden, _ = pad_to_multiple(x, self.config.total_stride)
        condition = self.time_embed.embed(time, x.shape[0])
        for block in self.input_blocks:
            hidden = block(hidden, condition)
        logits: Tensor = self.out(self.middle_block(hidden, condition))
        return logits
