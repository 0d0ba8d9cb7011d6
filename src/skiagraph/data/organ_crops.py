"""Small labelled pictures cut from one CT with an automatic label map: "organ crops, one patient".

    crop_sets() -> {"organs": ..., "trunk-wall": ...}
    cut_crops(ct, labels, CropSet, planes) -> LabelledCrops;   write_crops(folder, crops, provenance)

In every slice of a plane, each structure that covers enough pixels gives one crop: the square about its bounding box.
The split is by slab of eight slices (11 mm); training slices within two of a test slab are dropped, since neighbouring
slices are nearly equal. Crops of different planes share tissue at any split: for claims use one plane.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.files import write_whole
from skiagraph.data.labelled_files import CLASSES_NAME
from skiagraph.data.labelled_table import TABLE_NAME
from skiagraph.data.png import write_png
from skiagraph.data.volume import Volume
from skiagraph.errors import DataError, InputError

__all__ = [
    "PLANES",
    "SIZE",
    "Crop",
    "CropSet",
    "Place",
    "crop_sets",
    "cut_crops",
    "places_of",
    "resampled",
    "write_crops",
]

SPACING, SIZE, MARGIN, SLAB, PERIOD, TEST, GUARD = 1.4, 28, 4, 8, 4, 3, 2
Plane = Literal["sagittal", "coronal", "axial"]
PLANES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
"""Planes in the order of the array axes that they are perpendicular to."""


@dataclass(frozen=True)
class CropSet:
    """What is cut.

    Args:
        name: short name.
        title: one line.
        classes: name of a class -> numbers in the label map that make it up.
        window: Hounsfield units that become black and white.
        least: pixels (1.4 mm) that a structure must cover in a slice.
    """

    name: str
    title: str
    classes: Mapping[str, tuple[int, ...]]
    window: tuple[float, float]
    least: int


@dataclass(frozen=True)
class Place:
    """Where a crop is cut.

    Args:
        label: name of its class.
        plane: plane of the slice.
        index: slice number in the volume of 1.4 mm.
    """

    label: str
    plane: Plane
    index: int

    @property
    def slab(self) -> str:
        """The group that stays together: plane and slab of eight slices."""
        return f"{self.plane}-{self.index // SLAB:02d}"

    @property
    def side(self) -> Literal["train", "test", "dropped"]:
        """Side of the split: every fourth slab is for testing; slices within two of such a slab are dropped.

        The pattern of slabs goes on beyond the volume, so the first two slices lie beside a test slab too.
        """
        if self.index // SLAB % PERIOD == TEST:
            return "test"
        near = (self.index + step for step in range(-GUARD, GUARD + 1))
        return "dropped" if any(place // SLAB % PERIOD == TEST for place in near) else "train"


@dataclass(frozen=True, eq=False)
class Crop(Place):
    """One crop.

    Args:
        pixels: (28, 28) uint8.
    """

    pixels: NDArray[np.uint8]


def crop_sets() -> dict[str, CropSet]:
    """The sets by name: eleven organs in a soft-tissue window, and bones, cartilage and muscle of the trunk's wall."""
    organs = {
        **{"liver": (5,), "spleen": (1,), "kidney-right": (2,), "kidney-left": (3,), "stomach": (6,)},
        **{"pancreas": (7,), "heart": (51, 61), "lung-left": (10, 11), "lung-right": (12, 13, 14)},
        **{"colon": (20,), "aorta": (52,)},
    }
    wall = {
        **{"muscle-left": (86,), "muscle-right": (87,), "vertebra-thoracic": tuple(range(32, 44))},
        **{"vertebra-lumbar": (29, 30, 31), "sternum": (116,), "scapula-left": (71,), "scapula-right": (72,)},
        **{"clavicle": (73, 74), "cartilage": (118,), "humerus": (69, 70)},
    }
    sets = (
        CropSet("organs", "eleven organs of one patient's CT", organs, (-160.0, 240.0), 120),
        CropSet("trunk-wall", "ten parts of the wall of one patient's trunk, in CT", wall, (-300.0, 900.0), 60),
    )
    return {entry.name: entry for entry in sets}


def resampled(volume: Volume, order: Literal[0, 1]) -> NDArray[Any]:
    """Resample to 1.4 mm in all directions, corner voxel to corner voxel.

    Args:
        volume: with axes along left, anterior, superior.
        order: 0 (nearest, for labels) or 1 (linear).
    """
    from scipy import ndimage

    if volume.orientation != "LAS":
        raise InputError(f"volume: its axes are {volume.orientation}; LAS is needed, to which the crops refer")
    factors = [length / SPACING for length in volume.spacing_mm]
    return np.asarray(ndimage.zoom(volume.array, factors, order=order))


