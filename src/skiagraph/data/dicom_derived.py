"""A computed volume as a DICOM series beside the one it was made from: secondary capture, marked as derived."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skiagraph.data.dicom_segmentation import complete_header
from skiagraph.data.volume import Volume
from skiagraph.errors import InputError

__all__ = ["write_derived_series"]

_STUDY = ("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName")
_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
_PLACE = ("FrameOfReferenceUID", "ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "SliceThickness")
_LARGEST = 65535


def write_derived_series(
    folder: Path,
    volume: Volume,
    files: Sequence[Path],
    *,
    description: str,
    derivation: str,
    software: str = "skiagraph",
    version: str = "0",
) -> list[Path]:
    """Write one secondary capture image a slice, in the place of its source slice.

    Patient and study are named as the source names them, so that archives file both together; nothing else of the
    header is copied. ImageType is DERIVED, SECONDARY; the series description and the derivation say what it is. Values
    are 16 bit with a rescale slope.

    Args:
        folder: to make.
        volume: (columns, rows, slices), slices in the order of `files`.
        files: of the source series.
        description: of the series, at most 64 characters.
        derivation: how it was computed.
        software, version: who made it.
    """
    import pydicom
    from pydicom.uid import generate_uid

    sources = [complete_header(pydicom.dcmread(file, stop_before_pixels=True)) for file in files]
    expected = (int(sources[0].Columns), int(sources[0].Rows), len(sources))
    if volume.array.shape != expected:
        raise InputError(f"volume has shape {volume.array.shape}; the series has columns, rows and slices {expected}")
    if len(description) > 64:
        raise InputError(f"description {description!r} is too long; a DICOM series description holds 64 characters")
    low, high = float(volume.array.min()), float(volume.array.max())
    slope = (high - low) / _LARGEST or 1.0
    series, written = generate_uid(), []
    folder.mkdir(parents=True)
    for index, source in enumerate(sources):
        image = _captured(source, series, index)
        image.SeriesDescription, image.DerivationDescription = description, derivation
        image.Manufacturer = image.ManufacturerModelName = software
        image.SoftwareVersions = version
        image.RescaleSlope, image.RescaleIntercept, image.RescaleType = f"{slope:.9g}", f"{low:.9g}", "US"
        stored = np.clip(np.rint((volume.array[:, :, index].T.astype(np.float64) - low) / slope), 0, _LARGEST)
        image.PixelData = stored.astype("<u2").tobytes()
        path = folder / f"{index + 1:04d}.dcm"
        pydicom.dcmwrite(path, image, enforce_file_format=True)
        written.append(path)
    return written


def _captured(source: Any, series: str, index: int) -> Any:
    """A secondary capture image without pixels, in the place of its source."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    if "SpecificCharacterSet" in source:
        image.SpecificCharacterSet = source.SpecificCharacterSet
    for name in (*_STUDY, *_PATIENT, *_PLACE):
        if name in source:
            setattr(image, name, source[name].value)
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    image.SeriesInstanceUID, image.SeriesNumber, image.InstanceNumber = series, 9001, index + 1
    image.Modality, image.ConversionType = "OT", "WSD"
    image.ImageType, image.BurnedInAnnotation = ["DERIVED", "SECONDARY"], "NO"
    image.PatientOrientation, image.Laterality = "", ""
    image.Rows, image.Columns = source.Rows, source.Columns
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    referred = Dataset()
    referred.ReferencedSOPClassUID, referred.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    image.SourceImageSequence = [referred]
    return image
