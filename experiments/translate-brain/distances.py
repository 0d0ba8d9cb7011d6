"""How far each method's slices are, as a set, from true slices of the target: kernel distances on named features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from heads import Head
from methods import ENTRIES

from skiagraph.data.files import write_whole
from skiagraph.evaluation.distribution import kernel_distance
from skiagraph.evaluation.features import fit_features

__all__ = ["FEATURES", "distances_path", "measure_distances"]

FEATURES = ("EffLite0", "patch-pca-8")
"""Names of `evaluation.features`; the first needs the extra `features`."""


def distances_path(folder: Path) -> Path:
    """Where the distances of one direction are kept, beside its folder."""
    return folder.with_name(f"distances-{folder.name}.json")


def measure_distances(folder: Path, head: Head) -> None:
    """Write `distances-SOURCE-TARGET.json`: of every method the value and spread for each of `FEATURES`.

    Thirty slices are too few for a Frechet distance on so many features; the kernel distance is unbiased for any count.
    """
    target = folder.name.split("-")[1]
    found: dict[str, Any] = {}
    for name in ENTRIES:
        place = folder / f"{name}.npy"
        if not place.exists():
            continue
        images = np.load(place).astype(np.float64)[:, None]
        start = json.loads((folder / f"{name}.json").read_text())["first_slice"]
        truth = head.truth[target][start : start + len(images)].numpy().astype(np.float64)
        found[name] = {}
        for kind in FEATURES:
            features = fit_features(kind, truth)
            distance = kernel_distance(features(np.clip(images, -1, 1)), features(truth))
            found[name][kind] = [distance.value, distance.subset_deviation]
        print(f"{folder.name} {name} {found[name]}", flush=True)
    write_whole(distances_path(folder), (json.dumps(found, indent=1) + "\n").encode())
