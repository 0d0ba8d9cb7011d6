"""Building blocks of the networks, named as in the guided-diffusion state dicts."""

from __future__ import annotations

import math
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

__all__ = [
    "AttentionBlock",
    "AttentionOrder",
    "Downsample",
    "EmbeddedSequential",
    "ResidualBlock",
    "Upsample",
    "attend",
    "convolution",
    "group_norm",
    "sinusoidal_embedding",
    "zeroed",
]

AttentionOrder = Literal["legacy", "new"]
"""How the 3C channels of a qkv projection are cut: "legacy" heads first, then q, k, v; "new" the other way round."""

_ModuleT = TypeVar("_ModuleT", bound=nn.Module)


def convolution(
    dimensions: int, inputs: int, outputs: int, size: int, *, stride: int | tuple[int, ...] = 1, padding: int = 0
) -> nn.Module:
    """Make a convolution over 1, 2 or 3 spatial axes with `size` taps an axis."""
    if dimensions == 1:
        return nn.Conv1d(inputs, outputs, size, stride=stride, padding=padding)  # type: ignore[arg-type]
    if dimensions == 2:
        return nn.Conv2d(inputs, outputs, size, stride=stride, padding=padding)  # type: ignore[arg-type]
    return nn.Conv3d(inputs, outputs, size, stride=stride, padding=padding)  # type: ignore[arg-type]


def zeroed(module: _ModuleT) -> _ModuleT:
    """Set all parameters of `module` to 0 and return it, so that a fresh branch adds nothing."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def group_norm(channels: int, groups: int = 32) -> nn.GroupNorm:
    """Make a group normalisation with gcd(channels, groups) groups.

    Differs from the released code in accepting channel counts that `groups` does not divide; else the two agree.
    """
    return nn.GroupNorm(math.gcd(channels, groups), channels, eps=1e-5)


def sinusoidal_embedding(time: Tensor, width: int, longest_period: float = 10_000.0) -> Tensor:
    """Embed times as cosines, then sines, of t f_k with f_k = longest_period^(-k/h), k = 0 ... h - 1, h = width // 2.

    Args:
        time: (B,), in the unit the network was trained with (most often a step of 0 to 999); fractions allowed.
        width: length of the embedding; an odd width ends in a column of zeros.
        longest_period: ratio between the slowest and the fastest angular frequency.

    Returns:
        (B, width) in float64 for float64 times, else in float32.

    Reference: Vaswani et al. 2017, section 3.5, with the cosines first as in guided-diffusion.
    """
    half = width // 2
    dtype = torch.float64 if time.dtype == torch.float64 else torch.float32
    exponent = torch.arange(half, dtype=dtype, device=time.device) * (-math.log(longest_period) / max(half, 1))
    angle = time.to(dtype)[:, None] * exponent.exp()[None, :]
    return functional.pad(torch.cat([angle.cos(), angle.sin()], dim=1), (0, width - 2 * half))


def attend(qkv: Tensor, heads: int, order: AttentionOrder) -> Tensor:
    """Apply softmax(q k^T / sqrt(C / heads)) v to stacked projections.

    Args:
        qkv: (B, 3C, N), the projections of N tokens.
        heads: number of heads; divides C.
        order: how the 3C channels are cut, see `AttentionOrder`.

    Returns:
        (B, C, N).
    """
    batch, stacked, tokens = qkv.shape
    width = stacked // (3 * heads)
    rows = qkv.transpose(1, 2).contiguous()  # the fused kernels want the channels of a token side by side
    if order == "legacy":
        q, k, v = rows.reshape(batch, tokens, heads, 3, width).permute(3, 0, 2, 1, 4)
    else:
        q, k, v = rows.reshape(batch, tokens, 3, heads, width).permute(2, 0, 3, 1, 4)
    if _carries_tangent(q):  # the fused kernels have no forward-mode derivative
        mixed = ((q @ k.transpose(-1, -2)) / math.sqrt(width)).softmax(dim=-1) @ v
    else:
        mixed = functional.scaled_dot_product_attention(q, k, v)
    result: Tensor = mixed.transpose(-1, -2).reshape(batch, stacked // 3, tokens)
    return result


def _carries_tangent(x: Tensor) -> bool:
    """Tell whether a Jacobian-vector product is being pushed through `x`."""
    if torch.compiler.is_compiling():
        return False
    return forward_ad.unpack_dual(x).tangent is not None  # type: ignore[no-untyped-call]


class Upsample(nn.Module):
    """Repeat every voxel `stride` times an axis, then optionally convolve (key `conv`)."""

    def __init__(self, dimensions: int, channels: int, stride: tuple[int, ...], *, learned: bool) -> None:
        super().__init__()
        self.stride = tuple(float(s) for s in stride)
        self.conv: nn.Module = convolution(dimensions, channels, channels, 3, padding=1) if learned else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, *size) to (B, C, *(size x stride))."""
        repeated: Tensor = functional.interpolate(x, scale_factor=list(self.stride), mode="nearest")
        result: Tensor = self.conv(repeated)
        return result


