"""Organ crops: squares about what is labelled, whole slabs on one side, none near the border between sides."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from skiagraph.data.labelled import read_labelled
from skiagraph.data.organ_crops import PLANES, CropSet, Place, crop_sets, cut_crops, places_of, resampled, write_crops
from skiagraph.data.samples import fetch
from skiagraph.data.volume import Volume, read_nifti
from skiagraph.errors import DataError, InputError, SampleUnavailable
from skiagraph.tasks.organ_crops import COUNTS

BOX = CropSet("box", "a box", {"box": (1,), "rod": (2,)}, (0.0, 100.0), 30)


def scene() -> tuple[np.ndarray, np.ndarray]:
    labels = np.zeros((40, 40, 64), np.uint8)
    labels[10:20, 5:11] = 1  # x, y: 10 x 6 pixels in every axial slice
    labels[30:32, 30:40] = 2  # 20 pixels: too few in axial slices
    return np.where(labels == 1, 100.0, 0.0), labels


def test_a_crop_is_the_square_about_the_box() -> None:
    ct, labels = scene()
    crops = cut_crops(ct, labels, BOX)
    assert len(crops) == 64
    assert {crop.label for crop in crops} == {"box"}
    crop = crops[0]
    assert crop.pixels.shape == (28, 28)
    # half-side 10 // 2 + 4 = 9 pixels: 18 pixels become 28, of which the box covers 10 columns and 6 rows
    bright = crop.pixels > 127
    assert abs(int(bright.any(0).sum()) - 28 * 10 / 18) < 1.01
    assert abs(int(bright.any(1).sum()) - 28 * 6 / 18) < 1.01
    assert abs(np.flatnonzero(bright.any(0)).mean() - 13.5) <= 0.5
    assert abs(np.flatnonzero(bright.any(1)).mean() - 13.5) <= 0.5


def test_left_of_the_array_is_left_of_the_picture_and_up_is_up() -> None:
    ct, labels = scene()
    ct[10:13, 5:11] = 50  # the low x end of the box, and nothing else, is darker
    ct[10:20, 5:7] = 25  # the low y end is darkest: y grows to the front, which stands on top
    pixels = cut_crops(ct, labels, BOX)[0].pixels
    rows, columns = np.nonzero(pixels > 10)
    box = pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(float)
    assert box[0, 1] < box[0, -2]
    assert box[-2].mean() < box[1].mean()


def test_sides_by_slab_with_a_guard() -> None:
    sides = {index: Place("box", "axial", index).side for index in range(40)}
    assert [index for index, side in sides.items() if side == "test"] == list(range(24, 32))
    assert [index for index, side in sides.items() if side == "dropped"] == [0, 1, 22, 23, 32, 33]
    assert Place("box", "axial", 25).slab == "axial-03"


def test_resampling_keeps_corners_and_refuses_other_axes() -> None:
    affine = np.diag([-1.4, 1.4, 2.8, 1.0])
    ramp = np.broadcast_to(np.arange(11.0), (4, 5, 11)).astype(np.float32)
    made = resampled(Volume(ramp, affine), 1)
    assert made.shape == (4, 5, 22)
    np.testing.assert_allclose(made[0, 0, [0, -1]], [0, 10], atol=1e-5)
    with pytest.raises(InputError, match="LAS"):
        resampled(Volume(ramp, np.diag([1.4, 1.4, 2.8, 1.0])), 1)


def test_written_sets_are_read_with_split_and_slabs(tmp_path: Path) -> None:
    ct, labels = scene()
    ct = ct + np.random.default_rng(0).uniform(-20, 0, ct.shape)
    crops = cut_crops(ct, labels, BOX)
    counts = write_crops(tmp_path / "set", crops, BOX, {"licence": "none, generated"})
    assert counts == {"train": 40, "test": 16, "dropped": 8}
    found = read_labelled(tmp_path / "set")
    assert found.classes == ("box",)
    assert len(found) == counts["train"] + counts["test"]
    slabs = zip(found.patients or (), found.sides or (), strict=True)
    assert {slab for slab, side in slabs if side == "test"} == {"axial-03", "axial-07"}
    assert json.loads((tmp_path / "set" / "provenance.json").read_text())["licence"] == "none, generated"
    with pytest.raises(DataError, match="not empty"):
        write_crops(tmp_path / "set", crops, BOX, {})


def test_the_sets_name_every_structure_once() -> None:
    for wanted in crop_sets().values():
        numbers = [number for group in wanted.classes.values() for number in group]
        assert len(numbers) == len(set(numbers))
    assert len(crop_sets()["organs"].classes) == 11
    with pytest.raises(InputError, match="planes"):
        cut_crops(*scene(), BOX, ("oblique",))  # type: ignore[arg-type]


@pytest.mark.samples
def test_the_pinned_archive_gives_the_stated_counts() -> None:
    try:
        files = fetch("trunk-ct").files
    except SampleUnavailable as error:
        pytest.skip(str(error))
    labels = resampled(read_nifti(files["labels"]), 0)
    for name, planes, counts in (
        ("organs", ("axial",), (652, 243)),
        ("organs", PLANES, (1696, 668)),
        ("trunk-wall", ("axial",), (808, 297)),
    ):
        sides = [place.side for place in places_of(labels, crop_sets()[name], planes)]
        assert (sides.count("train"), sides.count("test")) == counts
        assert COUNTS[name, "axial" if len(planes) == 1 else "all"] == counts
