"""The U-Net of the guided-diffusion lineage in one, two and three dimensions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from skiagraph.networks.encoder import (
    EncoderConfig,
    TimeEmbedding,
    attention_block,
    check_image,
    middle_block,
    pad_to_multiple,
    residual_block,
    way_down,
)
from skiagraph.networks.layers import EmbeddedSequential, Upsample, convolution, group_norm, zeroed

__all__ = ["UNet", "UNetConfig", "parameter_count"]


@dataclass(frozen=True, kw_only=True)
class UNetConfig(EncoderConfig):
    """Everything that decides the shape of a `UNet`; the shared fields are documented at `EncoderConfig`.

    Args:
        classes: rows of the class table (a null row counts as one), or 0 for a network without labels.
        fine: width of three convolutions on single pixels that follow the patches and see the input again, or 0: what
            is smaller than a patch need not pass through the patches' channels.
        unlabelled: for a network with classes: whether a call without label, or with label -1 for some samples, is
            allowed. No class embedding is added then; only a network trained with label dropout knows what to do.
        embedding_inputs: length of a vector condition that a small perceptron turns into an embedding, or 0.
        patch: side of the squares of pixels that enter as channels, 1 for single pixels; 2-D only. All widths,
            attention and downsampling refer to the grid of squares. At the same cost such a network sees farther.
    """

    classes: int = 0
    embedding_inputs: int = 0
    patch: int = 1
    fine: int = 0
    unlabelled: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("classes", "embedding_inputs", "fine"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ValueError(f"{name} is {value!r}; give a whole number of at least 0")
        if self.unlabelled and not self.classes:
            raise ValueError("unlabelled is set, but classes is 0; leave it out, or give the number of classes")
        if not isinstance(self.patch, int) or self.patch < 1 or (self.patch > 1 and self.dimensions != 2):
            raise ValueError(
                f"patch is {self.patch!r}; give a whole number of at least 1, and 1 unless dimensions is 2"
            )

    def on_patches(self) -> UNetConfig:
        """Return the configuration of the network between the cutting into patches and the putting together."""
        many, wanted = self.patch**2, self.fine or self.out_channels
        return replace(self, in_channels=many * self.in_channels, out_channels=many * wanted, patch=1, fine=0)


class UNet(nn.Module):
    """A residual U-Net with attention, conditioned on time and, if wanted, on a class or a vector.

    State-dict keys, shapes and outputs are those of guided-diffusion (Dhariwal and Nichol 2021, appendix I) and, for
    `residual_resampling=False`, of improved-diffusion (Nichol and Dhariwal 2021); the vector condition adds keys
    `vector_embed.*`, the convolutions on pixels `fine.*`. A fresh network gives exactly 0.

    Differs from the released code in that any size is accepted (the border is repeated up to a multiple of the total
    downsampling and cropped again), normalisation groups need not divide the widths, 3-D networks also resample the
    depth unless told not to, gradients need no custom autograd function, and precision is left to autocast.

    Args:
        config: the shape of the network.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        embedding = config.embedding_width
        self.time_embed = TimeEmbedding(config.channels)
        if config.classes:
            self.label_emb: nn.Module = nn.Embedding(config.classes, embedding)
        if config.embedding_inputs:
            self.vector_embed = nn.Sequential(
                nn.Linear(config.embedding_inputs, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
            )
        inner = config.on_patches()
        self.input_blocks, given = way_down(inner)
        self.middle_block = middle_block(config)
        self.output_blocks = _way_up(config, given)
        width = config.widths[0]
        self.out = nn.Sequential(
            group_norm(width, config.groups),
            nn.SiLU(),
            zeroed(convolution(config.dimensions, width, inner.out_channels, 3, padding=1)),
        )
        if config.fine:
            self.fine = _on_pixels(config)

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None, embedding: Tensor | None = None) -> Tensor:
        """Evaluate the network.

        Args:
            x: (B, in_channels, *size), any size.
            time: () or (B,), in the unit the network was trained with.
            label: (B,) or () whole numbers in 0 ... classes - 1, for a network with classes; if it is `unlabelled`, -1
                or None where no class is stated.
            embedding: (B, embedding_inputs) for a network with a vector condition; else (B, 4 channels), which takes
                the place of the class table's row (zeros: the class is unknown).

        Returns:
            (B, out_channels, *size).
        """
        check_image(x, self.config)
        patch = self.config.patch
        hidden, crop = pad_to_multiple(x, tuple(patch * step for step in self.config.total_stride))
        padded = hidden
        hidden = functional.pixel_unshuffle(hidden, patch) if patch > 1 else hidden
        condition = self.time_embed.embed(time, x.shape[0]) + self._condition(x.shape[0], label, embedding)
        kept: list[Tensor] = []
        for block in self.input_blocks:
            hidden = block(hidden, condition)
            kept.append(hidden)
        hidden = self.middle_block(hidden, condition)
        for block in self.output_blocks:
            hidden = block(torch.cat([hidden, kept.pop()], dim=1), condition)
        result: Tensor = self.out(hidden)
        result = functional.pixel_shuffle(result, patch) if patch > 1 else result
        return (self.fine(torch.cat([result, padded], dim=1)) if self.config.fine else result)[crop]

    def class_embedding(self, label: Tensor) -> Tensor:
        """Return the class table's rows (B, 4 channels) for labels (B,), to be mixed and passed as `embedding`."""
        classes = self.config.classes
        if not classes:
            raise ValueError("label was given, but this network has no classes; leave it out")
        if label.is_floating_point() or label.is_complex() or label.dtype == torch.bool:
            raise TypeError(f"label has dtype {label.dtype}; give whole numbers in 0 ... {classes - 1}")
        lowest = -1 if self.config.unlabelled else 0
        on_host = label.device.type == "cpu" and not torch.compiler.is_compiling()
        if on_host and label.numel() and not (label.min() >= lowest and label.max() < classes):
            found = f"{int(label.min())} ... {int(label.max())}"
            raise ValueError(f"label spans {found}; allowed: {lowest} ... {classes - 1}")
        label = label.to(self.time_embed.weight.device)
        rows: Tensor = self.label_emb(label.clamp(min=0))
        return rows * (label >= 0)[..., None] if self.config.unlabelled else rows

    def _condition(self, batch: int, label: Tensor | None, embedding: Tensor | None) -> Tensor:
        """Add up what is known beside the time; refuse what is missing and what would be ignored."""
        config = self.config
        weight = self.time_embed.weight
        total: Tensor = weight.new_zeros(())
        if label is not None:
            if label.shape not in ((), (batch,)):
                raise ValueError(f"label has shape {tuple(label.shape)}; give () or ({batch},)")
            total = total + self.class_embedding(label.expand(batch))
        elif config.classes and not config.unlabelled and (embedding is None or config.embedding_inputs):
            raise ValueError(f"this network has {config.classes} classes; give label, (B,) whole numbers")
        if embedding is None:
            if config.embedding_inputs:
                raise ValueError(f"this network needs embedding, shape ({batch}, {config.embedding_inputs})")
            return total
        if not config.embedding_inputs and (label is not None or not config.classes):
            raise ValueError("embedding was given, but nothing takes it: it replaces label in a network with classes")
        width = config.embedding_inputs or config.embedding_width
        if embedding.shape != (batch, width):
            raise ValueError(f"embedding has shape {tuple(embedding.shape)}; this network takes ({batch}, {width})")
        embedding = embedding.to(weight.device, weight.dtype)
        return total + (self.vector_embed(embedding) if config.embedding_inputs else embedding)


