"""Blur by a known kernel, with its true adjoint at every border rule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from skiagraph.physics.operator import LinearOperator

__all__ = ["Blur", "Border", "gaussian_kernel", "motion_kernel"]

Border = Literal["symmetric", "circular", "zero"]


def gaussian_kernel(std: float, size: int | None = None) -> Tensor:
    """Normalised Gaussian, (1, size, size) float32.

    Args:
        std: standard deviation in pixels, > 0.
        size: odd width of the kernel; None for 3 standard deviations to each side.
    """
    if not 0 < std < math.inf:
        raise ValueError(f"std: found {std}; a standard deviation in pixels is finite and > 0.")
    size = _odd(2 * math.ceil(3 * std) + 1 if size is None else size)
    x = torch.arange(size, dtype=torch.float64) - size // 2
    line = torch.exp(-0.5 * (x / std) ** 2)
    line = line / line.sum()
    return (line[:, None] * line).float().unsqueeze(0)


def motion_kernel(length: float, angle: float = 0.0, size: int | None = None) -> Tensor:
    """Normalised straight line with soft edges, (1, size, size) float32: uniform motion during the exposure.

    Args:
        length: of the line in pixels, >= 0.
        angle: in degrees from the horizontal axis, counter-clockwise.
        size: odd width of the kernel; None for what the line needs.
    """
    if not 0 <= length < math.inf:
        raise ValueError(f"length: found {length}; a length in pixels is finite and >= 0.")
    size = _odd(2 * math.ceil(length / 2 + 0.5) + 1 if size is None else size)
    x = torch.arange(size, dtype=torch.float64) - size // 2
    turn = math.radians(angle)
    along = x * math.cos(turn) - x[:, None] * math.sin(turn)
    across = x * math.sin(turn) + x[:, None] * math.cos(turn)
    beyond = (along.abs() - length / 2).clamp(min=0)
    weight = (1 - torch.hypot(beyond, across)).clamp(min=0)
    return (weight / weight.sum()).float().unsqueeze(0)


def _odd(size: int) -> int:
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size: found {size}; a kernel has an odd width, so that it has a middle.")
    return size


@dataclass(frozen=True, eq=False)
class Blur(LinearOperator):
    """Convolution of every channel with a kernel: y_i = sum_k kernel_k x_(i - k).

    Args:
        kernel: (B or 1, h, w) real, h and w odd; (h, w) for all samples.
        border: "symmetric" continues the image as its mirror image with the edge pixel repeated, "circular"
            periodically, "zero" with zeros.

    Differs from the released code in that the adjoint is the true one, there it is the identity.
    """

    kernel: Tensor
    border: Border = "symmetric"

    def __post_init__(self) -> None:
        if self.kernel.ndim == 2:
            object.__setattr__(self, "kernel", self.kernel.unsqueeze(0))
        if self.kernel.ndim != 3 or self.kernel.is_complex() or not all(size % 2 for size in self.kernel.shape[1:]):
            raise ValueError(
                f"kernel: found {self.kernel.dtype} of shape {tuple(self.kernel.shape)}; "
                "allowed is real (B or 1, h, w) with odd h and w."
            )
        if self.border not in get_args(Border):
            raise ValueError(f"border: found {self.border!r}; allowed are {get_args(Border)}.")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        _check_image(x)
        rows, columns = (size // 2 for size in self.kernel.shape[1:])
        padded = _continue(_continue(x, rows, -2, self.border), columns, -1, self.border)
        return self._convolve(padded, self.kernel.flip(-2, -1))

    def adjoint(self, y: Tensor) -> Tensor:
        """Correlate with the kernel, then add what fell outside to the pixels it was continued from."""
        _check_image(y)
        rows, columns = (size // 2 for size in self.kernel.shape[1:])
        spread = self._convolve(functional.pad(y, (2 * columns, 2 * columns, 2 * rows, 2 * rows)), self.kernel)
        return _fold(_fold(spread, rows, -2, self.border), columns, -1, self.border)

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """Correlation of sample b with weight b, without padding; one group per sample and channel."""
        batch, channels = x.shape[:2]
        if weight.shape[0] not in (1, batch):
            raise ValueError(f"x: found a batch of {batch}; the operator has kernels for {weight.shape[0]}.")
        groups = weight.to(x).expand(batch, -1, -1).repeat_interleave(channels, 0).unsqueeze(1)
        flat = functional.conv2d(x.reshape(1, batch * channels, *x.shape[2:]), groups, groups=batch * channels)
        return flat.reshape(batch, channels, *flat.shape[2:])


def _check_image(x: Tensor) -> None:
    if x.ndim != 4 or x.is_complex():
        raise ValueError(f"x: found {x.dtype} of shape {tuple(x.shape)}; allowed is real (B, C, H, W).")


def _sources(size: int, margin: int, border: Border, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each of size + 2 margin positions the pixel it repeats, and whether it repeats one at all."""
    place = torch.arange(-margin, size + margin, device=device)
    known = torch.ones_like(place, dtype=torch.bool)
    if border == "circular":
        return place % size, known
    mirrored = place % (2 * size)
    if border == "zero":
        known = (place >= 0) & (place < size)
    return torch.where(mirrored < size, mirrored, 2 * size - 1 - mirrored), known


def _line(known: Tensor, axis: int, like: Tensor) -> Tensor:
    shape = [1] * like.ndim
    shape[axis] = -1
    return known.reshape(shape).to(like)


def _continue(x: Tensor, margin: int, axis: int, border: Border) -> Tensor:
    source, known = _sources(x.shape[axis], margin, border, x.device)
    return x.index_select(axis, source) * _line(known, axis, x)


def _fold(y: Tensor, margin: int, axis: int, border: Border) -> Tensor:
    """Adjoint of `_continue`."""
    size = y.shape[axis] - 2 * margin
    source, known = _sources(size, margin, border, y.device)
    shape = list(y.shape)
    shape[axis] = size
    return y.new_zeros(shape).index_add(axis, source, y * _line(known, axis, y))
