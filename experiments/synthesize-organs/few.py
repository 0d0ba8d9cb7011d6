"""A small labelled set from a large one: some slices of every class for training, all others for testing as before."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np

from skiagraph.data.labelled import read_labelled
from skiagraph.data.labelled_split import ImageSplit, split_images, write_image_split

__all__ = ["LEAST", "thin"]

LEAST = 6


def thin(whole: Path, folder: Path, split: Path, every: int) -> None:
    """Copy a set of crops with one in `every` training images of each class, evenly spread, and write its split.

    Validation slabs are chosen on the whole set, 15 % of it; they and the test slabs stay as they are.

    Args:
        whole: folder of crops with `labels.csv`.
        folder: new folder of the small set; the same as `whole` for no thinning.
        split: file of its split.
        every: 1 keeps all; at least `LEAST` images of a class are kept.
    """
    sides = split_images(read_labelled(whole), validation=0.15)
    if whole == folder:
        write_image_split(split, sides)
        return
    kept = _kept(sides, every)
    with open(whole / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["split"] = next(
            side for side in ("train", "validation", "test") if row["file"] in kept[side] or side == "test"
        )
    rows = [row for row in rows if row["file"] in kept[row["split"]]]
    for row in rows:
        (folder / row["file"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(whole / row["file"], folder / row["file"])
    for name in ("classes.txt", "provenance.json"):
        shutil.copyfile(whole / name, folder / name)
    with open(folder / "labels.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_image_split(split, split_images(read_labelled(folder), validation=0))


def _kept(sides: ImageSplit, every: int) -> dict[str, set[str]]:
    """Names on every side that stay."""
    train = sides.side("train")
    names: set[str] = set()
    for label in range(len(train.classes)):
        own = sorted(name for name, at in zip(train.names, train.labels, strict=True) if at == label)
        count = min(len(own), max(LEAST, len(own) // every))
        names |= {own[int(place)] for place in np.linspace(0, len(own) - 1, count).round()}
    return {"train": names, **{side: set(sides.side(side).names) for side in ("validation", "test")}}