def _way_up(config: UNetConfig, given: list[int]) -> nn.ModuleList:
    """Make the output blocks, coarsest first; each takes one kept activation."""
    remaining, width = list(given), config.widths[-1]
    blocks: list[nn.Module] = []
    for level in reversed(range(len(config.widths))):
        outputs = config.widths[level]
        for index in range(config.residual_blocks + 1):
            members: list[nn.Module] = [residual_block(config, width + remaining.pop(), outputs)]
            width = outputs
            if 2**level in config.attention_downsamplings:
                members.append(attention_block(config, width))
            if level and index == config.residual_blocks:
                members.append(_larger(config, width))
            blocks.append(EmbeddedSequential(*members))
    return nn.ModuleList(blocks)


def _on_pixels(config: UNetConfig) -> nn.Sequential:
    """Three convolutions of the network's result and its input, [result, input] in, the last of them zero."""
    width, axes = config.fine, config.dimensions
    return nn.Sequential(
        convolution(axes, width + config.in_channels, 2 * width, 3, padding=1),
        nn.SiLU(),
        convolution(axes, 2 * width, width, 3, padding=1),
        nn.SiLU(),
        zeroed(convolution(axes, width, config.out_channels, 3, padding=1)),
    )


def _larger(config: UNetConfig, width: int) -> nn.Module:
    if config.residual_resampling:
        return residual_block(config, width, width, Upsample(config.dimensions, width, config.stride, learned=False))
    return Upsample(config.dimensions, width, config.stride, learned=config.conv_resampling)


def parameter_count(network: nn.Module) -> int:
    """Count the parameters of a network, trainable or not; works on the "meta" device."""
    return sum(parameter.numel() for parameter in network.parameters())
