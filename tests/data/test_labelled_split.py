"""Splits of labelled images: whole patients, every class, the same from the same seed, and refused when torn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from skiagraph.data.labelled import LabelledImages
from skiagraph.data.labelled_split import read_image_split, split_images, write_image_split
from skiagraph.errors import DataError, InputError


def images(patients: int = 40, each: int = 3, known: bool = True, sides: bool = False) -> LabelledImages:
    number = patients * each
    owners = np.arange(number) // each
    return LabelledImages(
        np.random.default_rng(0).uniform(-1, 1, (number, 1, 2, 2)).astype(np.float32),
        (owners % 4 == 0).astype(np.int64),
        ("common", "rare"),
        tuple(f"{k}.png" for k in range(number)),
        tuple(f"p{owner}" for owner in owners) if known else None,
        tuple("test" if owner < 5 else "train" for owner in owners) if sides else None,
    )


def test_patients_stay_whole_and_classes_keep_their_share() -> None:
    data = images()
    split = split_images(data, validation=0.2, test=0.25, seed=3)
    owner = dict(zip(data.names, data.patients or (), strict=True))
    found = {side: {owner[name] for name in getattr(split.split, side)} for side in ("train", "validation", "test")}
    assert sum(len(owners) for owners in found.values()) == len(set.union(*found.values()))
    assert sum(len(split.side(side)) for side in found) == len(data)
    assert split.counts["test"]["common"] in (21, 24)  # 22.5 is wished, and patients have three images
    assert split.counts["test"]["rare"] in (6, 9)
    assert split.counts["validation"]["common"] in (12, 15)
    assert split.counts["validation"]["rare"] in (3, 6)
    assert split_images(data, validation=0.2, test=0.25, seed=3).split == split.split
    assert split_images(data, validation=0.2, test=0.25, seed=4).split != split.split


def test_sides_of_the_data_are_kept_and_validation_comes_from_training() -> None:
    data = images(sides=True)
    split = split_images(data, validation=0.2, seed=0)
    pairs = zip(data.names, data.sides or (), strict=True)
    assert set(split.split.test) == {name for name, side in pairs if side == "test"}
    assert 0 < len(split.split.validation) < 40
    with pytest.raises(InputError, match="come with a split"):
        split_images(data, test=0.2)


def test_the_last_patient_of_a_class_stays_in_training() -> None:
    data = images(patients=5)
    split = split_images(data, validation=0.9, seed=0)
    assert split.counts["train"]["rare"] >= 3
    assert split.counts["train"]["common"] >= 3


def test_without_patients_every_image_stands_for_itself() -> None:
    split = split_images(images(known=False), validation=0.1, seed=0)
    assert split.split.kind == "image"
    assert split.counts["validation"] == {"common": 9, "rare": 3}


def test_written_and_read_again(tmp_path: Path) -> None:
    data = images()
    split = split_images(data, validation=0.2, seed=1)
    file = write_image_split(tmp_path / "split.json", split)
    assert read_image_split(file, data).split == split.split
    with pytest.raises(DataError, match="only there or only in the data"):
        read_image_split(file, data.select(np.arange(9)))


def test_a_patient_on_both_sides_is_refused(tmp_path: Path) -> None:
    data = images()
    file = write_image_split(tmp_path / "split.json", split_images(data, validation=0.2, seed=1))
    content = json.loads(file.read_text())
    content["validation"].append(content["train"].pop())
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="patient may stand on one side only"):
        read_image_split(file, data)
    del content["kind"]
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="kind"):
        read_image_split(file, data)


def test_a_split_that_knows_other_patients_is_refused(tmp_path: Path) -> None:
    """One made without them would tear patients apart."""
    file = write_image_split(tmp_path / "split.json", split_images(images(known=False), validation=0.2, seed=1))
    with pytest.raises(DataError, match=r"'\d+.png' shows '\d+.png' there, 'p\d+' in the data"):
        read_image_split(file, images())
