"""What of a scan a training item shows: mirrored, turned, a window of its rows. All are symmetries of the acquisition.

shown_part(kspace, mask, maps, streams, flips=True, rows=64) -> kspace, mask, maps
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Draws", "mirror", "shown_part", "vary", "window_rows"]


class Draws(Protocol):
    """Per-sample random draws; `skiagraph.diffusion.streams.Streams` is one."""

    def normal(self, *shape: int) -> Tensor:
        """(B, *shape) standard normal."""
        ...

    def normal_like(self, x: Tensor) -> Tensor:
        """Standard normal of x's shape; complex x: unit variance per real and per imaginary part."""
        ...

    def uniform(self, *shape: int) -> Tensor:
        """(B, *shape) uniform in [0, 1)."""
        ...


def shown_part(
    kspace: Tensor, mask: Tensor, maps: Tensor, streams: Draws, *, flips: bool, rows: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """k-space, mask and maps of what a training item shows.

    Args:
        kspace: (B, coils, H, W) complex.
        mask: (B, 1, 1, W) real 0/1.
        maps: (B, coils, H, W) complex.
        streams: one stream per item.
        flips: mirror items along either axis and turn their global phase (see `vary`).
        rows: rows of the image that an item shows, a random window (see `window_rows`); None for all.
    """
    if flips:
        kspace, mask, maps = vary(kspace, mask, maps, streams)
    if rows is not None and rows < kspace.shape[-2]:
        kspace, maps = window_rows(kspace, maps, rows, streams)
    return kspace, mask, maps


def window_rows(kspace: Tensor, maps: Tensor, rows: int, streams: Draws) -> tuple[Tensor, Tensor]:
    """k-space and maps of a random window of each item's rows; orthonormal, so white noise stays as it is."""
    height = kspace.shape[-2]
    first = (streams.uniform(1)[:, 0] * (height - rows + 1)).long().to(kspace.device)
    index = (first[:, None] + torch.arange(rows, device=kspace.device))[:, None, :, None]
    profiles = torch.fft.fftshift(torch.fft.ifft(torch.fft.ifftshift(kspace, -2), dim=-2, norm="ortho"), -2)
    kept = profiles.gather(-2, index.expand(-1, kspace.shape[1], -1, kspace.shape[3]))
    spectrum = torch.fft.fftshift(torch.fft.fft(torch.fft.ifftshift(kept, -2), dim=-2, norm="ortho"), -2)
    return spectrum, maps.gather(-2, index.expand(-1, maps.shape[1], -1, maps.shape[3]))


def vary(kspace: Tensor, mask: Tensor, maps: Tensor, streams: Draws) -> tuple[Tensor, Tensor, Tensor]:
    """Mirror along rows and columns (about the centre) and turn the phase: exact symmetries of the acquisition."""
    coins = streams.uniform(3)
    for axis, coin in ((-1, coins[:, 0]), (-2, coins[:, 1])):
        chosen = (coin < 0.5).to(kspace.device)[:, None, None, None]
        kspace, mask, maps = (torch.where(chosen, mirror(value, axis), value) for value in (kspace, mask, maps))
    turn = torch.polar(torch.ones_like(coins[:, 2]), 2 * math.pi * coins[:, 2]).to(kspace)
    return kspace * turn[:, None, None, None], mask, maps


def mirror(value: Tensor, axis: int) -> Tensor:
    """Reverse an axis about index n // 2: mirrored images and mirrored centred k-space remain a Fourier pair."""
    if value.shape[axis] == 1:
        return value
    flipped = value.flip(axis)
    return flipped.roll(1, axis) if value.shape[axis] % 2 == 0 else flipped
