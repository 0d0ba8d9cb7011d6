"""Volumes, series and pictures in; masks on the same grid out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from skiagraph.data.dicom_segmentation import require_segmentable
from skiagraph.data.png import write_png
from skiagraph.data.volume import Volume, nifti_codes, read_nifti, write_nifti
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.segment.cases import Case, axial_slices, mask_ml, read_cases, volume_of_slices, write_case

SHAPE = (7, 6, 4)


def head(seed: int = 0) -> np.ndarray:
    array = np.zeros(SHAPE, dtype=np.float32)
    array[1:-1, 1:-1] = np.random.default_rng(seed).uniform(80, 120, (5, 4, 4))
    return array


def write_series(folder: Path, array: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """Axial slices with columns to the patient's left and rows to the back, as scanners write them."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    folder.mkdir()
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for index in range(array.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
        data.PatientID, data.PatientName, data.PatientBirthDate, data.PatientSex = "p", "Test^Head", "", "O"
        data.StudyID, data.StudyDate, data.StudyTime, data.AccessionNumber = "1", "20000101", "000000", ""
        data.ReferringPhysicianName, data.Modality, data.SeriesNumber = "", "MR", 1
        data.PositionReferenceIndicator, data.InstanceNumber = "", index + 1
        data.ImageOrientationPatient, data.PixelSpacing = [1, 0, 0, 0, 1, 0], [spacing[1], spacing[0]]
        data.ImagePositionPatient, data.SliceThickness = [-10, -20, index * spacing[2]], spacing[2]
        data.Rows, data.Columns = array.shape[1], array.shape[0]
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.RescaleSlope, data.RescaleIntercept = 2, 0
        data.PixelData = (array[:, :, index].T / 2).round().astype("<u2").tobytes()
        pydicom.dcmwrite(folder / f"file-{array.shape[2] - index}", data, enforce_file_format=True)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
def test_slices_go_back_onto_the_grid_they_came_from(axes: tuple[int, ...]) -> None:
    array = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE).transpose(axes)
    affine = np.eye(4)
    affine[:3, :3] = (np.diag([-2.0, 3.0, 4.0]))[:, list(axes)]
    volume = Volume(array, affine)
    slices, spacing = axial_slices(volume)
    assert slices.shape == (4, 6, 7)
    assert spacing == (4.0, 3.0, 2.0)
    assert np.array_equal(volume_of_slices(slices, volume).array, array)
    # the top left pixel of the lowest slice is in front (largest y) and at the smallest x
    world = np.linalg.inv(affine) @ np.array([-2.0 * 6, 3.0 * 5, 0.0, 1.0])
    assert slices[0, 0, 0] == array[tuple(np.round(world[:3]).astype(int))]


def test_nifti_in_nifti_out_on_the_same_grid(tmp_path: Path) -> None:
    affine = np.diag([-2.0, 2.0, 5.0, 1.0])
    affine[:3, 3] = (9, 8, 7)
    write_nifti(tmp_path / "in" / "head.nii.gz", Volume(head(), affine))
    (case,) = read_cases(tmp_path / "in")
    assert (case.name, case.kind, case.spacing_mm) == ("head", "nifti", (5.0, 2.0, 2.0))
    assert case.slices.shape == (4, 1, 6, 7)
    assert case.slices.min() == -1
    assert case.foreground is not None
    assert np.array_equal(case.foreground, case.slices[:, 0] > -1)
    mask = np.zeros((4, 6, 7), dtype=bool)
    mask[2, 1, 3] = True
    paths = write_case(case, tmp_path / "out", mask=mask, maps=mask.astype(np.float32), score=0.5)
    written = read_nifti(paths["mask"])
    assert np.array_equal(written.affine, affine)
    assert np.argwhere(written.array).tolist() == [[3, 4, 2]]  # x turned over in the file; rows count from the front
    assert mask_ml(case, mask) == pytest.approx(0.02)
    assert json.loads(paths["record"].read_text())["volume_ml"] == pytest.approx(0.02)


@pytest.mark.parametrize("codes", [(1, 4), (2, 0)])
def test_results_lead_to_the_same_world_as_their_source_and_say_what_they_are(
    tmp_path: Path, codes: tuple[int, int]
) -> None:
    write_nifti(tmp_path / "head.nii.gz", Volume(head(), np.diag([-2.0, 2.0, 5.0, 1.0])), codes=codes)
    (case,) = read_cases(tmp_path / "head.nii.gz")
    maps = np.zeros((4, 6, 7), dtype=np.float32)
    paths = write_case(case, tmp_path / "out", mask=maps > 0, maps=maps, probability=maps, score=0.0)
    for kind in ("mask", "map", "probability"):
        assert nifti_codes(paths[kind]) == codes
        assert f"lesion {kind} by skiagraph".encode() in gzip.decompress(paths[kind].read_bytes())[:352]


def test_empty_slices_do_not_hide_what_lies_behind_them(tmp_path: Path) -> None:
    array = np.zeros((7, 6, 5), dtype=np.float32)
    array[1:-1, 1:-1] = 100
    array[:, :, 2] = 0
    array[0, 0, 4] = 100  # a speck apart from the head stays out
    write_nifti(tmp_path / "gap.nii.gz", Volume(array, np.eye(4)))
    (case,) = read_cases(tmp_path / "gap.nii.gz")
    assert case.foreground is not None
    assert case.foreground.sum(axis=(1, 2)).tolist() == [20, 20, 0, 20, 20]


