"""The command `samples organ-crops`: a small labelled set from a sample CT, with its split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from skiagraph.config import Settings
from skiagraph.errors import DataError
from skiagraph.tasks.progress import OnProgress, silent

__all__ = ["COUNTS", "CropsResult", "OrganCropsSettings", "expectation", "organ_crops"]

SAMPLE = "trunk-ct"
COUNTS = {("organs", "axial"): (652, 243), ("organs", "all"): (1696, 668), ("trunk-wall", "axial"): (808, 297)}
"""Crops for training and testing that the pinned archive gives."""


class OrganCropsSettings(Settings):
    """Cut small labelled pictures (28 x 28, 8 bit) from the sample CT: one patient, labels drawn by a program.

    Writes class folders, `labels.csv` with slab (in the column patient) and split, `classes.txt` and `provenance.json`.
    """

    output: Path = Field(description="New folder for the set.")
    crops: Literal["organs", "trunk-wall"] = Field(
        "organs", description="Eleven organs, or ten bones, muscles and cartilage of the trunk's wall."
    )
    planes: Literal["axial", "coronal", "sagittal", "all"] = Field(
        "axial", description="Slices that are cut. With all of them training and test crops share tissue."
    )
    cache: Path | None = Field(None, description="Cache folder; default $SKIAGRAPH_CACHE, else ~/.cache/skiagraph.")
    yes: bool = Field(False, description="Accept the stated licence of the CT without being asked.")


@dataclass(frozen=True)
class CropsResult:
    """What was written.

    Args:
        output: the folder.
        counts: crops on each side; those dropped between the sides are not written.
        licence: of the CT, as stated.
    """

    output: Path
    counts: dict[str, int]
    licence: str

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {"output": self.output, **self.counts, "licence": self.licence}


def expectation(settings: OrganCropsSettings) -> dict[str, Any]:
    """What will be downloaded and written."""
    from skiagraph.data.samples import sample
    from skiagraph.tasks.samples import in_cache

    entry = sample(SAMPLE)
    counts = COUNTS.get((settings.crops, settings.planes))
    return {
        "licence": entry.licence,
        "download_bytes": 0 if in_cache(entry, settings.cache) else entry.size,
        "crops": "not counted before" if counts is None else f"{counts[0]} for training, {counts[1]} for testing",
        "writes": settings.output,
    }


def organ_crops(settings: OrganCropsSettings, on_progress: OnProgress = silent) -> CropsResult:
    """Fetch the CT, cut the crops and write them; the counts must be those that the pinned archive gives."""
    from skiagraph.data.organ_crops import PLANES, crop_sets, cut_crops, resampled, write_crops
    from skiagraph.data.samples import fetch, sample
    from skiagraph.data.volume import read_nifti
    from skiagraph.tasks.samples import accept, in_cache

    entry = sample(SAMPLE)
    if not settings.yes and not in_cache(entry, settings.cache):
        accept([entry])
    on_progress("fetching the CT", 0, 0)
    fetched = fetch(SAMPLE, cache=settings.cache)
    on_progress("resampling", 0, 0)
    ct, labels = resampled(read_nifti(fetched.files["image"]), 1), resampled(read_nifti(fetched.files["labels"]), 0)
    wanted = crop_sets()[settings.crops]
    on_progress("cutting", 0, 0)
    crops = cut_crops(ct, labels, wanted, PLANES if settings.planes == "all" else (settings.planes,))
    found = tuple(sum(crop.side == side for crop in crops) for side in ("train", "test"))
    known = COUNTS.get((settings.crops, settings.planes), found)
    if found != known:
        raise DataError(
            f"{entry.name}: cut {found[0]} crops for training and {found[1]} for testing, {known[0]} and {known[1]} "
            "are known; scipy resamples differently here, so the set would not be the one that results refer to"
        )
    provenance = {
        "set": f"{wanted.title}; {settings.planes} slices of 1.4 mm, 28 x 28 pixels",
        "window_hu": list(wanted.window),
        "split": "by slab of 8 slices (column patient); training slices within 2 of a test slab are left out",
        **fetched.record(),
    }
    counts = write_crops(settings.output, crops, wanted, provenance)
    return CropsResult(settings.output, counts, entry.licence)
