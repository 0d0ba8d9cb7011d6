"""Small subsampled batches and a network that is the same function in torch and in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tests.inverse import literal
from torch import Tensor, nn

from skiagraph.diffusion.schedule import linear_table
from skiagraph.diffusion.streams import Streams
from skiagraph.physics.fourier import CoilFourier
from skiagraph.physics.masks import Cells, RandomColumns

__all__ = ["SCHEDULE", "Small", "images", "kspace", "literal_data", "literal_spaces", "numpy_network"]

SCHEDULE = linear_table().respaced("ddim200")


class Small(nn.Module):
    """eps(u, tau) = tanh(g u + 0.4 roll(u) - tau / 900): every value sees its neighbour and the time.

    Args:
        gain: g, the one parameter.
    """

    def __init__(self, gain: float = 0.9) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain, dtype=torch.float64))

    def forward(self, u: Tensor, tau: Tensor) -> Tensor:
        """u (B, C, H, W), tau (B,)."""
        return torch.tanh(self.gain.to(u) * u + 0.4 * u.roll(1, -1) - tau.reshape(-1, *[1] * (u.ndim - 1)).to(u) / 900)


def numpy_network(gain: float = 0.9) -> literal.Network:
    """The same in numpy, for one item."""
    return lambda u, tau: np.tanh(gain * u + 0.4 * np.roll(u, 1, -1) - tau / 900)


def images(batch: int = 4, noise: float = 0.0, dtype: torch.dtype = torch.float64, seed: int = 0) -> dict[str, Tensor]:
    """s = M (x + nu v) of images (B, 3, 16, 16) under cell masks."""
    mask = Cells(16).draw(Streams(range(seed, seed + batch))).to(dtype)
    full = 0.5 * Streams(range(100, 100 + batch)).normal(3, 16, 16, dtype=dtype)
    noisy = full + noise * Streams(range(200, 200 + batch)).normal(3, 16, 16, dtype=dtype)
    return {"measurement": mask * noisy, "mask": mask}


def kspace(batch: int = 4, noise: float = 0.0, dtype: torch.dtype = torch.complex128) -> dict[str, Tensor]:
    """s = M (T x + nu v) of 5 coils of odd size (7, 14) under column masks, with their maps."""
    mask = RandomColumns(14, 3.0, 4).draw(Streams(range(batch))).to(dtype.to_real())
    maps = Streams(range(10, 10 + batch)).normal(5, 7, 14, dtype=dtype)
    maps = maps / maps.abs().square().sum(1, keepdim=True).sqrt()
    full = CoilFourier(maps).forward(0.5 * Streams(range(100, 100 + batch)).normal(2, 7, 14, dtype=dtype.to_real()))
    noisy = full + noise * Streams(range(200, 200 + batch)).normal_like(full)
    return {"measurement": mask * noisy, "mask": mask, "maps": maps}


def literal_spaces(batch: dict[str, Tensor]) -> list[Any]:
    """T of every item, in numpy."""
    if "maps" in batch:
        return [literal.Coils(item.numpy().astype(np.complex128)) for item in batch["maps"]]
    return [literal.Images() for _ in batch["mask"]]


def literal_data(batch: dict[str, Tensor], *gaussians: Tensor) -> list[tuple[Any, ...]]:
    """(s, mask, n, b) of every item, in numpy and double precision."""
    kinds = (batch["measurement"], batch["mask"], *gaussians)
    double = [value.to(torch.complex128 if value.is_complex() else torch.float64) for value in kinds]
    return [tuple(value[item].numpy() for value in double) for item in range(len(batch["mask"]))]
