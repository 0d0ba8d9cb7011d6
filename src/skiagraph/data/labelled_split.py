"""The split of a labelled set: by patient, fixed before anything is trained, written to a file.

split_images(images, *, validation=0.15, test=0.0, seed=0) -> ImageSplit;  split.side("train") -> LabelledImages
write_image_split(path, split);  read_image_split(path, images) -> ImageSplit
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.files import atomic_path, existing_file
from skiagraph.data.labelled import LabelledImages
from skiagraph.data.splits import SIDES, Split
from skiagraph.errors import DataError, InputError

__all__ = ["ImageSplit", "read_image_split", "split_images", "write_image_split"]

ORDERS, ABSENT = 32, 0.25


@dataclass(frozen=True, eq=False)
class ImageSplit:
    """Images and the side that each stands on.

    Args:
        images: all of them.
        split: their names by side; its "heads" are the patients, or the images themselves where none are known.
    """

    images: LabelledImages
    split: Split

    def side(self, name: str) -> LabelledImages:
        """The images of "train", "validation" or "test"."""
        self.split.heads_of(name)
        return self.images.named(getattr(self.split, name))

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Images of every class on every side."""
        return {side: self.side(side).counts for side in SIDES}


def split_images(images: LabelledImages, *, validation: float = 0.15, test: float = 0.0, seed: int = 0) -> ImageSplit:
    """Split by patient, about the same share of every class on each side; sides that came with the data are kept.

    Patients are taken in an order that seed and name decide, and put where they are missed most. The last patient of a
    class stays in training. Without patients every image counts as one of its own.

    Args:
        images: the images.
        validation: share of the training images for validation, in [0, 1); taken only where the data bring none.
        test: share of all images for testing, in [0, 1); must be 0 where the data come with sides.
        seed: of the order.
    """
    for name, share in (("validation", validation), ("test", test)):
        if not 0 <= share < 1:
            raise InputError(f"{name}: found {share}, allowed: a share from 0 to below 1")
    groups = np.array(images.patients or images.names)
    sides = np.full(len(images), "train", dtype="<U10")
    if images.sides is not None:
        if test:
            raise InputError(f"test: found {test}, but the data come with a split; leave it at 0")
        sides = np.array(images.sides, dtype="<U10")
    else:
        sides[_taken(images, groups, np.ones(len(images), dtype=bool), test, f"test/{seed}")] = "test"
    if validation and not (sides == "validation").any():
        sides[_taken(images, groups, sides == "train", validation, f"validation/{seed}")] = "validation"
    return _image_split(images, groups.tolist(), sides.tolist())


def _image_split(images: LabelledImages, groups: Sequence[str], sides: Sequence[str]) -> ImageSplit:
    pairs = list(zip(images.names, sides, strict=True))
    train, validation, test = (tuple(name for name, place in pairs if place == side) for side in SIDES)
    kind = "image" if images.patients is None else "patient"
    return ImageSplit(images, Split(dict(zip(images.names, groups, strict=True)), train, validation, test, kind))


def _taken(
    images: LabelledImages, groups: NDArray[Any], free: NDArray[np.bool_], share: float, words: str
) -> NDArray[np.bool_]:
    """Which of the `free` images are taken out, whole groups at a time, so that about `share` of each class goes.

    Of several orders of the groups the one that comes nearest is kept.
    """
    best, least = np.zeros(len(images), dtype=bool), np.inf
    for attempt in range(ORDERS if share else 0):
        taken, missed = _taken_in_order(images, groups, free, share, f"{words}/{attempt}")
        if missed < least:
            best, least = taken, missed
    return best


def _taken_in_order(
    images: LabelledImages, groups: NDArray[Any], free: NDArray[np.bool_], share: float, words: str
) -> tuple[NDArray[np.bool_], float]:
    """What one order of the groups leads to, and by how much it misses, as a sum over classes."""
    classes = len(images.classes)
    total = np.bincount(images.labels[free], minlength=classes)
    gone, taken = np.zeros(classes, dtype=np.int64), np.zeros(len(images), dtype=bool)

    def cost(out: NDArray[Any]) -> float:
        """Relative distances to the share, a rare class as heavy as a frequent one; a class left out costs extra."""
        known = total > 0
        return float((np.abs(out / np.maximum(total, 1) - share) + ABSENT * (out == 0))[known].sum())

    names = sorted(set(groups[free].tolist()), key=lambda name: hashlib.sha256(f"{words}/{name}".encode()).digest())
    for name in names:
        members = free & (groups == name)
        after = gone + np.bincount(images.labels[members], minlength=classes)
        if cost(after) < cost(gone) and not ((after == total) & (after > gone)).any():
            taken, gone = taken | members, after
    return taken, cost(gone)


def write_image_split(path: str | os.PathLike[str], split: ImageSplit) -> Path:
    """Write a split as JSON, whole or not at all: groups, sides, classes and the fingerprint of the data."""
    content = {
        "kind": split.split.kind,
        "classes": list(split.images.classes),
        "fingerprint": split.images.fingerprint(),
        "groups": dict(split.split.heads),
        **{side: list(getattr(split.split, side)) for side in SIDES},
    }
    with atomic_path(path, suffix=".json") as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return Path(path)


def read_image_split(path: str | os.PathLike[str], images: LabelledImages) -> ImageSplit:
    """Read a split and lay it over its images.

    Args:
        path: what `write_image_split` wrote.
        images: the same images, by name; others, and a patient on two sides, are refused.
    """
    file = existing_file(path, "a split (JSON)")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        needed = {"kind", "classes", "fingerprint", "groups", *SIDES}
        if set(content) != needed:
            raise DataError(f"{file} has the keys {sorted(content)}; exactly {', '.join(sorted(needed))} are needed")
        sides = {name: side for side in SIDES for name in content[side]}
        train, validation, test = (tuple(content[side]) for side in SIDES)
        split = Split(dict(content["groups"]), train, validation, test, str(content["kind"]))
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise DataError(f"{file} is not a split in JSON: {error}") from error
    except InputError as error:
        raise DataError(f"{file}: {error}") from error
    differ = sorted(set(images.names) ^ set(sides))
    if differ:
        raise DataError(f"{file}: {len(differ)} images stand only there or only in the data, such as {differ[:3]}")
    own = dict(zip(images.names, images.patients or images.names, strict=True))
    moved = [name for name, group in split.heads.items() if images.patients is not None and own[name] != group]
    if moved:
        raise DataError(f"{file}: {moved[0]!r} shows {split.heads[moved[0]]!r} there, {own[moved[0]]!r} in the data")
    return ImageSplit(images, split)
