"""Fetched samples as volumes: NIfTI, the raw MINC files of BrainBrowser, and DICOM series."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.samples import FetchedSample
from skiagraph.data.volume import Volume, read_nifti
from skiagraph.errors import DataError, InputError

__all__ = ["sample_volume"]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def sample_volume(fetched: FetchedSample, role: str = "image") -> Volume:
    """Return one image of a fetched sample, its name as the source.

    Args:
        fetched: from `skiagraph.data.samples.fetch`.
        role: "image", or another role of the sample such as "brain" (NIfTI only).
    """
    entry = fetched.sample
    if entry.reader == "nifti":
        if role not in fetched.files:
            raise InputError(f"sample {entry.name!r} has no {role!r}; it has {sorted(fetched.files)}")
        volume = read_nifti(fetched.files[role])
    elif role != "image":
        raise InputError(f"sample {entry.name!r} has one image only; role {role!r} is not there")
    elif entry.reader == "minc-raw":
        volume = _read_minc_raw(fetched.files["image"], fetched.files["header"])
    elif entry.reader == "dicom":
        volume = _read_dicom(sorted(fetched.files.values()))
    else:
        raise InputError(f"sample {entry.name!r} holds single pictures ({entry.reader}), no volume")
    return replace(volume, source=entry.name)


def _read_minc_raw(raw: Path, header: Path) -> Volume:
    """Read BrainBrowser's gzipped bytes and JSON header; offset = cosines times starts."""
    with gzip.open(header, "rt", encoding="utf-8") as stream:
        fields = json.load(stream)
    order = [str(name) for name in fields["order"]]
    shape = [int(fields[name]["space_length"]) for name in order]
    with gzip.open(raw, "rb") as stream:
        values = np.frombuffer(stream.read(), dtype=np.uint8)
    if values.size != int(np.prod(shape)):
        raise DataError(f"{raw}: {values.size} bytes; the header's shape {shape} needs {int(np.prod(shape))}")
    names = ("xspace", "yspace", "zspace")
    array = values.reshape(shape).transpose([order.index(name) for name in names]).astype(np.float32)
    cosines = np.array([fields[name]["direction_cosines"] for name in names], dtype=np.float64).T
    affine = np.eye(4)
    affine[:3, :3] = cosines * np.array([float(fields[name]["step"]) for name in names])
    affine[:3, 3] = cosines @ np.array([float(fields[name]["start"]) for name in names])
    return Volume(array, affine, raw.name)


def _read_dicom(files: list[Path]) -> Volume:
    """Read one series of single-frame slices, ordered along its normal; geometry tags only."""
    try:
        import pydicom
    except ImportError as error:
        raise DataError("reading DICOM needs pydicom: pip install pydicom") from error
    slices = [pydicom.dcmread(file) for file in files]
    first = slices[0]
    along = np.array([float(value) for value in first.ImageOrientationPatient]).reshape(2, 3)
    normal = np.cross(along[0], along[1])

    def position(data: object) -> NDArray[np.float64]:
        return np.array([float(value) for value in data.ImagePositionPatient])  # type: ignore[attr-defined]

    slices.sort(key=lambda data: float(normal @ position(data)))
    row_step, column_step = (float(value) for value in first.PixelSpacing)
    array = np.stack([data.pixel_array.T for data in slices], axis=-1).astype(np.float32)
    affine = np.eye(4)
    affine[:3, 0] = LPS_TO_RAS @ along[0] * column_step
    affine[:3, 1] = LPS_TO_RAS @ along[1] * row_step
    affine[:3, 2] = LPS_TO_RAS @ (position(slices[-1]) - position(slices[0])) / (len(slices) - 1)
    affine[:3, 3] = LPS_TO_RAS @ position(slices[0])
    return Volume(array, affine, files[0].parent.name)
