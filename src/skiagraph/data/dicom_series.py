"""DICOM series as volumes: the files of one series in order, their physical values, and where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.volume import Volume
from skiagraph.errors import DataError

__all__ = ["Series", "find_series", "read_series"]

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Series:
    """One series of single-frame slices.

    Attributes:
        files: in the order of the volume's last axis.
        volume: (columns, rows, slices) physical values (rescale slope and intercept applied) with the affine to RAS mm.
    """

    files: tuple[Path, ...]
    volume: Volume


def find_series(folder: Path) -> dict[str, list[Path]]:
    """The DICOM files of images below a folder by series instance UID; other files are passed over."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    found: dict[str, list[Path]] = {}
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID", "Rows"])
        except (InvalidDicomError, OSError):
            continue
        if "Rows" in header and "SeriesInstanceUID" in header:
            found.setdefault(str(header.SeriesInstanceUID), []).append(path)
    return found


def read_series(files: Sequence[Path]) -> Series:
    """Read the files of one series.

    Args:
        files: single-frame slices of one plane, in any order.

    Raises DataError where slices differ in size, direction or spacing, where one is missing or twice there.
    """
    import pydicom

    if not files:
        raise DataError("a series needs at least one DICOM file; none was given")
    slices = [(path, pydicom.dcmread(path)) for path in files]
    first = slices[0][1]
    for path, data in slices:
        _require_plane(path, data, first)
    along = np.array([float(value) for value in first.ImageOrientationPatient]).reshape(2, 3)
    normal = np.cross(along[0], along[1])

    def position(data: Any) -> NDArray[np.float64]:
        return np.array([float(value) for value in data.ImagePositionPatient])

    slices.sort(key=lambda item: float(normal @ position(item[1])))
    heights = np.array([float(normal @ position(data)) for _, data in slices])
    step = _slice_step(heights, slices[0][0].parent, first)
    rows_mm, columns_mm = (float(value) for value in first.PixelSpacing)
    array = np.stack([_physical(path, data).T for path, data in slices], axis=-1)
    affine = np.eye(4)
    affine[:3, 0] = _LPS_TO_RAS @ along[0] * columns_mm
    affine[:3, 1] = _LPS_TO_RAS @ along[1] * rows_mm
    affine[:3, 2] = _LPS_TO_RAS @ normal * step
    affine[:3, 3] = _LPS_TO_RAS @ position(slices[0][1])
    return Series(tuple(path for path, _ in slices), Volume(array, affine, files[0].parent.name))


def _require_plane(path: Path, data: Any, first: Any) -> None:
    for name in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing"):
        if name not in data:
            raise DataError(f"{path}: it has no {name}; single-frame slices with a place in the patient are needed")
    if int(data.get("NumberOfFrames", 1)) > 1:
        raise DataError(f"{path}: it has {data.NumberOfFrames} frames; give a series of single-frame slices, or NIfTI")
    for name in ("Rows", "Columns"):
        if data[name].value != first[name].value:
            raise DataError(f"{path}: {name} is {data[name].value}, {first[name].value} in others of the series")
    for name in ("ImageOrientationPatient", "PixelSpacing"):
        found = np.array(data[name].value, dtype=np.float64)
        if not np.allclose(found, np.array(first[name].value, dtype=np.float64), atol=1e-3):
            raise DataError(f"{path}: {name} differs within the series; its slices do not form one volume")


def _slice_step(heights: NDArray[np.float64], folder: Path, first: Any) -> float:
    if len(heights) == 1:
        return float(first.get("SpacingBetweenSlices", first.get("SliceThickness", 1.0)) or 1.0)
    steps = np.diff(heights)
    if steps.min() < 1e-3:
        raise DataError(f"{folder}: two slices of the series lie at one place; is it several scans in one series?")
    if steps.max() > 1.1 * steps.min():
        raise DataError(
            f"{folder}: slices lie {steps.min():.3g} to {steps.max():.3g} mm apart; one is missing, or the gaps differ"
        )
    return float(steps.mean())


def _physical(path: Path, data: Any) -> NDArray[np.float32]:
    try:
        pixels = np.asarray(data.pixel_array, dtype=np.float32)
    except (AttributeError, NotImplementedError, RuntimeError, ValueError) as error:
        raise DataError(f"{path}: its pixels cannot be read ({error}); export it again, uncompressed") from error
    if pixels.ndim != 2:
        raise DataError(f"{path}: its pixels have shape {pixels.shape}; one grey value a pixel is needed")
    return pixels * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
