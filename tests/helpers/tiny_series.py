"""A volume as a DICOM series, as scanners write it: no file endings, unordered names, a rescale slope, a patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from skiagraph.data.volume import Volume

__all__ = ["PATIENT", "write_dicom"]

PATIENT = "Secret^Person"


def write_dicom(folder: Path, volume: Volume, slope: float = 0.5) -> Path:
    """Write slices along the last axis; intensities are rounded to multiples of the slope."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    folder.mkdir(parents=True, exist_ok=True)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    world = np.diag([-1.0, -1.0, 1.0]) @ volume.affine[:3]
    right, down, _ = (world[:, axis] / np.linalg.norm(world[:, axis]) for axis in range(3))
    spacing = volume.spacing_mm
    for index in range(volume.array.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
        data.PatientName, data.PatientID, data.Modality = PATIENT, "id-4711", "MR"
        data.ImageOrientationPatient = [*right.tolist(), *down.tolist()]
        data.ImagePositionPatient = (world[:, 3] + index * world[:, 2]).tolist()
        data.PixelSpacing, data.SliceThickness = [spacing[1], spacing[0]], spacing[2]
        data.Rows, data.Columns = volume.array.shape[1], volume.array.shape[0]
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.RescaleSlope, data.RescaleIntercept = slope, 0
        data.PixelData = (volume.array[:, :, index].T / slope).round().astype("<u2").tobytes()
        pydicom.dcmwrite(folder / f"I{999 - index}", data, enforce_file_format=True)
    return folder
