"""The volumes of the study, read by the reader of `skiagraph segment`, every so manieth slice, and their truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.volume import read_nifti
from skiagraph.tasks.segment.cases import axial_slices, read_cases

__all__ = ["StudyVolume", "study_volumes"]


@dataclass(frozen=True, eq=False)
class StudyVolume:
    """One case.

    Args:
        name: of the case.
        slices: (D, 1, H, W) in [-1, 1].
        foreground: (D, H, W).
        truth: (D, H, W).
        spacing_mm: of the slices that are kept, rows and columns.
        whole: (D', 1, H, W), all slices, kept or not.
        kept: which of them are kept.
    """

    name: str
    slices: NDArray[np.float32]
    foreground: NDArray[np.bool_]
    truth: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]
    whole: NDArray[np.float32]
    kept: slice


def study_volumes(data: Path, side: str, kind: str, most: int, stride: int) -> list[StudyVolume]:
    """The first `most` cases of a kind on a side.

    Args:
        data: what `skiagraph simulate lesions` wrote.
        side: "validation" or "test".
        kind: "normal", "hyper", "hypo" or "iso".
        most: cases.
        stride: every so manieth slice is looked at; spacing and volumes count with it.
    """
    found = []
    for path in sorted((data / "volumes" / side).glob(f"{kind}-*.nii.gz"))[:most]:
        (case,) = read_cases(path)
        truth, _ = axial_slices(read_nifti(data / "truth" / side / f"{case.name}.mask.nii.gz"))
        inside = case.foreground
        if inside is None:
            raise SystemExit(f"{path}: it shows nothing")
        z, y, x = case.spacing_mm
        kept = slice(stride // 2, None, stride)
        spacing, looked_at = (z * stride, y, x), truth[kept] > 0.5
        found.append(StudyVolume(case.name, case.slices[kept], inside[kept], looked_at, spacing, case.slices, kept))
    if not found:
        raise SystemExit(f"{data}: no {kind} volumes in volumes/{side}; run `skiagraph simulate lesions` first")
    return found
