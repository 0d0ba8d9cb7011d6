"""The Gaussian yardstick of the method page (section 9.1): prior, masks and distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skiagraph.diffusion.streams import Streams
from skiagraph.physics.operator import LinearOperator

SIZE, CELLS, KEEP, ROLLS = 32, 16, 10, 3


def covariance() -> Tensor:
    """Sigma_ij = 0.25 * 0.94^|i - j| on 32 pixels."""
    index = torch.arange(SIZE, dtype=torch.float64)
    return 0.25 * 0.94 ** (index[:, None] - index[None]).abs()


def _spread(cells: Tensor, roll: Tensor) -> Tensor:
    """(B, w, 16) cells on -> (B, w, 1, 1, 32) masks of 2-pixel cells, rolled by (B,) pixels."""
    pixels = cells.repeat_interleave(SIZE // CELLS, -1).double()
    index = (torch.arange(SIZE)[None] - roll[:, None]) % SIZE
    rolled = pixels.gather(-1, index[:, None].expand(-1, pixels.shape[1], -1))
    return rolled[:, :, None, None]


@dataclass(frozen=True)
class ComplementaryPair:
    """The first 10 of a random order of the cells, then the other 6 and 4 of the first 10; a common roll."""

    def __call__(self, draws: Streams) -> Tensor:
        order = draws.permutation(CELLS)
        roll = draws.integers(0, ROLLS)
        first = torch.zeros(len(draws), CELLS).scatter(1, order[:, :KEEP], 1.0)
        second = torch.zeros(len(draws), CELLS).scatter(1, torch.cat([order[:, KEEP:], order[:, :4]], 1), 1.0)
        return _spread(torch.stack([first, second], 1), roll)

    def draw(self, draws: Streams, memory: Any) -> tuple[Tensor, Any]:
        """The two masks one after the other."""
        if memory is None:
            first, second = self(draws).unbind(1)
            return first, second
        return memory, None


@dataclass(frozen=True)
class IndependentMasks:
    """w independent masks of `keep` cells, one roll each."""

    count: int
    keep: int = KEEP

    def __call__(self, draws: Streams) -> Tensor:
        views = []
        for _ in range(self.count):
            order, roll = draws.permutation(CELLS), draws.integers(0, ROLLS)
            cells = torch.zeros(len(draws), 1, CELLS).scatter(2, order[:, None, : self.keep], 1.0)
            views.append(_spread(cells, roll))
        return torch.cat(views, 1)


@dataclass(frozen=True)
class FullMask:
    """One mask that keeps everything."""

    def __call__(self, draws: Streams) -> Tensor:
        return torch.ones(len(draws), 1, 1, 1, SIZE, dtype=torch.float64)

    def draw(self, draws: Streams, memory: Any) -> tuple[Tensor, Any]:
        """The same, as a schedule with memory (it needs none)."""
        return self(draws)[:, 0], None


@dataclass(frozen=True)
class SingleMasks:
    """Independent single masks behind the interface of a schedule with memory (it needs none)."""

    def draw(self, draws: Streams, memory: Any) -> tuple[Tensor, Any]:
        return IndependentMasks(1)(draws)[:, 0], None


@dataclass(frozen=True)
class Identity(LinearOperator):
    """T = I: images."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        return y


def distance(found: Tensor, target: Tensor) -> tuple[float, float]:
    """F2 and relative variance of N(0, found) against N(0, target): the measures of section 9.1."""
    values, vectors = torch.linalg.eigh(target)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    inner = torch.linalg.eigvalsh(root @ found @ root).clamp(min=0).sqrt().sum()
    total = target.trace()
    return float((total + found.trace() - 2 * inner) / total), float(found.trace() / total)
