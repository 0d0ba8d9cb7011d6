"""Target images that stand for a source: intensities in random disorder, shading, noise; and anatomy bent a little."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from skiagraph.tasks.translate.settings import ShapeSettings

__all__ = ["BACKGROUND", "RandomShape", "remapped"]

_KNOTS = 4
_NOISE, _SHADING, _UNCHANGED, _ORDERED = 0.04, 0.15, 0.15, 0.4
BACKGROUND = -0.9999  # what is above is foreground, in [-1, 1]
_DARKEST = 0.01  # of the foreground, which background, 0, is told from


def remapped(images: Tensor, streams: Any) -> Tensor:
    """Images as another modality might show them: f(u) (1 + shading) + noise, f piecewise linear with random values.

    f maps the foreground's [0, 1] onto [0, 1] and is drawn anew for every image: a power of 1/2 to 2, rising or turned
    over, for 40 % of them, random knots for 45 %, and 15 % keep their intensities. Powers are there because contrasts
    that order tissues alike (or reversed) are mostly near each other; after knots alone a network reads ranks, which do
    not tell how bright grey matter is. Zero (background) stays zero. Nothing is known of any real second modality.

    Args:
        images: (B, D, *S) in [0, 1], background 0; one f for all of a sample.
        streams: one a sample; draws as many numbers whatever they are.
    """
    inside = images > 0.01
    draws = streams.uniform(_KNOTS + 9).to(images)
    knots = draws[:, :_KNOTS]
    ordered = draws[:, _KNOTS + 7]
    position = (images.clamp(0, 1) * (_KNOTS - 1)).clamp(max=_KNOTS - 1 - 1e-4)
    index = position.floor().long()
    table = knots.reshape(len(images), _KNOTS)
    flat = index.flatten(1)
    low, high = table.gather(1, flat), table.gather(1, flat + 1)
    mapped = (low + (high - low) * (position - index).flatten(1)).reshape(images.shape)
    power = images.clamp(min=1e-4) ** _column(4 ** (knots[:, 0] - 0.5), images)
    one_way = torch.where(_column(ordered < _ORDERED / 2, images), power, 1 - power)
    mapped = torch.where(_column(ordered < _ORDERED, images), one_way, mapped)
    keep = _column(ordered > 1 - _UNCHANGED, images)
    mapped = torch.where(keep, images, _stretched(mapped, inside))
    shading = _shading(images, draws[:, _KNOTS + 1 : _KNOTS + 7])
    noise = streams.normal_like(images) * _column(_NOISE * draws[:, -1], images)
    return torch.where(inside, (mapped * (1 + shading) + noise).clamp(_DARKEST, 1), 0.0)


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _stretched(images: Tensor, inside: Tensor) -> Tensor:
    """Each sample's foreground spread over [0, 1], as a scan's is before translation."""
    low = torch.where(inside, images, 2.0).flatten(1).amin(1)
    high = torch.where(inside, images, -1.0).flatten(1).amax(1)
    width = (high - low).clamp(min=1e-3)
    return ((images - _column(low, images)) / _column(width, images)).clamp(0, 1)


def _shading(images: Tensor, draws: Tensor) -> Tensor:
    """A slope and a bowl along the last two axes, at most 15 % each way."""
    rows, columns = (
        torch.linspace(-1, 1, side, dtype=images.dtype, device=images.device) for side in images.shape[-2:]
    )
    terms = [rows[:, None], columns[None], rows[:, None] ** 2, columns[None] ** 2, rows[:, None] * columns[None]]
    total = torch.zeros_like(images)
    for number, term in enumerate(terms):
        total = total + _column(2 * draws[:, number] - 1, images) * term
    return total * _column(_SHADING * draws[:, 5], images) / math.sqrt(len(terms))


@dataclass(frozen=True)
class RandomShape:
    """Turn, enlarge, shift, mirror and bend slices (B, D, H, W) in [-1, 1]; -1 comes in from outside.

    Args:
        settings: how much of each at most.
    """

    settings: ShapeSettings

    def __call__(self, images: Tensor, streams: Any, foreground: Tensor | None = None) -> Tensor:
        """All slices of a sample change alike; draws as many numbers whatever is switched on.

        Only foreground is interpolated from (normalised convolution): a pixel of the moved foreground is a mean of
        foreground pixels, so that rims stay as bright as a masked scan shows them, and not half background.

        Args:
            images: (B, D, H, W) in [-1, 1].
            streams: one a sample.
            foreground: bool (B, D or 1, H, W); default: what is not -1. -1 outside of it after the move.
        """
        inside = images > BACKGROUND if foreground is None else foreground
        grid, trim = self._grid(images, streams)
        weight = inside.to(images).expand_as(images)
        total, share = (
            functional.grid_sample(part, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            for part in ((images + 1) * weight, weight)
        )
        kept = _trimmed(share > 0.5, trim, self.settings.trim)
        moved = torch.where(kept, total / share.clamp(min=0.5), 0.0) - 1
        return moved if self.settings.crop is None else _pieces(moved, self.settings.crop, streams)

    def _grid(self, images: Tensor, streams: Any) -> tuple[Tensor, Tensor]:
        """Where each pixel comes from (B, H, W, 2), and how far each sample's rim is trimmed (B,)."""
        chosen = self.settings
        height, width = images.shape[-2:]
        draws = 2 * streams.uniform(5).to(images) - 1
        bends = streams.normal(2, 5, 4).to(images)
        angle, factor = draws[:, 0] * math.radians(chosen.rotation), 1 + draws[:, 1] * chosen.scale
        mirror = torch.where(draws[:, 2] < 0, -1.0, 1.0) if chosen.flip else torch.ones_like(draws[:, 2])
        cosine, sine = torch.cos(angle) / factor, torch.sin(angle) / factor
        # affine_grid counts in half sides, x (columns) before y (rows)
        across = torch.stack([mirror * cosine, -mirror * sine * height / width, 2 * chosen.shift * draws[:, 3] / width])
        down = torch.stack([sine * width / height, cosine, 2 * chosen.shift * draws[:, 4] / height])
        theta = torch.stack([across.T, down.T], 1)
        grid = functional.affine_grid(theta, [len(images), 1, height, width], align_corners=False)
        smooth = functional.interpolate(bends, (height, width), mode="bicubic", align_corners=True)
        unit = torch.tensor([2 * chosen.bend / width, 2 * chosen.bend / height]).to(images)
        trim = (streams.uniform() * (chosen.trim + 1)).floor()
        return grid + smooth.permute(0, 2, 3, 1) * unit, trim.to(images)


def _trimmed(inside: Tensor, depth: Tensor, deepest: int) -> Tensor:
    """Foreground (B, D, H, W) without the `depth` outermost pixels (B,), of four neighbours each."""
    cross = torch.tensor([[0, 1, 0], [1, 1, 1], [0, 1, 0]]).to(depth)[None, None]
    found = inside
    for step in range(deepest):
        flat = found.to(depth).flatten(0, 1)[:, None]
        eroded = functional.conv2d(flat, cross, padding=1).reshape(inside.shape) > 4.5
        found = torch.where(_column(depth > step, inside), eroded, found)
    return found


def _pieces(images: Tensor, size: Sequence[int], streams: Any) -> Tensor:
    """A piece (B, D, *size) from anywhere in each sample."""
    shares = streams.uniform(2)
    found = []
    for image, (down, right) in zip(images, shares.tolist(), strict=True):
        row = int(down * (image.shape[-2] - size[0] + 1))
        column = int(right * (image.shape[-1] - size[1] + 1))
        found.append(image[..., row : row + size[0], column : column + size[1]])
    return torch.stack(found)
