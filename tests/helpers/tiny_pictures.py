"""Small pictures and k-space files to train U-Net priors on, and the smallest network for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tests.helpers.tiny_scans import scan

from skiagraph.data.fastmri import write_fastmri
from skiagraph.data.png import write_png

__all__ = ["NETWORK", "NETWORK_FLAGS", "coil_files", "picture_folder", "pictures"]

NETWORK = {"channels": 8, "multipliers": [1, 2], "residual_blocks": 1, "head_channels": 4, "groups": 4}
NETWORK_FLAGS = [
    *("--network.channels", "8", "--network.multipliers", "1", "2", "--network.residual-blocks", "1"),
    *("--network.head-channels", "4", "--network.groups", "4"),
]


def pictures(count: int = 6, size: int = 16, channels: int = 3) -> NDArray[np.uint8]:
    """Bright rectangles on dark ground, (count, size, size, channels)."""
    generator = np.random.default_rng(0)
    images = np.full((count, size, size, channels), 40, np.uint8)
    for image in images:
        row, column = generator.integers(0, size // 2, 2)
        image[row : row + size // 2, column : column + size // 2] = generator.integers(120, 255, channels)
    return images


def picture_folder(folder: Path, count: int = 6, size: int = 16, channels: int = 3) -> Path:
    """`pictures` as 8-bit PNG files."""
    for number, image in enumerate(pictures(count, size, channels)):
        write_png(folder / f"{number:03d}.png", image if channels == 3 else image[..., 0])
    return folder


def coil_files(folder: Path, count: int = 2, slices: int = 3) -> Path:
    """Complete k-space of the phantom, 4 coils of 32 x 32, in files of the fastMRI layout."""
    for number in range(count):
        write_fastmri(folder / f"scan-{number}.h5", scan(slices=slices, mask=np.ones(32, dtype=bool)))
    return folder
