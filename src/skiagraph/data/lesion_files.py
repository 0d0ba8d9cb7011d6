"""Cases with inserted lesions as files: slices in class folders with a table, volumes, and the truth in folders apart.

FOLDER/slices/{normal,hyper,hypo,iso}/NAME.png   slices/labels.csv   slices/classes.txt    what a method may see
FOLDER/volumes/SIDE/CASE.nii.gz                                                             whole cases
FOLDER/truth/masks/NAME.png   truth/SIDE/CASE.{mask,share,twin}.nii.gz                      what no method may see
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.files import write_whole
from skiagraph.data.intensity import foreground_scaling
from skiagraph.data.lesion_insertion import InsertedCase
from skiagraph.data.png import write_png
from skiagraph.data.volume import Volume, write_nifti

__all__ = ["LesionSlice", "chosen_slices", "slices_of", "write_table", "write_truth_volumes", "write_volume"]

PROVENANCE = "inserted lesion"


@dataclass(frozen=True)
class LesionSlice:
    """One slice of a case.

    Attributes:
        name: of its file, without folder and ending.
        label: "normal", the kind of lesion, or "uncertain" (lesion there, but less than the least area).
        group, case, side, index: head, case, side of the split, and slice counted from below.
        area_mm2: of lesion.
        pixels: (H, W) uint8, rows from front to back, columns from the patient's right.
        mask: (H, W) bool.
    """

    name: str
    label: str
    group: str
    case: str
    side: str
    index: int
    area_mm2: float
    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def slices_of(
    made: InsertedCase,
    *,
    kind: str,
    case: str,
    group: str,
    side: str,
    pixel_mm: float,
    least_mm2: float,
    least_brain_mm2: float = 4000.0,
) -> list[LesionSlice]:
    """The slices of a case that show enough brain, in 8 bits, scaled by the whole volume's tissue.

    Args:
        made: the case.
        kind: label of its slices with enough lesion.
        case, group, side: of it.
        pixel_mm: edge of a pixel.
        least_mm2: area from which a slice is labelled `kind`; less is "uncertain", none is "normal".
        least_brain_mm2: slices with less brain are left out.
    """
    scaled = foreground_scaling(made.image).apply(made.image)
    found = []
    for index in range(made.image.shape[2]):
        if made.brain[:, :, index].sum() * pixel_mm**2 < least_brain_mm2:
            continue
        touched = bool((made.share[:, :, index] > 0).any())
        area = float(made.truth[:, :, index].sum()) * pixel_mm**2
        label = "normal" if not touched else kind if area >= least_mm2 else "uncertain"
        pixels = np.round(255 * scaled[:, :, index]).astype(np.uint8)
        name = f"{case}-{index:02d}"
        upright, mask = pixels.T[::-1], made.truth[:, :, index].T[::-1]
        found.append(LesionSlice(name, label, group, case, side, index, area, upright, mask))
    return found


def chosen_slices(diseased: Sequence[LesionSlice], healthy: Sequence[LesionSlice]) -> list[LesionSlice]:
    """Slices with a lesion of one case, and as many normal ones at the same heights of another case of the same head.

    Only heights that both cases show are taken, so that neither number nor place of a slice tells its class.
    """
    normal = {item.index: item for item in healthy if item.label == "normal"}
    kept = [item for item in diseased if item.label not in ("normal", "uncertain") and item.index in normal]
    return kept + [normal[item.index] for item in kept]


def write_table(folder: Path, slices: Sequence[LesionSlice], classes: Sequence[str]) -> dict[str, int]:
    """Write slices, masks (in `truth/masks`) and `slices/labels.csv`; returns how many of each side and label.

    Args:
        folder: of the set.
        slices: those that are labelled; no two have one name.
        classes: labels in their order.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("file", "label", "patient", "split", "case", "slice", "area_mm2"))
    counts: dict[str, int] = {}
    for item in slices:
        file = f"{item.label}/{item.name}.png"
        write_png(folder / "slices" / file, np.ascontiguousarray(item.pixels), {"Source": PROVENANCE})
        truth = np.ascontiguousarray(item.mask).astype(np.uint8) * 255
        write_png(folder / "truth" / "masks" / f"{item.name}.png", truth, {"Source": PROVENANCE})
        rows.writerow((file, item.label, item.group, item.side, item.case, item.index, f"{item.area_mm2:.1f}"))
        key = f"{item.side} {item.label}"
        counts[key] = counts.get(key, 0) + 1
    write_whole(folder / "slices" / "classes.txt", ("\n".join(classes) + "\n").encode())
    write_whole(folder / "slices" / "labels.csv", text.getvalue().encode())
    return counts


def _affine(made: InsertedCase, spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(made.image.shape) - 1) / 2)
    return affine


def write_volume(
    folder: Path, made: InsertedCase, *, case: str, side: str, spacing_mm: tuple[float, float, float]
) -> Path:
    """Write the case as a method may see it."""
    return write_nifti(
        folder / "volumes" / side / f"{case}.nii.gz", Volume(made.image, _affine(made, spacing_mm), case)
    )


def write_truth_volumes(
    folder: Path, made: InsertedCase, *, case: str, side: str, spacing_mm: tuple[float, float, float]
) -> None:
    """Write mask, share of lesion, and the twin without it (for evaluation only)."""
    affine = _affine(made, spacing_mm)
    arrays: dict[str, NDArray[Any]] = {"mask": made.truth.astype(np.uint8), "share": made.share, "twin": made.twin}
    for name, array in arrays.items():
        write_nifti(folder / "truth" / side / f"{case}.{name}.nii.gz", Volume(array, affine, case))
