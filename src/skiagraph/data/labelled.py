"""Labelled images in memory, whatever they came as: folders per class, a table of files and labels, MedMNIST arrays.

    read_labelled(path, *, size=None, channels=None, table=None, classes=None, window=None, fit="crop", least=2,
                  duplicates="refuse") -> LabelledImages

Intensities become [-1, 1]: by the bit depth of whole numbers, or by the window that is stated.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skiagraph.data.image_readers import PixelRules, read_pixels
from skiagraph.data.labelled_files import LabelledFile, class_folders, natural_order
from skiagraph.data.labelled_medmnist import read_medmnist
from skiagraph.data.labelled_table import TABLE_NAME, read_table
from skiagraph.errors import DataError, InputError

__all__ = ["LabelledImages", "read_labelled"]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """N images of one size with one label each.

    Args:
        images: (N, C, H, W) float32 in [-1, 1].
        labels: (N,) int64, positions in `classes`.
        classes: names of the classes in their declared order; a class may have no image here.
        names: one name an image, no two alike: the file relative to its folder, with "#k" for slice k of several.
        patients: whom each image shows (or another group that must stay together); None where nothing says so.
        sides: "train", "validation" or "test" of each image, where the data came with a split; else None.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    names: tuple[str, ...]
    patients: tuple[str, ...] | None = None
    sides: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        number = len(self.images)
        if self.images.ndim != 4 or self.images.dtype != np.float32:
            raise ValueError(f"images: found {self.images.dtype} {self.images.shape}; float32 (N, C, H, W) is needed")
        for name in ("labels", "names", "patients", "sides"):
            value = getattr(self, name)
            if value is not None and len(value) != number:
                raise ValueError(f"{name}: found {len(value)} for {number} images; one an image is needed")
        if self.labels.dtype != np.int64 or self.labels.ndim != 1:
            raise ValueError(f"labels: found {self.labels.dtype} {self.labels.shape}; int64 (N,) is needed")
        if number and not (self.labels.min() >= 0 and self.labels.max() < len(self.classes)):
            raise ValueError(
                f"labels: found {self.labels.min()} to {self.labels.max()} for {len(self.classes)} classes"
            )
        for name in ("names", "classes"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                twice = sorted({value for value in values if values.count(value) > 1})
                raise ValueError(f"{name}: found {twice[:5]} more than once; every name stands for one")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        """C."""
        return int(self.images.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return int(self.images.shape[2]), int(self.images.shape[3])

    @property
    def counts(self) -> dict[str, int]:
        """Number of images of every class, in the declared order."""
        found = np.bincount(self.labels, minlength=len(self.classes))
        return {name: int(count) for name, count in zip(self.classes, found, strict=True)}

    def select(self, indices: ArrayLike) -> LabelledImages:
        """Some of the images, in the order of `indices`: whole numbers (n,), or booleans (N,)."""
        chosen = np.asarray(indices)
        places = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen.astype(np.int64)
        kept = places.tolist()

        def some(values: tuple[str, ...] | None) -> tuple[str, ...] | None:
            return None if values is None else tuple(values[place] for place in kept)

        names = some(self.names) or ()
        return LabelledImages(
            self.images[places], self.labels[places], self.classes, names, some(self.patients), some(self.sides)
        )

    def named(self, names: Sequence[str]) -> LabelledImages:
        """The images of these names, in this order; DataError names those that are not there."""
        places = {name: place for place, name in enumerate(self.names)}
        missing = [name for name in names if name not in places]
        if missing:
            raise DataError(f"{len(missing)} of {len(names)} images are not in the data, such as {missing[:3]}")
        return self.select([places[name] for name in names])

    def fingerprint(self) -> str:
        """SHA-256 of pixels, labels, classes and names: the same data, the same 64 hexadecimal digits."""
        digest = hashlib.sha256(repr((self.images.shape, self.classes, self.names)).encode())
        digest.update(np.ascontiguousarray(self.images).tobytes())
        digest.update(np.ascontiguousarray(self.labels).tobytes())
        return digest.hexdigest()


def read_labelled(
    path: str | os.PathLike[str],
    *,
    size: tuple[int, int] | int | None = None,
    channels: int | None = None,
    table: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
    window: tuple[float, float] | None = None,
    fit: Literal["crop", "pad", "stretch"] = "crop",
    least: int = 2,
    duplicates: Literal["refuse", "allow"] = "refuse",
) -> LabelledImages:
    """Read labelled images.

    Args:
        path: a folder with one folder a class (or with `images/` that holds them, as the program's own outputs do, or
            with `labels.csv`), a CSV table, or a MedMNIST file (.npz).
        size: (H, W) that every image is brought to by `fit`; None: all must have one size.
        channels: 1 or 3, what image files are converted to; None: all must have the same.
        table: CSV of files (relative to `path`) and labels.
        columns: names of the table's columns where they are not file, label, patient, split: {"file": "image_id"}.
        classes: names in their order. Default: `classes.txt` (a name a line) beside the images, else the names found,
            numbers in the order of their values. A class without images stays an error by `least`.
        window: intensities that become -1 and 1, in the file's unit (Hounsfield units for CT); what lies outside is
            clipped. Default: the whole range of the bit depth; real numbers need it.
        fit: how another size becomes `size`: "crop" (antialiased cubic until both sides reach it, then cropped about
            the middle), "pad" (until both fit in, then -1 all round) or "stretch" (the aspect ratio is lost).
        least: images every class must have.
        duplicates: what happens to images equal in every pixel.
    """
    place = Path(path)
    shape = (size, size) if isinstance(size, int) else size
    if place.suffix.lower() == ".npz":
        given = {"table": table, "columns": columns, "window": window}
        for name, value in given.items():
            if value is not None:
                raise InputError(f"{name} has no effect on {place}, whose arrays hold labels and bytes; leave it out")
        found = LabelledImages(*read_medmnist(place, classes, shape, channels, fit))
    else:
        root, files, order = _listed(place, table, columns, classes)
        found = _read_files(root, files, order, PixelRules(shape, channels, window, fit))
    return _checked(found, place, least, duplicates)


def _listed(
    place: Path,
    table: str | os.PathLike[str] | None,
    columns: Mapping[str, str] | None,
    classes: Sequence[str] | None,
) -> tuple[Path, list[LabelledFile], tuple[str, ...]]:
    """Find the files and their labels, and put the classes in order."""
    if not place.exists():
        raise DataError(f"{place} does not exist; a folder of classes, a CSV table or a MedMNIST .npz file is needed")
    root = place if place.is_dir() else place.parent
    sheet = Path(table) if table is not None else place if place.is_file() else place / TABLE_NAME
    if sheet.exists() or table is not None:
        files = read_table(sheet, root, columns or {})
    elif columns is not None:
        raise InputError(f"columns: given without a table; {place} holds no {TABLE_NAME}")
    else:
        root = place / "images" if (place / "images").is_dir() else place
        files = class_folders(root)
    return root, files, natural_order(root, [file.label for file in files], classes)


def _read_files(
    root: Path, files: Sequence[LabelledFile], classes: tuple[str, ...], rules: PixelRules
) -> LabelledImages:
    """Read every file, in the order of the list; a file of several images gives them all its label."""
    images: list[NDArray[np.float32]] = []
    names: list[str] = []
    labels, patients, sides = [], [], []
    several = False
    for file in files:
        pixels = read_pixels(root / file.name, rules)
        if images and pixels.shape[1:] != images[0].shape:
            raise DataError(_differs(root / file.name, pixels.shape[1:], root / names[0], images[0].shape))
        several = several or len(pixels) > 1
        for number, image in enumerate(pixels):
            images.append(image)
            labels.append(classes.index(file.label))
            names.append(f"{file.name}#{number}" if len(pixels) > 1 else file.name)
            patients.append(file.patient)
            sides.append(file.side)
    own = all(patient is not None for patient in patients)
    groups = [patient or name.partition("#")[0] for patient, name in zip(patients, names, strict=True)]
    return LabelledImages(
        np.stack(images),
        np.array(labels, dtype=np.int64),
        classes,
        tuple(names),
        tuple(groups) if own or several else None,  # slices of one volume stay together in any case
        tuple(side or "" for side in sides) if all(sides) else None,
    )


def _differs(path: Path, shape: Sequence[int], first: Path, wanted: Sequence[int]) -> str:
    if shape[0] != wanted[0]:
        advice = "set channels to 1 or 3"
    else:
        advice = "give size, and fit to say how the others are brought to it"
    return (
        f"{path} is {shape[1]} x {shape[2]} pixels with {shape[0]} channels, but {first} is {wanted[1]} x {wanted[2]} "
        f"with {wanted[0]}; {advice}"
    )


def _checked(found: LabelledImages, place: Path, least: int, duplicates: str) -> LabelledImages:
    """Refuse classes with too few images, patients on two sides, and images that occur twice."""
    few = {name: count for name, count in found.counts.items() if count < least}
    if few:
        listed = ", ".join(f"{name!r} has {count}" for name, count in few.items())
        raise DataError(
            f"{place}: {listed}; every class needs at least {least} images. Add some or leave the class out"
        )
    sides: dict[str, str] = {}
    for patient, side in zip(found.patients or (), found.sides or (), strict=False):
        if sides.setdefault(patient, side) != side:
            raise DataError(
                f"{place}: patient {patient!r} stands on the sides {sides[patient]} and {side}; a patient may stand on "
                "one side only. Mend the column split, or leave it out for a new split by patient"
            )
    if duplicates not in ("refuse", "allow"):
        raise InputError(f"duplicates: found {duplicates!r}, allowed: refuse, allow")
    if duplicates == "refuse":
        seen: dict[bytes, int] = {}
        for number, image in enumerate(found.images):
            first = seen.setdefault(hashlib.sha256(image.tobytes()).digest(), number)
            if first != number:
                other = "" if found.labels[first] == found.labels[number] else ", and their labels differ"
                raise DataError(
                    f"{place}: {found.names[first]!r} and {found.names[number]!r} are equal in every pixel{other}; "
                    "remove one, or allow duplicates"
                )
    return found
