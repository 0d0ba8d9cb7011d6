"""The three sets of an audit as arrays of one shape."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.files import existing_file
from skiagraph.data.labelled import read_labelled
from skiagraph.data.labelled_split import read_image_split
from skiagraph.data.labelled_table import TABLE_NAME
from skiagraph.data.pictures import find_files, open_pictures
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.audit.settings import AuditSettings

__all__ = ["AuditSet", "AuditSets", "labelled_place", "read_audit_sets"]

LEAST = 2


@dataclass(frozen=True, eq=False)
class AuditSet:
    """Images of one set.

    Args:
        images: (N, C, H, W) float32, black at -1 and white at 1.
        names: path of each inside its set.
    """

    images: NDArray[np.float32]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def picture(self, index: int) -> NDArray[Any]:
        """Image `index` as (H, W) or (H, W, 3), 0 to 1."""
        image: NDArray[Any] = (np.moveaxis(self.images[index], 0, 2) + 1.0) / 2
        return np.asarray(image[..., 0]) if image.shape[2] == 1 else image


@dataclass(frozen=True)
class AuditSets:
    """What is compared.

    Args:
        synthetic, training: the two sets.
        held_out: unseen images; those that equal a training image are left out.
        seen: how many those were.
    """

    synthetic: AuditSet
    training: AuditSet
    held_out: AuditSet
    seen: int = 0


def read_audit_sets(settings: AuditSettings) -> AuditSets:
    """Read all sets; sets of another shape than the synthetic images are refused."""
    synthetic = _read(settings.synthetic, "synthetic", settings, settings.channels, None)
    channels, size = int(synthetic.images.shape[1]), synthetic.images.shape[2:]
    if channels not in (1, 3):
        raise InputError(f"synthetic: found {channels} channels; 1 or 3 are compared. Give its pictures")
    training, held_out = (
        _read(place, name, settings, channels, (int(size[0]), int(size[1])))
        for name, place in (("training", settings.training), ("held_out", settings.held_out))
    )
    unseen = _unseen(held_out, training)
    if len(unseen) < LEAST:
        raise DataError(
            f"held_out: {len(held_out) - len(unseen)} of {len(held_out)} images of {settings.held_out} equal a "
            f"training image, which leaves {len(unseen)}; at least {LEAST} that were never trained on say what chance "
            "does. Give others, or name the sides with `split`"
        )
    return AuditSets(synthetic, training, unseen, len(held_out) - len(unseen))


def _unseen(held_out: AuditSet, training: AuditSet) -> AuditSet:
    """Held-out images that equal no training image; the others would make every distance look like chance."""
    known = {image.tobytes() for image in training.images}
    keep = np.array([image.tobytes() not in known for image in held_out.images])
    return AuditSet(held_out.images[keep], tuple(np.array(held_out.names, dtype=object)[keep]))


def labelled_place(place: Path) -> bool:
    """Whether a place is laid out with labels: class folders, `images/` that holds them, a table, a MedMNIST file."""
    if not place.is_dir():
        if place.suffix.lower() != ".npz":
            return place.suffix.lower() == ".csv"
        with np.load(existing_file(place, "arrays"), allow_pickle=False) as content:
            return "images" not in content
    if (place / TABLE_NAME).is_file():
        return True
    root = place / "images" if (place / "images").is_dir() else place
    return any(inside.is_dir() and not inside.name.startswith(".") for inside in root.iterdir())


def _read(
    place: Path, name: str, settings: AuditSettings, channels: int | None, size: tuple[int, int] | None
) -> AuditSet:
    if labelled_place(place):
        found = _labelled(place, name, settings, channels)
    else:
        found = _pictures(place, settings, channels)
    if size is not None and found.images.shape[2:] != size:
        here = tuple(found.images.shape[2:])
        raise InputError(f"size: pictures of {name} are {here}, the synthetic ones {size}; give `size`")
    if len(found) < LEAST:
        raise DataError(f"{name}: found {len(found)} picture in {place}; a set needs at least {LEAST}")
    return found


def _labelled(place: Path, name: str, settings: AuditSettings, channels: int | None) -> AuditSet:
    """A labelled set; where it has sides, `training` means "train", `held_out` "test", or "validation" without one.

    Classes of which a run drew nothing are no error: labels are not compared.
    """
    images = read_labelled(
        place,
        size=settings.shape,
        channels=1 if channels == 1 else 3 if channels == 3 else None,
        window=settings.intensity,
        least=0,
        duplicates="allow",
    )
    if name == "synthetic":
        return AuditSet(images.images, images.names)
    if settings.split is not None and (name == "training" or place == settings.training):
        split = read_image_split(settings.split, images).split
        sides = {name: side for side in ("train", "validation", "test") for name in getattr(split, side)}
        found = np.array([sides[name] for name in images.names])
    elif images.sides is not None:
        found = np.array(images.sides)
    else:
        return AuditSet(images.images, images.names)
    unseen = "test" if (found == "test").any() else "validation"
    part = images.select(found == ("train" if name == "training" else unseen))
    return AuditSet(part.images, part.names)


def _pictures(place: Path, settings: AuditSettings, channels: int | None) -> AuditSet:
    """Pictures without labels: those of a run of `generate`, a folder, a stack."""
    files = [file for file in find_files([place]) if file.name != "grid.png"]
    drawn = [file for file in files if file.name.startswith("image-") and file.suffix == ".png"]
    files = drawn if drawn and (place / "images.npz").is_file() else files
    pictures = open_pictures(files, channels=channels, size=settings.shape, intensity=settings.intensity)
    images = np.stack([pictures.image(index) for index in range(len(pictures))])
    return AuditSet(images, tuple(pictures.names))
