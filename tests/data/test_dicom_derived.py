"""A computed volume beside its source: the same place, other values, marked as derived, nothing else copied."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.tiny_heads import head
from helpers.tiny_series import PATIENT, write_dicom
from skiagraph.data.dicom_derived import write_derived_series
from skiagraph.data.dicom_series import find_series, read_series
from skiagraph.data.volume import Volume
from skiagraph.errors import InputError


def source(folder: Path) -> tuple[Path, ...]:
    turned = np.diag([-1.0, -1.0, 1.0, 1.0])
    angle = np.radians(8)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    volume = head("T2")
    written = write_dicom(folder, Volume(volume.array, turn @ turned @ volume.affine @ np.diag([1.0, 1.5, 2.0, 1.0])))
    return read_series(list(written.iterdir())).files


def test_a_derived_series_lies_where_its_source_lies_and_says_what_it_is(tmp_path: Path) -> None:
    import pydicom

    files = source(tmp_path / "source")
    given = read_series(files).volume
    values = np.random.default_rng(0).normal(size=given.array.shape).astype(np.float32)
    made = write_derived_series(
        tmp_path / "made", Volume(values, given.affine), files, description="SYNTHETIC T1", derivation="computed"
    )
    ((_, found),) = find_series(tmp_path / "made").items()
    again = read_series(found)
    np.testing.assert_allclose(again.volume.affine, given.affine, atol=1e-4)
    np.testing.assert_allclose(again.volume.array, values, atol=np.ptp(values) / 65535)
    first, old = pydicom.dcmread(made[0]), pydicom.dcmread(files[0])
    assert list(first.ImageType) == ["DERIVED", "SECONDARY"]
    assert (first.SeriesDescription, first.DerivationDescription) == ("SYNTHETIC T1", "computed")
    assert first.StudyInstanceUID == old.StudyInstanceUID
    assert first.FrameOfReferenceUID == old.FrameOfReferenceUID
    assert first.SeriesInstanceUID != old.SeriesInstanceUID
    assert first.SourceImageSequence[0].ReferencedSOPInstanceUID == old.SOPInstanceUID
    assert len({pydicom.dcmread(path).SOPInstanceUID for path in (*made, *files)}) == 2 * len(files)
    assert first.PatientName == PATIENT


def test_nothing_but_place_patient_and_study_is_copied(tmp_path: Path) -> None:
    import pydicom

    files = source(tmp_path / "source")
    for file in files:
        data = pydicom.dcmread(file)
        data.InstitutionName, data.OperatorsName, data.ProtocolName = "Clinic", "Somebody", "Secret"
        data.save_as(file)
    given = read_series(files).volume
    made = write_derived_series(tmp_path / "made", given, files, description="d", derivation="d")
    content = made[0].read_bytes()
    assert not any(word in content for word in (b"Clinic", b"Somebody", b"Secret\0", b"ProtocolName"))


def test_another_shape_and_a_long_description_are_refused(tmp_path: Path) -> None:
    files = source(tmp_path / "source")
    given = read_series(files).volume
    with pytest.raises(InputError, match="the series has columns, rows and slices"):
        write_derived_series(
            tmp_path / "a", Volume(given.array[:, :, 1:], given.affine), files, description="d", derivation="d"
        )
    with pytest.raises(InputError, match="holds 64 characters"):
        write_derived_series(tmp_path / "a", given, files, description=65 * "d", derivation="d")
    assert not (tmp_path / "a").exists()
