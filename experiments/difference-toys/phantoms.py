"""Toy heads of 16 x 16 pixels with and without a lesion: a bright one, or one that differs in texture alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

__all__ = ["KINDS", "Phantoms", "draw_phantoms"]

KINDS = ("bright", "iso")
SIDE = 16


@dataclass(frozen=True, eq=False)
class Phantoms:
    """N toy heads.

    Args:
        images: (N, 1, 16, 16) float32 in [0, 1].
        masks: (N, 16, 16) bool, the lesion; empty for normal heads.
        heads: (N, 16, 16) bool.
        labels: (N,) int64, 1 where there is a lesion.
    """

    images: NDArray[np.float32]
    masks: NDArray[np.bool_]
    heads: NDArray[np.bool_]
    labels: NDArray[np.int64]


def draw_phantoms(random: np.random.RandomState, labels: NDArray[np.int64], kind: str) -> Phantoms:
    """Draw heads in the order of the labels, in the order of draws of methods/conditional-difference.md, 13.3.

    Args:
        random: NumPy's old generator, whose draws are the recipe.
        labels: 1 for a lesion.
        kind: "bright" as in the recipe; "iso": the lesion keeps the mean and loses its texture.
    """
    drawn = [_draw(random, bool(label), kind) for label in labels]
    images, masks, heads = (np.stack(part) for part in zip(*drawn, strict=True))
    return Phantoms(images[:, None].astype(np.float32), masks, heads, labels.astype(np.int64))


def _draw(
    random: np.random.RandomState, lesion: bool, kind: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    y, x = np.mgrid[:SIDE, :SIDE].astype(float)
    a, b = random.uniform(5.8, 7.2), random.uniform(6.2, 7.6)
    cx, cy = random.uniform(7.0, 8.5, size=2)
    head = ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1
    texture = gaussian_filter(random.randn(SIDE, SIDE), 1.5)
    texture = texture / texture.std()
    mask = np.zeros_like(head)
    while lesion and mask.sum() < 6:
        angle, radius = random.uniform(0, 2 * np.pi), random.uniform(0, 0.75)
        px, py = cx + radius * a * np.cos(angle), cy + radius * b * np.sin(angle)
        r1, r2 = random.uniform(1.4, 3.0, size=2)
        mask = (((x - px) / r1) ** 2 + ((y - py) / r2) ** 2 < 1) & head
    soft = gaussian_filter(mask.astype(float), 0.4)
    if kind == "iso":
        image = 0.40 + 0.10 * texture * (1 - 0.9 * soft)
    else:
        image = 0.40 + 0.10 * texture
        image = image + (random.uniform(0.20, 0.35) * soft if lesion else 0.0)
    image = np.clip((image + 0.01 * random.randn(SIDE, SIDE)) * head, 0, 1)
    return image, mask, head
