"""Labelled images from folders, tables and MedMNIST files: what is read is what was written, what is wrong is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from skiagraph.data.image_readers import RawPixels, fitted, register_reader
from skiagraph.data.labelled import LabelledImages, read_labelled
from skiagraph.errors import DataError, InputError


def grey(seed: int, shape: tuple[int, ...] = (6, 5), kind: str = "u1") -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)


def folders(root: Path, names: tuple[str, ...] = ("2", "10"), each: int = 2) -> Path:
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for k in range(each):
            Image.fromarray(grey(10 * number + k)).save(root / name / f"{k}.png")
    return root


def dicom(path: Path, stored: NDArray[Any], **tags: Any) -> None:
    file = pydicom.Dataset()
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    file.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    signed = stored.dtype.kind == "i"
    values = {
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": int(signed),
        "PixelData": stored.tobytes(),
        **tags,
    }
    for name, value in values.items():
        setattr(file, name, value)
    file.save_as(path, enforce_file_format=True)


def test_bit_depth_decides_the_range_and_numbers_order_the_classes(tmp_path: Path) -> None:
    found = read_labelled(folders(tmp_path))
    assert found.classes == ("2", "10")
    assert found.names == ("10/0.png", "10/1.png", "2/0.png", "2/1.png")
    assert found.labels.tolist() == [1, 1, 0, 0]
    assert found.patients is None
    assert found.sides is None
    np.testing.assert_allclose(found.images[0, 0], grey(10) / 127.5 - 1, atol=1e-6)
    assert found.counts == {"2": 2, "10": 2}
    some = found.select(found.labels == 0)
    assert some.names == ("2/0.png", "2/1.png")
    assert some.classes == found.classes
    assert found.named(["2/1.png"]).names == ("2/1.png",)


@pytest.mark.parametrize("declared", ["argument", "file"])
def test_declared_order_is_kept(tmp_path: Path, declared: str) -> None:
    folders(tmp_path, ("mild", "none", "severe"))
    order = ("severe", "none", "mild")
    if declared == "file":
        (tmp_path / "classes.txt").write_text("\n".join(order) + "\n")
    assert read_labelled(tmp_path, classes=order if declared == "argument" else None).classes == order


def test_sixteen_bits_tiff_and_arrays(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    deep = grey(1, kind="u2")
    Image.fromarray(deep).save(tmp_path / "a" / "deep.png")
    Image.fromarray(grey(2, kind="u2")).save(tmp_path / "a" / "deep.tif")
    exact = np.linspace(-1, 1, 30, dtype=np.float32).reshape(1, 6, 5)
    Image.fromarray(grey(3)).save(tmp_path / "a" / "drawn.png")
    np.save(tmp_path / "a" / "drawn.npy", exact)
    found = read_labelled(tmp_path)
    assert found.names == ("a/deep.png", "a/deep.tif", "a/drawn.npy")
    np.testing.assert_allclose(found.images[0, 0], deep / 32767.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(found.images[2], exact)


def test_dicom_in_hounsfield_units_and_turned_over(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    stored = np.array([[0, 1024], [1264, 4095]], np.uint16)
    dicom(tmp_path / "a" / "0.dcm", stored, RescaleSlope=1, RescaleIntercept=-1024)
    dicom(tmp_path / "a" / "IM0001", stored, PhotometricInterpretation="MONOCHROME1")
    windowed = read_labelled(tmp_path, window=(-160, 240))
    np.testing.assert_allclose(windowed.images[0, 0], [[-1, 2 * 160 / 400 - 1], [1, 1]], atol=1e-6)
    whole = read_labelled(tmp_path)
    np.testing.assert_allclose(whole.images[0, 0], 2 * stored / 4095 - 1, atol=1e-6)
    np.testing.assert_allclose(whole.images[1, 0], 1 - 2 * stored / 4095, atol=1e-6)


def test_slices_of_a_volume_share_a_label_and_a_group(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    array = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "a" / "v.nii.gz")
    with pytest.raises(InputError, match="window"):
        read_labelled(tmp_path)
    found = read_labelled(tmp_path, window=(-2, 2))
    assert found.names == ("a/v.nii.gz#0", "a/v.nii.gz#1")
    assert found.patients == ("a/v.nii.gz", "a/v.nii.gz")
    np.testing.assert_allclose(found.images[1, 0], array[:, :, 1].clip(-2, 2) / 2, atol=1e-6)


def test_a_slice_in_a_nifti_file_of_two_axes_is_one_image(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        nibabel.save(nibabel.Nifti1Image(array if name == "a" else array + 1, np.eye(4)), tmp_path / name / "s.nii")
    found = read_labelled(tmp_path, window=(-4, 4), least=1)
    assert found.names == ("a/s.nii", "b/s.nii")
    assert found.patients is None
    np.testing.assert_allclose(found.images[0, 0], array.clip(-4, 4) / 4, atol=1e-6)


def test_table_brings_patients_and_sides(tmp_path: Path) -> None:
    for k in range(4):
        Image.fromarray(grey(k)).save(tmp_path / f"{k}.png")
    rows = "".join(
        f"{k}.png;{'sick' if k % 2 else 'well'};p{k // 2};{'val' if k > 1 else 'train'};x\n" for k in range(4)
    )
    (tmp_path / "sheet.csv").write_text("image;label;patient;split;more\n" + rows)
    found = read_labelled(tmp_path / "sheet.csv", columns={"file": "image"})
    assert found.patients == ("p0", "p0", "p1", "p1")
    assert found.sides == ("train", "train", "validation", "validation")
    assert found.counts == {"sick": 2, "well": 2}
    assert read_labelled(tmp_path, table=tmp_path / "sheet.csv", columns={"file": "image"}).names == found.names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "file,label,patient,split\n0.png,a,p,train\n1.png,a,p,test\n",
            "patient 'p' stands on the sides train and test",
        ),
        ("file,kind\n0.png,a\n", "'label' .label. is missing"),
        ("file,label\n0.png,a\n1.png,a\n2.png,a\n", "not in .*2.png"),
        ("file,label\n0.png,a\n", "no label .*1.png"),
        ("file,label\n0.png,a\n0.png,b\n1.png,a\n", "more than once"),
        ("file,label\n0.png,a\n1.png,\n", "line 3"),
        ("file,label,split\n0.png,a,train\n1.png,a,exam\n", "'exam'"),
        ("file,label\n../0.png,a\n", "leaves the folder"),
    ],
)
def test_wrong_tables_are_named(tmp_path: Path, text: str, message: str) -> None:
    for k in range(2):
        Image.fromarray(grey(k)).save(tmp_path / f"{k}.png")
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_labelled(tmp_path)


@pytest.mark.parametrize("colour", [False, True])
def test_medmnist_keeps_its_split(tmp_path: Path, colour: bool) -> None:
    shape = (4, 6, 5, 3) if colour else (4, 6, 5)
    parts = {key: grey(number, shape) for number, key in enumerate(("train", "val", "test"))}
    marks = np.array([[0], [1], [0], [1]])
    arrays = {f"{key}_images": part for key, part in parts.items()} | {f"{key}_labels": marks for key in parts}
    np.savez(tmp_path / "m.npz", **arrays)
    found = read_labelled(tmp_path / "m.npz", classes=("well", "sick"))
    assert found.counts == {"well": 6, "sick": 6}
    assert found.sides == ("train",) * 4 + ("validation",) * 4 + ("test",) * 4
    first = parts["val"][0] / 127.5 - 1
    np.testing.assert_allclose(found.images[4], np.moveaxis(first, 2, 0) if colour else first[None], atol=1e-6)
    with pytest.raises(InputError, match="1 names"):
        read_labelled(tmp_path / "m.npz", classes=("well",))


@pytest.mark.parametrize("shape", [(4, 9, 8, 8), (4, 3, 8, 8)])
def test_volumes_of_medmnist_are_not_pictures_of_many_channels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.savez(tmp_path / "m.npz", train_images=grey(0, shape), train_labels=np.array([[0], [1], [0], [1]]))
    with pytest.raises(DataError, match=r"train_images has shape .* which are volumes; pictures"):
        read_labelled(tmp_path / "m.npz")


def damage_class(root: Path) -> None:
    (root / "10" / "1.png").unlink()


def damage_empty(root: Path) -> None:
    (root / "3").mkdir()


def damage_file(root: Path) -> None:
    (root / "2" / "0.png").write_bytes(b"\x89PNG nothing")


def damage_size(root: Path) -> None:
    Image.fromarray(grey(7, (6, 6))).save(root / "2" / "9.png")


def damage_channels(root: Path) -> None:
    Image.fromarray(grey(7, (6, 5, 3))).save(root / "2" / "9.png")


def damage_copy(root: Path) -> None:
    (root / "2" / "9.png").write_bytes((root / "10" / "0.png").read_bytes())


def damage_foreign(root: Path) -> None:
    (root / "2" / "notes.docx").write_bytes(b"?")


def damage_pages(root: Path) -> None:
    pages = [Image.fromarray(grey(k)) for k in range(2)]
    pages[0].save(root / "2" / "9.tif", save_all=True, append_images=pages[1:])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_class, "'10' has 1"),
        (damage_empty, "3 holds no image"),
        (damage_file, "0.png"),
        (damage_size, "give size"),
        (damage_channels, "set channels"),
        (damage_copy, "equal in every pixel, and their labels differ"),
        (damage_foreign, "notes.docx"),
        (damage_pages, "2 pages"),
    ],
)
def test_bad_sets_are_refused_by_name(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folders(tmp_path))
    with pytest.raises(DataError, match=message):
        read_labelled(tmp_path)


def test_size_and_channels_bring_all_to_one_shape(tmp_path: Path) -> None:
    folders(tmp_path)
    damage_size(tmp_path)
    damage_channels(tmp_path / ".")
    found = read_labelled(tmp_path, size=(8, 8), channels=1, fit="pad")
    assert found.images.shape == (5, 1, 8, 8)


def test_the_three_ways_to_fit() -> None:
    image = np.full((1, 4, 8), 0.5, np.float32)
    padded = fitted(image, (8, 8), "pad")
    assert (padded[0, :2] == -1).all()
    assert (padded[0, 6:] == -1).all()
    np.testing.assert_allclose(padded[0, 2:6], 0.5, atol=1e-6)
    half = np.concatenate([-image, image], axis=2)  # 4 x 16, dark and bright
    cropped = fitted(half, (4, 4), "crop")
    np.testing.assert_allclose(cropped[0, :, :2], -0.5, atol=1e-6)
    np.testing.assert_allclose(cropped[0, :, 2:], 0.5, atol=1e-6)
    stretched = fitted(half, (4, 4), "stretch")
    assert stretched[0, 0, 0] < 0 < stretched[0, 0, 3]


def test_a_new_format_is_one_function(tmp_path: Path) -> None:
    def read(path: Path, channels: int | None) -> RawPixels:
        return RawPixels(np.full((1, 1, 2, 2), len(path.read_bytes())), (0.0, 10.0))

    register_reader((".toy",), read)
    (tmp_path / "a").mkdir()
    for k in (1, 5):
        (tmp_path / "a" / f"{k}.toy").write_bytes(b"." * k)
    np.testing.assert_allclose(read_labelled(tmp_path).images[:, 0, 0, 0], [-0.8, 0.0], atol=1e-6)


def test_what_does_not_belong_together_is_refused() -> None:
    images, labels = np.zeros((2, 1, 2, 2), np.float32), np.array([0, 1])
    LabelledImages(images, labels, ("a", "b"), ("x", "y"))
    for wrong in (
        {"labels": np.array([0, 2])},
        {"names": ("x", "x")},
        {"classes": ("a", "a")},
        {"images": images[0]},
        {"patients": ("p",)},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            LabelledImages(**{"images": images, "labels": labels, "classes": ("a", "b"), "names": ("x", "y"), **wrong})
