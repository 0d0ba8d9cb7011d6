"""A DICOM series in: the same image as from NIfTI, and nothing of the patient in what is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.tiny_heads import head, prior_folder
from helpers.tiny_series import PATIENT, write_dicom
from skiagraph.data.dicom_series import read_series
from skiagraph.data.volume import Volume, read_nifti, write_nifti
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.translate.plan import expectation
from skiagraph.tasks.translate.run import translate
from skiagraph.tasks.translate.run_settings import TranslateSettings


def settings(scan: Path, prior: Path, output: Path) -> TranslateSettings:
    values = {"scan": scan, "prior": prior, "output": output, "threads": 1, "solver": {"steps": 1, "candidates": 1}}
    return TranslateSettings.model_validate(values)


def test_a_series_is_translated_like_the_same_volume_and_names_nobody(heads: Path, tmp_path: Path) -> None:
    prior = prior_folder(heads, tmp_path / "prior")
    upright = head("T2")
    turned = np.diag([-1.0, -1.0, 1.0, 1.0])
    turned[:3, 3] = (30, 40, 0)
    volume = Volume((2 * upright.array).round() / 2, turned @ upright.affine)
    series = write_dicom(tmp_path / "scan-7", volume)
    nifti = write_nifti(tmp_path / "scan-7.nii.gz", volume)
    one = translate(settings(series, prior, tmp_path / "from-dicom"))
    two = translate(settings(nifti, prior, tmp_path / "from-nifti"))
    assert one.translated.name == two.translated.name == "scan-7_T1_synthetic.nii.gz"
    first, second = read_nifti(one.translated), read_nifti(two.translated)
    np.testing.assert_allclose(first.affine, second.affine, atol=1e-4)
    np.testing.assert_allclose(first.array, second.array, atol=1e-2)
    for file in one.folder.iterdir():
        content = file.read_bytes()
        assert PATIENT.encode() not in content
        assert b"id-4711" not in content


def test_two_series_and_a_single_file_are_refused(heads: Path, tmp_path: Path) -> None:
    prior = prior_folder(heads, tmp_path / "prior")
    write_dicom(tmp_path / "both" / "a", head("T2"))
    write_dicom(tmp_path / "both" / "b", head("T2"))
    with pytest.raises(DataError, match="2 DICOM series found there"):
        translate(settings(tmp_path / "both", prior, tmp_path / "out"))
    with pytest.raises(DataError, match="one DICOM slice is no volume"):
        translate(settings(tmp_path / "both" / "a" / "I999", prior, tmp_path / "out"))


def test_a_series_may_be_answered_with_a_series(heads: Path, tmp_path: Path) -> None:
    import pydicom

    prior = prior_folder(heads, tmp_path / "prior", modality="T1")
    place = write_dicom(tmp_path / "scan-7", head("T2"))
    asked = settings(place, prior, tmp_path / "out").model_copy(update={"dicom": True})
    for _ in range(2):  # a second run replaces the first one's files
        left = translate(asked)
    made = sorted((left.folder / "scan-7_T1_synthetic").iterdir())
    found = read_series(made).volume
    wanted = read_nifti(left.translated)
    np.testing.assert_allclose(found.affine, wanted.affine, atol=1e-4)
    np.testing.assert_allclose(found.array, wanted.array, atol=np.ptp(wanted.array) / 60000)
    assert pydicom.dcmread(made[0]).SeriesDescription.startswith("SYNTHETIC T1 by skiagraph")
    file = write_nifti(tmp_path / "scan.nii.gz", head("T2"))
    refused = settings(file, prior, tmp_path / "other").model_copy(update={"dicom": True})
    for call in (translate, expectation):
        with pytest.raises(InputError, match=r"dicom: .* is no DICOM series"):
            call(refused)