def test_pictures_keep_their_bit_depth(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8), dtype=np.uint8)
    pixels[2:6, 2:6] = 255
    write_png(tmp_path / "a.png", pixels)
    (case,) = read_cases(tmp_path / "a.png")
    assert case.slices[0, 0, 3, 3] == 1
    assert case.volume is None
    paths = write_case(case, tmp_path, mask=case.slices[:, 0] > 0, maps=case.slices[:, 0], score=0.0)
    (again,) = read_cases(paths["mask"])
    assert np.array_equal(again.slices > 0, case.slices > 0)


def test_a_picture_has_the_pixels_that_the_reader_is_told(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8), dtype=np.uint8)
    pixels[2:6, 2:6] = 200
    write_png(tmp_path / "a.png", pixels)
    (case,) = read_cases(tmp_path / "a.png", pixel_mm=(3.0, 2.0))
    assert case.spacing_mm == (1.0, 3.0, 2.0)
    assert mask_ml(case, case.slices[:, 0] > 0) == pytest.approx(16 * 6 / 1000)


def test_a_series_is_read_by_place_not_by_name_and_oriented_like_nifti(tmp_path: Path) -> None:
    array = (head() / 2).round() * 2
    write_series(tmp_path / "series", array, (2.0, 3.0, 5.0))
    (case,) = read_cases(tmp_path)
    assert case.kind == "dicom"
    assert case.spacing_mm == (5.0, 3.0, 2.0)
    write_nifti(tmp_path / "same.nii", case.volume)
    (same,) = read_cases(tmp_path / "same.nii")
    assert np.array_equal(case.slices, same.slices)
    assert np.array_equal(case.volume.array, array)


def test_a_missing_slice_is_told(tmp_path: Path) -> None:
    write_series(tmp_path / "series", head(), (2.0, 3.0, 5.0))
    (tmp_path / "series" / "file-2").unlink()
    with pytest.raises(DataError, match="5 to 10 mm apart"):
        read_cases(tmp_path / "series")


def test_a_segmentation_object_refers_to_its_series(tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="needs highdicom: pip install 'skiagraph[segment]'")
    import pydicom

    write_series(tmp_path / "series", head(), (2.0, 3.0, 5.0))
    (case,) = read_cases(tmp_path / "series")
    mask = np.zeros((4, 6, 7), dtype=bool)
    mask[2, 1, 3:5] = True
    paths = write_case(case, tmp_path / "out", mask=mask, maps=mask.astype(np.float32), score=0.5)
    made = pydicom.dcmread(paths["segmentation"])
    source = pydicom.dcmread(case.sources[2])
    assert made.Modality == "SEG"
    assert made.StudyInstanceUID == source.StudyInstanceUID
    assert made.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    frame = made.pixel_array if made.pixel_array.ndim == 2 else made.pixel_array[0]
    derived = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert derived.ReferencedSOPInstanceUID == source.SOPInstanceUID
    # columns run to the patient's left in the file, to the right in our slices; rows agree
    assert np.argwhere(frame).tolist() == [[1, 2], [1, 3]]
    nothing = write_case(case, tmp_path / "none", mask=mask & False, maps=mask.astype(np.float32), score=0.0)
    assert "segmentation" not in nothing


@pytest.mark.parametrize("name", ["PatientBirthDate", "PatientName", "StudyID", "AccessionNumber"])
def test_an_anonymised_series_gets_its_segmentation_object_too(tmp_path: Path, name: str) -> None:
    pytest.importorskip("highdicom", reason="needs highdicom: pip install 'skiagraph[segment]'")
    import pydicom

    write_series(tmp_path / "series", head(), (2.0, 3.0, 5.0))
    for file in (tmp_path / "series").iterdir():
        data = pydicom.dcmread(file)
        delattr(data, name)
        data.save_as(file)
    (case,) = read_cases(tmp_path / "series")
    mask = np.zeros((4, 6, 7), dtype=bool)
    mask[2, 1, 3:5] = True
    require_segmentable(case.sources)
    paths = write_case(case, tmp_path / "out", mask=mask, maps=mask.astype(np.float32), score=0.5)
    assert not pydicom.dcmread(paths["segmentation"])[name].value


def test_a_series_that_no_object_can_refer_to_is_refused_before_any_work(tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="needs highdicom: pip install 'skiagraph[segment]'")
    import pydicom

    write_series(tmp_path / "series", head(), (2.0, 3.0, 5.0))
    (case,) = read_cases(tmp_path / "series")
    require_segmentable(case.sources)
    data = pydicom.dcmread(case.sources[1])
    del data.FrameOfReferenceUID
    data.save_as(case.sources[1])
    with pytest.raises(DataError, match="has no FrameOfReferenceUID, without which"):
        require_segmentable(case.sources)


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_cases(tmp_path / "nothing")
    with pytest.raises(DataError, match="holds no NIfTI"):
        read_cases(tmp_path)
    write_png(tmp_path / "flat.png", np.full((4, 4), 7, dtype=np.uint8))
    with pytest.raises(DataError, match="every pixel is alike"):
        read_cases(tmp_path)
    write_nifti(tmp_path / "flat.nii", Volume(np.ones(SHAPE, dtype=np.float32), np.eye(4)))
    with pytest.raises(DataError, match="constant"):
        read_cases(tmp_path / "flat.nii")
    case = Case("a", "picture", np.zeros((1, 1, 4, 4), np.float32), (1, 1, 1), None, None, (), "")
    with pytest.raises(InputError, match="mask has shape"):
        write_case(case, tmp_path, mask=np.zeros((1, 3, 3), bool), maps=np.zeros((1, 4, 4), np.float32), score=0)
