"""Pictures: formats, channels, sizes, intensities and masks; PNG files of our own are read by others."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from tests.helpers.tiny_pictures import picture_folder, pictures

from skiagraph.data.pictures import open_pictures, read_picture
from skiagraph.data.png import contact_sheet, encode_png, write_png
from skiagraph.data.volume import Volume, write_nifti
from skiagraph.errors import DataError, InputError


def test_png_files_of_ours_are_read_by_others(tmp_path: Path) -> None:
    colours = pictures(1)[0]
    with Image.open(write_png(tmp_path / "a.png", colours, {"Source": "synthetic"})) as image:
        assert np.array_equal(np.asarray(image), colours)
        assert image.info["Source"] == "synthetic"
    deep = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    with Image.open(write_png(tmp_path / "b.png", deep)) as image:
        assert np.array_equal(np.asarray(image).astype(np.uint16), deep)
    three = np.stack([deep, deep[::-1], deep], -1)
    with Image.open(write_png(tmp_path / "c.png", three)) as image:
        assert np.array_equal(np.asarray(image), (three >> 8).astype(np.uint8))
    with pytest.raises(InputError, match="uint8 or uint16"):
        encode_png(np.zeros((2, 2)))


def test_contact_sheet_places_pictures_in_rows() -> None:
    sheet = contact_sheet([np.full((2, 3), value, np.uint8) for value in (1, 2, 3)], columns=2, gap=1)
    assert sheet.shape == (5, 7)
    assert (sheet[:2, :3] == 1).all()
    assert (sheet[:2, 4:] == 2).all()
    assert (sheet[3:, :3] == 3).all()
    assert (sheet[3:, 4:] == 0).all()


def test_whole_numbers_span_minus_one_to_one(tmp_path: Path) -> None:
    found = open_pictures([picture_folder(tmp_path, 3)])
    assert (len(found), found.channels, found.size) == (3, 3, (16, 16))
    assert found.names == ["000.png", "001.png", "002.png"]
    expected = pictures(3)[1].astype(np.float32).transpose(2, 0, 1) / 127.5 - 1
    assert np.abs(found.image(1) - expected).max() < 1e-6
    assert found.mask(1) is None
    assert not found.masked


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".png"])
def test_channels_are_converted_and_sizes_fitted(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(pictures(1, 32)[0]).resize((48, 32)).save(tmp_path / f"a{suffix}")
    grey = open_pictures([tmp_path], channels=1, size=(16, 16))
    assert grey.image(0).shape == (1, 16, 16)
    assert open_pictures([tmp_path], size=(20, 20)).image(0).shape == (3, 20, 20)
    assert open_pictures([tmp_path]).size == (32, 48)


def test_a_constant_picture_keeps_its_value_when_fitted(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.full((40, 30), 77, np.uint8))
    assert np.allclose(read_picture(tmp_path / "a.png", 1, (16, 16)), 77, atol=1e-3)


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    deep = (np.arange(256, dtype=np.uint16).reshape(16, 16)) * 257
    write_png(tmp_path / "a.png", deep)
    found = open_pictures([tmp_path]).image(0)[0]
    assert np.abs((found + 1) / 2 * 65535 - deep).max() < 0.1


def test_slices_of_a_volume_without_the_empty_ones(tmp_path: Path) -> None:
    array = np.zeros((8, 6, 5), np.float32)
    array[2:5, 2:5, 1:4] = np.random.default_rng(0).uniform(1, 2, (3, 3, 3))
    write_nifti(tmp_path / "a.nii.gz", Volume(array, np.diag([1.0, 2.0, 3.0, 1.0]), "a"))
    found = open_pictures([tmp_path / "a.nii.gz"])
    assert found.names == [f"a.nii.gz/{index}" for index in (1, 2, 3)]
    high = np.percentile(array, 99.5)
    assert np.allclose(found.image(0)[0], 2 * array[:, :, 1] / high - 1, atol=1e-5)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_arrays_bring_masks_of_their_own(tmp_path: Path, suffix: str) -> None:
    images = np.random.default_rng(1).uniform(0, 1, (4, 8, 8)).astype(np.float32)
    masks = (np.random.default_rng(2).uniform(size=(4, 8, 8)) < 0.5).astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez(path, images=images, masks=masks)
    else:
        with h5py.File(path, "w") as content:
            content["images"], content["masks"] = images, masks
    found = open_pictures([path], intensity=(0.0, 1.0))
    assert found.masked
    assert np.array_equal(found.mask(2), masks[2][None])
    assert np.allclose(found.image(2)[0], 2 * images[2] - 1, atol=1e-6)
    with pytest.raises(InputError, match="give the two values"):
        open_pictures([path])


def test_what_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no file"):
        open_pictures([tmp_path])
    (tmp_path / "a.png").write_text("no picture", encoding="utf-8")
    with pytest.raises(DataError, match="not a readable image"):
        open_pictures([tmp_path])
    np.savez(tmp_path / "b.npz", pictures=np.zeros((2, 4, 4)))
    with pytest.raises(DataError, match="'images' is needed"):
        open_pictures([tmp_path / "b.npz"])
    np.savez(tmp_path / "c.npz", images=np.zeros((2, 4, 4), np.uint8), masks=np.full((2, 4, 4), 2))
    with pytest.raises(DataError, match="0 and 1"):
        open_pictures([tmp_path / "c.npz"])
    np.save(tmp_path / "d.npy", np.full((2, 4, 4), np.nan, np.float32))
    with pytest.raises(DataError, match="NaN"):
        open_pictures([tmp_path / "d.npy"], intensity=(0.0, 1.0)).image(0)
    folder = picture_folder(tmp_path / "sizes", 2)
    write_png(folder / "z.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="are needed"):
        open_pictures([folder]).image(2)
