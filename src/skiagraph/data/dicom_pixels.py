"""DICOM files as raw pixels: only what the pixels need is read of the header, and nothing of it is passed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from skiagraph.data.files import existing_file
from skiagraph.data.image_readers import RawPixels
from skiagraph.errors import DataError

__all__ = ["SUFFIXES", "read_dicom_pixels"]

SUFFIXES = (".dcm", ".dicom")


def read_dicom_pixels(path: Path, channels: int | None) -> RawPixels:
    """Read the frames of a DICOM file in its physical unit (rescale slope and intercept; Hounsfield units for CT).

    Without a window the whole range of the stored bits is taken. MONOCHROME1 (white is low) is turned over, so that
    bright is high; a window is given in the physical unit all the same. Colours become red, green, blue.

    Args:
        path: the file.
        channels: 1, 3 or None; colours are not made grey.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError
    from pydicom.pixels import apply_modality_lut

    try:
        dataset = pydicom.dcmread(existing_file(path, "a DICOM file"))
        stored = dataset.pixel_array
        colour = int(dataset.get("SamplesPerPixel", 1)) == 3
        values = np.asarray(stored if colour else apply_modality_lut(stored, dataset))
    except (InvalidDicomError, OSError, AttributeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise DataError(f"{path} is not a readable DICOM image ({error}); export it again, uncompressed") from error
    if colour:
        array = np.moveaxis(values if values.ndim == 4 else values[None], 3, 1)
        return RawPixels(array, (0.0, float(2 ** int(dataset.BitsStored) - 1)))
    array = (values if values.ndim == 3 else values[None])[:, None].astype(np.float32)
    low, high = _limits(dataset)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        return RawPixels(low + high - array, (low, high))
    return RawPixels(array, (low, high))


def _limits(dataset: Any) -> tuple[float, float]:
    """The physical values of the smallest and the largest number that the stored bits can hold."""
    bits, signed = int(dataset.BitsStored), int(dataset.get("PixelRepresentation", 0)) == 1
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    return slope * low + intercept, slope * high + intercept
