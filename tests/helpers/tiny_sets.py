"""Sets of small images of one kind, different for every seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["spots"]


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
