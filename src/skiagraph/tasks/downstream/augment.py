"""Classical augmentation of a batch: moves, turns, sizes, intensities, noise, holes, mixtures. Sides stay sides."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from skiagraph.tasks.downstream.settings import Augmentation

__all__ = ["augmented"]


def augmented(
    images: Tensor, targets: Tensor, level: Augmentation, generator: torch.Generator, *, flips: bool = False
) -> tuple[Tensor, Tensor]:
    """Changed images and the targets that go with them.

    "light": moved by up to 2 pixels each way. "strong": turned by up to 15 degrees, scaled by 0.85 to 1.15, moved by up
    to 3 pixels, contrast 0.8 to 1.2, brightness within 0.1, noise of up to 0.1, a hole of a third of the width in half
    of the images, and mixtures of two images and their labels with a weight from Beta(0.2, 0.2) (Zhang et al. 2018).

    Args:
        images: (B, C, H, W) in [-1, 1].
        targets: (B, K) probabilities of the classes.
        level: "none", "light" or "strong".
        generator: all random numbers come from it.
        flips: flip half of the images left-right, whatever the level but "none".
    """
    if level == "none":
        return images, targets
    number, strong = len(images), level == "strong"
    angles = math.radians(15) * strong * _even(number, generator)
    scales = 1 + 0.15 * strong * _even(number, generator)
    moves = (3 if strong else 2) * _even(2 * number, generator).reshape(number, 2)
    side = torch.where(torch.rand(number, generator=generator) < 0.5 * flips, -1.0, 1.0)
    images = _moved(images, angles, scales, moves, side)
    if not strong:
        return images, targets
    contrast, brightness = 1 + 0.2 * _even(number, generator), 0.1 * _even(number, generator)
    noise = 0.1 * torch.rand(number, 1, 1, 1, generator=generator) * torch.randn(images.shape, generator=generator)
    images = images * contrast[:, None, None, None] + brightness[:, None, None, None] + noise
    return _mixed(_holes(images, generator).clamp(-1, 1), targets, generator)


def _even(number: int, generator: torch.Generator) -> Tensor:
    """Numbers between -1 and 1, all equally likely."""
    return 2 * torch.rand(number, generator=generator) - 1


def _moved(images: Tensor, angles: Tensor, scales: Tensor, moves: Tensor, side: Tensor) -> Tensor:
    """Turned, scaled, moved and mirrored by one bilinear interpolation, borders repeated."""
    height, width = images.shape[2:]
    cosine, sine = scales * torch.cos(angles), scales * torch.sin(angles)
    rows = [
        torch.stack([side * cosine, -sine * height / width, 2 * moves[:, 1] / width], 1),
        torch.stack([side * sine * width / height, cosine, 2 * moves[:, 0] / height], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _holes(images: Tensor, generator: torch.Generator) -> Tensor:
    """Set a square of a third of the shorter side to 0 in about half of the images."""
    number, _, height, width = images.shape
    length = min(height, width) // 3
    tops = (torch.rand(number, generator=generator) * (height - length + 1)).long()[:, None, None]
    lefts = (torch.rand(number, generator=generator) * (width - length + 1)).long()[:, None, None]
    rows, columns = torch.arange(height)[None, :, None], torch.arange(width)[None, None, :]
    inside = (rows >= tops) & (rows < tops + length) & (columns >= lefts) & (columns < lefts + length)
    chosen = (torch.rand(number, generator=generator) < 0.5)[:, None, None]
    return images.masked_fill((inside & chosen)[:, None], 0.0)


def _mixed(images: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mix each image and its target with another one's; the weight is from Beta(0.2, 0.2)."""
    seed = int(torch.randint(2**31, (1,), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        share = torch.distributions.Beta(0.2, 0.2).sample((len(images),))
    partner = torch.randperm(len(images), generator=generator)
    weight = share[:, None, None, None]
    mixed = weight * images + (1 - weight) * images[partner]
    return mixed, share[:, None] * targets + (1 - share[:, None]) * targets[partner]
