"""Labelled images as training items: read, split once, and shown as often as the sampling says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skiagraph.data.labelled import LabelledImages, read_labelled
from skiagraph.data.labelled_split import ImageSplit, read_image_split, split_images, write_image_split
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.synthesize.learn.settings import LearnSettings

__all__ = [
    "SPLIT_NAME",
    "LabelledItems",
    "balanced_places",
    "fixed_split",
    "open_images",
    "provenance_of",
    "side_tensors",
]

SPLIT_NAME = "split.json"
ROUNDS = 8


@dataclass(frozen=True, eq=False)
class LabelledItems:
    """Images of the training side, each as often as its class is to be shown.

    Args:
        images: (N, C, H, W) float32.
        labels: (N,) int64.
        places: (M,) positions of the items in them.
    """

    images: Tensor
    labels: Tensor
    places: Tensor

    @classmethod
    def of(cls, images: LabelledImages, sampling: str, seed: int) -> LabelledItems:
        """The items of a set."""
        places = balanced_places(images.labels.tolist(), sampling, seed)
        return cls(torch.from_numpy(images.images), torch.from_numpy(images.labels), places)

    def __len__(self) -> int:
        return len(self.places)

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        """{"image": (B, C, H, W), "label": (B,)} of the items at `indices`."""
        chosen = self.places[indices]
        return {"image": self.images[chosen], "label": self.labels[chosen]}


def balanced_places(labels: list[int], sampling: str, seed: int) -> Tensor:
    """Positions (M,) int64 to walk through, so that classes come as often as the sampling says.

    Eight passes over the largest class make one list, so that the images of a class differ in number by at most one
    part in eight.

    Args:
        labels: of the images.
        sampling: "none" (every image once), "sqrt" (a class of n images comes n_max sqrt(n / n_max) times) or "inverse"
            (every class n_max times).
        seed: decides which images of a class come once more where the numbers don't divide.
    """
    if sampling == "none":
        return torch.arange(len(labels))
    marks = torch.tensor(labels)
    counts = torch.bincount(marks)
    largest = int(counts.max())
    generator = torch.Generator().manual_seed(seed % 2**32)
    rows = []
    for label in range(len(counts)):
        members = torch.nonzero(marks == label).flatten()
        if len(members) == 0:
            continue
        share = 1.0 if sampling == "inverse" else (len(members) / largest) ** 0.5
        wanted = round(ROUNDS * largest * share)
        order = members[torch.randperm(len(members), generator=generator)]
        rows.append(order.repeat(-(-wanted // len(order)))[:wanted])
    return torch.cat(rows)


def open_images(settings: LearnSettings, on_progress: OnProgress = silent) -> LabelledImages:
    """Read the data as the settings say; labels that are all alike and images that show nothing are refused."""
    on_progress("reading images", 0, 0)
    images = read_labelled(
        settings.data,
        size=settings.shape,
        channels=settings.channels,
        table=settings.table,
        columns=settings.columns,
        classes=settings.classes,
        window=settings.window,
        fit=settings.fit,
        duplicates=settings.duplicates,
    )
    there = [name for name, count in images.counts.items() if count]
    if len(there) < 2:
        raise DataError(
            f"{settings.data}: found the labels {there}; what tells labels apart is learned from at least two "
            "of them. Add images with another label"
        )
    flat = images.images.reshape(len(images), -1)
    empty = np.flatnonzero(flat.min(axis=1) == flat.max(axis=1)).tolist()
    if empty:
        named = ", ".join(images.names[place] for place in empty[:3])
        raise DataError(
            f"{settings.data}: {len(empty)} of {len(images)} images are of one value in every pixel, such as {named}; "
            "nothing is shown there that a label could mean. Remove them"
        )
    return images


def fixed_split(settings: LearnSettings, images: LabelledImages, *, write: bool) -> ImageSplit:
    """The split: the one given, the one this run began with, the data's own, or a new one written before training.

    Args:
        settings: of the run.
        images: all of them.
        write: whether to write it into the run's folder (one process does).
    """
    kept = settings.output / SPLIT_NAME
    if settings.split is not None:
        split = read_image_split(settings.split, images)
    elif kept.exists():
        split = read_image_split(kept, images)
    else:
        split = split_images(images, validation=settings.validation, test=settings.test, seed=settings.seed)
    few = {name: count for name, count in split.side("train").counts.items() if count < 2}
    if few:
        raise DataError(f"split: {few} training images; every class needs at least 2. Lower validation or add images")
    if kept.exists():
        before = json.loads(kept.read_text(encoding="utf-8"))["fingerprint"]
        if before != images.fingerprint() or read_image_split(kept, images).split != split.split:
            raise InputError(f"{settings.output}: began with other images or another split; use another folder")
    elif write:
        settings.output.mkdir(parents=True, exist_ok=True)
        write_image_split(kept, split)
    return split


def provenance_of(data: Path) -> dict[str, Any]:
    """What `provenance.json` beside the images says of their source; empty where there is none."""
    place = data if data.is_dir() else data.parent
    file = place / "provenance.json"
    if not file.exists():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{file} is not readable as JSON ({error}); mend or remove it") from error
    return found if isinstance(found, dict) else {}


def side_tensors(images: LabelledImages) -> tuple[Tensor, Tensor]:
    """Images and labels of a side as tensors."""
    return torch.from_numpy(np.ascontiguousarray(images.images)), torch.from_numpy(images.labels)
