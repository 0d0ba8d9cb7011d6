"""What is shown how often, and a split that is fixed before training and kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers.tiny_sets import classes_of_spots

from skiagraph.data.labelled_split import split_images, write_image_split
from skiagraph.data.png import write_png
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.synthesize.learn.data import LabelledItems, balanced_places, fixed_split, open_images
from skiagraph.tasks.synthesize.learn.settings import ClassPriorSettings


def spots_folder(root: Path, each: int = 10) -> Path:
    for name, images in classes_of_spots(0, each, 12).items():
        for number, pixels in enumerate(images):
            (root / name).mkdir(parents=True, exist_ok=True)
            write_png(root / name / f"{number}.png", pixels)
    return root


def settings(root: Path, **changes: Any) -> ClassPriorSettings:
    values = {"data": root / "data", "output": root / "run", "images": 8, "validation": 0.2, **changes}
    return ClassPriorSettings.model_validate(values)


@pytest.mark.parametrize(("sampling", "shares"), [("sqrt", (100**0.5, 25**0.5, 4**0.5)), ("inverse", (1, 1, 1))])
def test_classes_come_as_often_as_asked(sampling: str, shares: tuple[float, ...]) -> None:
    labels = [0] * 100 + [1] * 25 + [2] * 4
    places = balanced_places(labels, sampling, 0)
    counts = torch.bincount(torch.tensor(labels)[places]).double()
    wanted = torch.tensor(shares, dtype=torch.float64)
    torch.testing.assert_close(counts / counts.sum(), wanted / wanted.sum(), atol=2e-3, rtol=0)
    for label in range(3):
        times = torch.bincount(places, minlength=129)[torch.tensor(labels) == label]
        assert times.max() - times.min() <= 1
        assert times.min() >= 8


def test_as_they_occur_means_once_each() -> None:
    assert balanced_places([2, 0, 2], "none", 0).tolist() == [0, 1, 2]


def test_items_carry_image_and_label(tmp_path: Path) -> None:
    spots_folder(tmp_path / "data", 3)
    images = open_images(settings(tmp_path))
    items = LabelledItems.of(images, "inverse", 0)
    batch = items.batch(torch.tensor([0, 30]))
    assert batch["image"].shape == (2, 1, 12, 12)
    for row in range(2):
        place = int(items.places[[0, 30][row]])
        assert torch.equal(batch["image"][row], torch.from_numpy(images.images[place]))
        assert int(batch["label"][row]) == images.labels[place]


def test_the_split_of_a_run_is_written_once_and_kept(tmp_path: Path) -> None:
    spots_folder(tmp_path / "data")
    run = settings(tmp_path)
    images = open_images(run)
    first = fixed_split(run, images, write=True)
    assert first.counts["validation"] == {"above": 2, "left": 2, "right": 2}
    assert fixed_split(run, images, write=True).split == first.split
    given = settings(tmp_path, split=tmp_path / "run" / "split.json", output=tmp_path / "other", seed=5)
    assert fixed_split(given, images, write=True).split == first.split
    assert json.loads((tmp_path / "other" / "split.json").read_text())["train"] == list(first.split.train)
    torn = settings(tmp_path, split=tmp_path / "other" / "new.json", output=tmp_path / "other")
    write_image_split(tmp_path / "other" / "new.json", split_images(images, validation=0.4, seed=9))
    with pytest.raises(InputError, match="another split"):
        fixed_split(torn, images, write=True)
    write_png(tmp_path / "data" / "left" / "0.png", classes_of_spots(9, 1, 12)["left"][0])
    with pytest.raises(InputError, match="other images"):
        fixed_split(run, open_images(run), write=True)


def test_a_class_that_training_would_not_see_is_refused(tmp_path: Path) -> None:
    spots_folder(tmp_path / "data", 2)
    run = settings(tmp_path, validation=0.5)
    with pytest.raises(DataError, match="at least 2"):
        fixed_split(run, open_images(run), write=False)
    with pytest.raises(ValueError, match="no effect with a split"):
        settings(tmp_path, split=tmp_path / "s.json", test=0.2)


def test_labels_that_are_all_alike_and_images_that_show_nothing_are_refused(tmp_path: Path) -> None:
    first, *rest = sorted(path for path in spots_folder(tmp_path / "data", 3).iterdir() if path.is_dir())
    flat = first / "flat.png"
    write_png(flat, np.zeros((12, 12), np.uint8))
    with pytest.raises(DataError, match=rf"1 of \d+ images are of one value in every pixel, such as {first.name}/flat"):
        open_images(settings(tmp_path))
    flat.unlink()
    for folder in rest:
        shutil.rmtree(folder)
    with pytest.raises(DataError, match=rf"found the labels \['{first.name}'\].*at least two"):
        open_images(settings(tmp_path))