class Downsample(nn.Module):
    """Shrink by `stride` an axis with a strided convolution (key `op`) or by averaging."""

    def __init__(self, dimensions: int, channels: int, stride: tuple[int, ...], *, learned: bool) -> None:
        super().__init__()
        pools: dict[int, type[nn.Module]] = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
        self.op = (
            convolution(dimensions, channels, channels, 3, stride=stride, padding=1)
            if learned
            else pools[dimensions](stride, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, *size) to (B, C, *(size / stride))."""
        result: Tensor = self.op(x)
        return result


class ResidualBlock(nn.Module):
    """x + conv(SiLU(norm(conv(SiLU(norm(x)))))), the second norm modulated by the time embedding.

    With `scale_shift`, h = norm(h) (1 + scale) + shift with (scale, shift) = Linear(SiLU(embedding)); without it,
    h = norm(h + shift). The last convolution starts at 0. `resample` changes the resolution of both
    branches before the first convolution.

    Args:
        dimensions: spatial axes, 1 to 3.
        inputs, outputs: channels in and out.
        embedding: length of the embedding.
        dropout: probability in [0, 1).
        scale_shift: whether the embedding scales as well as shifts.
        groups: groups of the normalisations, see `group_norm`.
        resample: None, or a parameter-free `Upsample` or `Downsample`.
        checkpointing: recompute the block in the backward pass instead of storing its activations.
    """

    def __init__(
        self,
        dimensions: int,
        inputs: int,
        outputs: int,
        *,
        embedding: int,
        dropout: float = 0.0,
        scale_shift: bool = True,
        groups: int = 32,
        resample: Upsample | Downsample | None = None,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.scale_shift, self.checkpointing = scale_shift, checkpointing
        self.resample: nn.Module | None = resample
        self.in_layers = nn.Sequential(
            group_norm(inputs, groups), nn.SiLU(), convolution(dimensions, inputs, outputs, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * outputs if scale_shift else outputs))
        self.out_layers = nn.Sequential(
            group_norm(outputs, groups),
            nn.SiLU(),
            nn.Dropout(dropout),
            zeroed(convolution(dimensions, outputs, outputs, 3, padding=1)),
        )
        self.skip_connection: nn.Module = (
            nn.Identity() if inputs == outputs else convolution(dimensions, inputs, outputs, 1)
        )

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map (B, inputs, *size) and (B, embedding) to (B, outputs, *size), resampled where asked."""
        if self.checkpointing and torch.is_grad_enabled():
            result: Tensor = checkpoint(self._transform, x, embedding, use_reentrant=False)
            return result
        return self._transform(x, embedding)

    def _transform(self, x: Tensor, embedding: Tensor) -> Tensor:
        hidden: Tensor = self.in_layers[1](self.in_layers[0](x))
        if self.resample is not None:
            hidden, x = self.resample(hidden), self.resample(x)
        hidden = self.in_layers[2](hidden)
        shift: Tensor = self.emb_layers(embedding)
        shift = shift.reshape(*shift.shape, *[1] * (x.dim() - 2))
        if self.scale_shift:
            scale, shift = shift.chunk(2, dim=1)
            normalised = self.out_layers[0](hidden)
            hidden = torch.addcmul(shift.to(normalised.dtype), normalised, 1 + scale.to(normalised.dtype))
        else:
            hidden = self.out_layers[0](hidden + shift.to(hidden.dtype))
        result: Tensor = self.skip_connection(x) + self.out_layers[1:](hidden)
        return result


class AttentionBlock(nn.Module):
    """x + proj(attention(qkv(norm(x)))) over all spatial positions; the last projection starts at 0.

    Args:
        channels: channels in and out.
        heads: number of heads; divides `channels`.
        order: how the qkv channels are cut, see `AttentionOrder`.
        groups: groups of the normalisation, see `group_norm`.
        checkpointing: recompute the block in the backward pass instead of storing its activations.
    """

    def __init__(
        self, channels: int, *, heads: int, order: AttentionOrder, groups: int = 32, checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.heads, self.order, self.checkpointing = heads, order, checkpointing
        self.norm = group_norm(channels, groups)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zeroed(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, *size) to the same shape."""
        if self.checkpointing and torch.is_grad_enabled():
            result: Tensor = checkpoint(self._attend, x, use_reentrant=False)
            return result
        return self._attend(x)

    def _attend(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2)
        mixed: Tensor = self.proj_out(attend(self.qkv(self.norm(tokens)), self.heads, self.order))
        return (tokens + mixed).reshape(x.shape)


class EmbeddedSequential(nn.Sequential):
    """A sequence that hands the embedding to the blocks which take one."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:  # type: ignore[override]
        """Apply all members in order."""
        for module in self:
            x = module(x, embedding) if isinstance(module, ResidualBlock) else module(x)
        return x
