"""A mask as a DICOM segmentation object that refers to the series it was made from (highdicom)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.files import atomic_path
from skiagraph.errors import DataError, InputError

__all__ = ["complete_header", "require_segmentable", "write_segmentation"]

_NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")

_NO_HIGHDICOM = "a DICOM segmentation needs highdicom: pip install 'skiagraph[segment]'"
_MAY_BE_EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""What a DICOM image should name and anonymised ones leave out; the standard lets it be empty (type 2)."""


def complete_header(image: Any) -> Any:
    """An image as read, with what it leaves out of patient and study set to nothing."""
    for name in _MAY_BE_EMPTY:
        if name not in image:
            setattr(image, name, "")
    return image


def require_segmentable(files: Sequence[Path]) -> None:
    """Refuse, before any long work, a series that no segmentation object can refer to.

    Args:
        files: of the series.

    Raises DataError where highdicom is missing, or a file leaves out what a reference needs.
    """
    import importlib.util

    import pydicom

    if importlib.util.find_spec("highdicom") is None:
        raise DataError(_NO_HIGHDICOM)
    for file in files:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_NEEDED))
        missing = [name for name in _NEEDED if not header.get(name)]
        if missing:
            raise DataError(
                f"{file}: it has no {', '.join(missing)}, without which no segmentation object can refer to it; "
                "convert the series to NIfTI"
            )


def write_segmentation(
    path: Path,
    mask: NDArray[np.bool_],
    files: Sequence[Path],
    *,
    label: str = "Lesion",
    software: str = "skiagraph",
    version: str = "0",
) -> Path | None:
    """Write a binary segmentation; returns None, and writes nothing, where the mask is empty (DICOM allows none).

    The object names patient and study as its source does, which viewers need to lay one over the other.

    Args:
        path: to write.
        mask: (S, rows, columns), slices in the order of `files`.
        files: of the source series.
        label: name of the segment.
        software, version: who made it.
    """
    try:
        from highdicom import AlgorithmIdentificationSequence
        from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
    except ImportError as error:
        raise DataError(_NO_HIGHDICOM) from error
    import pydicom
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    sources = [complete_header(pydicom.dcmread(file)) for file in files]
    expected = (len(sources), int(sources[0].Rows), int(sources[0].Columns))
    if mask.shape != expected:
        raise InputError(f"mask has shape {mask.shape}; the series has slices, rows and columns {expected}")
    if not mask.any():
        return None
    algorithm = AlgorithmIdentificationSequence(
        name=software, version=version, family=codes.cid7162.ArtificialIntelligence
    )
    segment = SegmentDescription(
        segment_number=1,
        segment_label=label,
        segmented_property_category=codes.cid7150.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
    )
    made = Segmentation(
        source_images=sources,
        pixel_array=mask.astype(np.uint8),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        series_instance_uid=generate_uid(),
        series_number=9000,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=software,
        manufacturer_model_name=software,
        software_versions=version,
        device_serial_number="0",
        omit_empty_frames=True,
    )
    with atomic_path(path, suffix=".dcm") as partial:
        made.save_as(partial)
    return path
