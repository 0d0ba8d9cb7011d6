"""Sets of small images of one kind, different for every seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["classes_of_spots", "spots"]


def spots(seed: int, count: int, size: int = 20) -> NDArray[np.float32]:
    """Soft spots at random places, (count, 1, size, size) from -1 to 1."""
    generator, (rows, columns) = np.random.default_rng(seed), np.mgrid[:size, :size]
    images = np.zeros((count, size, size))
    for image in images:
        for _ in range(3):
            row, column = generator.uniform(3, size - 3, 2)
            width, height = generator.uniform(1.5, 4), generator.uniform(0.3, 1)
            image += height * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))
    return (2 * np.clip(images, 0, 1) - 1)[:, None].astype(np.float32)


def classes_of_spots(seed: int, per_class: int, size: int = 16) -> dict[str, NDArray[np.uint8]]:
    """Three classes of noisy images that differ by where a bright spot lies: name -> (per_class, size, size)."""
    generator, (rows, columns) = np.random.default_rng(seed), np.mgrid[:size, :size]
    found = {}
    for name, (row, column) in {"above": (0.25, 0.5), "left": (0.6, 0.25), "right": (0.6, 0.75)}.items():
        places = np.array([row, column]) * size + generator.uniform(-2, 2, (per_class, 2))
        gaps = (rows - places[:, 0, None, None]) ** 2 + (columns - places[:, 1, None, None]) ** 2
        found[name] = np.uint8(200 * np.exp(-gaps / 8) + generator.uniform(0, 50, (per_class, size, size)))
    return found
