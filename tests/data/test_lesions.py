"""Inserted lesions: outlines, bodies, placing, mixing, twins, labels; nothing but the lesion tells the class."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from skiagraph.data.intensity import foreground_scaling
from skiagraph.data.labelled import read_labelled
from skiagraph.data.lesion_anatomy import Anatomy, Pose
from skiagraph.data.lesion_bodies import LesionBody, soft_fraction
from skiagraph.data.lesion_files import chosen_slices, slices_of, write_table
from skiagraph.data.lesion_insertion import InsertedCase, InsertionOptions, insert_lesions
from skiagraph.data.lesion_shapes import ShapeBank, decode_runs, shape_of
from skiagraph.errors import DataError, InputError

POSE = Pose(pixels=40, pixel_mm=4.0, slices=6, slice_mm=8.0, top_mm=16.0)


def disc(size: int, radius: float) -> np.ndarray:
    line = np.arange(size) - (size - 1) / 2
    return np.hypot(line[:, None], line) < radius


@pytest.fixture(scope="module")
def bank() -> ShapeBank:
    """Discs and ellipses in the place of real outlines."""
    shapes = {}
    for number in range(12):
        line = np.arange(64) - 31.5
        shapes[f"image-{number}"] = shape_of((line[:, None] / (1 + number % 3)) ** 2 + line**2 < 100, f"image-{number}")
    return ShapeBank(dict.fromkeys(shapes, ()), compact_share=1.0, _known=shapes)


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    """An ellipsoid of white matter with a grey rim, smooth residual texture and a fluid core."""
    lines = [np.linspace(-1, 1, side) for side in (44, 52, 44)]
    radius = np.sqrt(lines[0][:, None, None] ** 2 + lines[1][None, :, None] ** 2 + lines[2] ** 2)
    fluid, brain = np.clip((0.25 - radius) * 8, 0, 1), radius < 0.95
    grey = np.clip((radius - 0.75) * 8, 0, 1) * (1 - fluid)
    texture = 0.05 * np.sin(9 * lines[0])[:, None, None] * np.cos(7 * lines[1])[None, :, None] * np.ones(44)
    parts = np.stack([fluid, grey, 1 - fluid - grey, texture]) * brain
    return Anatomy("ellipsoid", "ellipsoid", parts.astype(np.float32), 3.0)


def case(anatomy: Anatomy, bank: ShapeBank, kind: str, present: bool, name: str) -> InsertedCase:
    options = InsertionOptions(kind=kind, pose=POSE, diameter_mm=(24.0, 40.0))  # type: ignore[arg-type]
    return insert_lesions(anatomy, bank, options, side="train", present=present, case=name)


def test_runs_count_from_the_end_of_the_run_before_and_go_down_columns() -> None:
    mask = decode_runs(["2 3 4 1"], size=4)  # flat 2, 3, 4, then 4 more, then 9: columns first
    expected = np.zeros((4, 4), dtype=bool)
    expected[[2, 3, 0, 1], [0, 0, 1, 2]] = True
    assert np.array_equal(mask, expected)
    assert not decode_runs(["-1"], size=4).any()
    assert np.array_equal(decode_runs(["0 2", "3 1"], size=2), [[True, False], [True, True]])


@pytest.mark.parametrize("row", ["1 2 3", "10 20"])
def test_broken_runs_are_refused(row: str) -> None:
    with pytest.raises(DataError, match="run lengths"):
        decode_runs([row], size=4)


def test_a_disc_has_depth_one_half_and_a_bar_is_no_disc() -> None:
    found = shape_of(disc(101, 40), "disc")
    assert found is not None
    assert found.compact
    assert found.depth == pytest.approx(0.5, abs=0.01)
    ring = disc(101, 40) & ~disc(101, 34)
    crescent = shape_of(ring & (np.arange(101) > 50), "crescent")
    assert crescent is not None
    assert not crescent.compact
    assert shape_of(disc(11, 2), "dot", least=100) is None


def test_a_body_of_a_disc_is_an_ellipsoid_of_the_right_volume() -> None:
    shape = shape_of(disc(201, 80), "disc")
    assert shape is not None
    body = LesionBody(shape, 20.0, 8.0, 1.0, 0.3, False, (0.0, 0.0, 0.0, 0.0))
    share = soft_fraction(body, (20.0, 20.0, 20.0), (41, 41, 41), (1.0, 1.0, 1.0))
    # at height z the outline shrinks by D (1 - sqrt(1 - (z / h)^2)): radius 10 sqrt(1 - (z / 8)^2), an ellipsoid
    assert share.sum() == pytest.approx(4 / 3 * np.pi * 10 * 10 * 8, rel=0.04)
    assert (share[:, :, 20] >= 0.5).sum() == pytest.approx(np.pi * 100, rel=0.04)
    assert share[:, :, 28:].sum() < 0.01 * share.sum()
    assert soft_fraction(body, (200.0, 20.0, 20.0), (41, 41, 41), (1.0, 1.0, 1.0)).sum() == 0


@pytest.mark.parametrize("kind", ["hyper", "hypo", "iso"])
def test_only_the_lesion_differs_between_a_case_and_its_twin(anatomy: Anatomy, bank: ShapeBank, kind: str) -> None:
    made = case(anatomy, bank, kind, True, "a")
    assert made.truth.any()
    assert np.array_equal(made.image[made.share == 0], made.twin[made.share == 0])
    inside = made.share > 0.95
    change = float(made.image[inside].mean() / made.twin[inside].mean())
    low, high = {"hyper": (1.1, 2.0), "hypo": (0.3, 0.85), "iso": (0.9, 1.1)}[kind]
    assert low < change < high
    if kind == "iso":
        assert made.image[inside].std() > 1.5 * made.twin[inside].std()
    again = case(anatomy, bank, kind, True, "a")
    assert np.array_equal(made.image, again.image)
    assert not np.array_equal(made.image, case(anatomy, bank, kind, True, "b").image)


def test_a_case_without_lesion_is_its_own_twin(anatomy: Anatomy, bank: ShapeBank) -> None:
    made = case(anatomy, bank, "hyper", False, "a")
    assert np.array_equal(made.image, made.twin)
    assert not made.share.any()
    assert made.lesions == ()
    assert np.array_equal(made.twin, case(anatomy, bank, "hyper", True, "a").twin)


def test_lesions_stand_in_tissue(anatomy: Anatomy, bank: ShapeBank) -> None:
    for number in range(4):
        made = case(anatomy, bank, "hyper", True, f"place {number}")
        assert not (made.truth & ~made.brain).any()


def test_unknown_kinds_and_contrasts_are_refused() -> None:
    with pytest.raises(InputError, match="hyper, hypo, iso"):
        InsertionOptions(kind="bright")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="FLAIR"):
        InsertionOptions(contrast="T9")


def test_a_lesion_hardly_moves_the_scaling() -> None:
    tissue = np.random.default_rng(0).normal(1.0, 0.1, 20_000)
    image = np.concatenate([np.zeros(20_000), tissue])
    bright = image.copy()
    bright[-600:] = 3.0  # 3 % of the tissue
    assert foreground_scaling(image).high == pytest.approx(1.8, rel=0.01)
    assert foreground_scaling(bright).high == pytest.approx(foreground_scaling(image).high, rel=0.01)
    with pytest.raises(DataError, match="constant"):
        foreground_scaling(np.ones(5))


def test_slices_are_labelled_by_area_and_matched_in_height(anatomy: Anatomy, bank: ShapeBank, tmp_path) -> None:
    sets = []
    for present, name in ((True, "with"), (False, "without")):
        made = case(anatomy, bank, "hyper", present, name)
        sets.append(slices_of(made, kind="hyper", case=name, group="g", side="train", pixel_mm=4.0, least_mm2=200.0))
    labels = {item.label for item in sets[0]}
    assert "hyper" in labels
    assert {item.label for item in sets[1]} == {"normal"}
    for item in sets[0]:
        assert (item.label == "hyper") == (item.area_mm2 >= 200.0 and item.label != "normal")
    kept = chosen_slices(*sets)
    heights = [sorted(item.index for item in kept if item.label == label) for label in ("normal", "hyper")]
    assert heights[0] == heights[1]
    counts = write_table(tmp_path, kept, ("normal", "hyper"))
    assert counts == {"train normal": len(kept) // 2, "train hyper": len(kept) // 2}
    found = read_labelled(tmp_path / "slices")
    assert found.classes == ("normal", "hyper")
    assert found.patients == ("g",) * len(kept)
    with open(tmp_path / "slices" / "labels.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert all((tmp_path / "truth" / "masks" / f"{row['case']}-{int(row['slice']):02d}.png").is_file() for row in rows)


def test_without_the_lesion_nothing_tells_the_class(anatomy: Anatomy, bank: ShapeBank) -> None:
    """Lesion and margin blanked, the same blanks in normal slices: a classifier is at chance; unblanked it is not."""
    from scipy import ndimage
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    blanked, whole, labels = [], [], []
    for number in range(48):
        present = number % 2 == 0
        made = case(anatomy, bank, "hyper", present, f"shortcut {number}")
        partner = case(anatomy, bank, "hyper", True, f"shortcut {number - number % 2}").truth
        index = int(partner.sum((0, 1)).argmax())
        image = foreground_scaling(made.image).apply(made.image)[:, :, index]
        margin = ndimage.binary_dilation(partner[:, :, index], iterations=3)
        for rows, values in ((whole, image), (blanked, np.where(margin, 0.0, image))):
            small = values.reshape(10, 4, 10, 4).mean((1, 3)).ravel()
            rows.append(np.concatenate([small, 10 * np.quantile(values, (0.9, 0.95, 0.98, 0.99, 1.0))]))
        labels.append(int(present))
    scores = [
        cross_val_score(LogisticRegression(max_iter=2000), np.array(rows), labels, cv=6).mean()
        for rows in (whole, blanked)
    ]
    assert scores[0] > 0.7
    assert abs(scores[1] - 0.5) < 0.2