def places_of(labels: NDArray[Any], wanted: CropSet, planes: Sequence[Plane] = ("axial",)) -> list[Place]:
    """Where a set has crops: every slice in which a structure covers enough pixels.

    Args:
        labels: label map (X, Y, Z) at 1.4 mm, from `resampled`.
        wanted: the set.
        planes: "sagittal", "coronal", "axial".
    """
    unknown = [plane for plane in planes if plane not in PLANES]
    if unknown or not planes:
        raise InputError(f"planes: found {list(planes)}, allowed: one or more of {', '.join(PLANES)}")
    found = []
    for label, numbers in wanted.classes.items():
        organ = np.isin(labels, numbers)
        for plane in (plane for plane in PLANES if plane in planes):
            area = organ.sum(axis=tuple(axis for axis in range(3) if axis != PLANES.index(plane)))
            found += [Place(label, plane, int(index)) for index in np.flatnonzero(area >= wanted.least)]
    return found


def cut_crops(
    ct: NDArray[Any], labels: NDArray[Any], wanted: CropSet, planes: Sequence[Plane] = ("axial",)
) -> list[Crop]:
    """Cut every crop of a set; pictures stand as radiologists see them (patient's right on the left, head up).

    Args:
        ct: (X, Y, Z) Hounsfield units at 1.4 mm, from `resampled`.
        labels: label map of the same shape.
        wanted: the set.
        planes: "sagittal", "coronal", "axial".
    """
    low, high = wanted.window
    crops = []
    for place in places_of(labels, wanted, planes):
        axis = PLANES.index(place.plane)
        slice_, marks = (np.take(volume, place.index, axis=axis).T[::-1] for volume in (ct, labels))
        picture = np.clip((slice_.astype(np.float32) - low) / (high - low), 0, 1)
        pixels = _square(picture, np.isin(marks, wanted.classes[place.label]))
        crops.append(Crop(place.label, place.plane, place.index, pixels))
    return crops


def _square(picture: NDArray[np.float32], organ: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The square about the organ's bounding box, padded with black, at 28 x 28 (antialiased linear)."""
    from PIL import Image

    ranges = [np.flatnonzero(organ.any(axis=axis)) for axis in (1, 0)]
    half = max(int(found[-1] - found[0] + 1) for found in ranges) // 2 + MARGIN
    padded = np.pad(picture, half)
    middle = [(int(found[0]) + int(found[-1]) + 1) // 2 + half for found in ranges]
    cut = padded[middle[0] - half : middle[0] + half, middle[1] - half : middle[1] + half]
    small = Image.fromarray(np.ascontiguousarray(cut)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.round(np.asarray(small).clip(0, 1) * 255).astype(np.uint8)


def write_crops(folder: Path, crops: Sequence[Crop], wanted: CropSet, provenance: Mapping[str, Any]) -> dict[str, int]:
    """Write class folders, `labels.csv` (file, label, patient, split, plane, slice), `classes.txt`, `provenance.json`.

    The column patient holds the slab, the group that stays together. Dropped crops are not written.

    Args:
        folder: new or empty.
        crops: from `cut_crops`.
        wanted: their set.
        provenance: licence, archive and hashes, for `provenance.json`.

    Returns how many crops stand on each side.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty; give a new folder, so that old and new crops are not mixed")
    kept = [crop for crop in crops if crop.side != "dropped"]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("file", "label", "patient", "split", "plane", "slice"))
    for crop in kept:
        name = f"{crop.label}/{crop.plane}-{crop.index:03d}.png"
        write_png(folder / name, crop.pixels, {"Source": str(provenance.get("archive", "generated"))})
        rows.writerow((name, crop.label, crop.slab, crop.side, crop.plane, crop.index))
    present = [label for label in wanted.classes if any(crop.label == label for crop in kept)]
    write_whole(folder / CLASSES_NAME, ("\n".join(present) + "\n").encode())
    write_whole(folder / "provenance.json", (json.dumps(dict(provenance), indent=1) + "\n").encode())
    write_whole(folder / TABLE_NAME, text.getvalue().encode())
    return {side: sum(crop.side == side for crop in crops) for side in ("train", "test", "dropped")}
