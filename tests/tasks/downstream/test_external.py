"""A test set from elsewhere: taken as it is, with a warning where it names patients of the training set."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.tiny_sets import classes_of_spots

from skiagraph.data.png import write_png
from skiagraph.tasks.downstream.page import study_warnings
from skiagraph.tasks.downstream.sets import read_study_sets
from skiagraph.tasks.downstream.settings import DownstreamSettings


def table(path: Path, seed: int, patients: str) -> Path:
    """Four images a class, two of each patient, listed in labels.csv."""
    rows = ["file,label,patient"]
    for name, images in classes_of_spots(seed, 4).items():
        for number, image in enumerate(images):
            write_png(path / name / f"{number}.png", image)
            rows.append(f"{name}/{number}.png,{name},{patients}{number // 2}")
    (path / "labels.csv").write_text("\n".join(rows) + "\n")
    return path


def test_patients_with_names_of_the_training_set_are_warned_of(tmp_path: Path) -> None:
    real = table(tmp_path / "real", 0, "p")
    for patients, warned in (("p", True), ("elsewhere-", False)):
        test = table(tmp_path / f"test-{patients}", 1, patients)
        given = DownstreamSettings(real=real, test=test)
        told = study_warnings(read_study_sets(given), None, given)
        assert (
            any("2 patients of the test set bear names of the training set, such as 'p0'" in w for w in told) == warned
        )
