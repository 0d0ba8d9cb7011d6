"""A test set from elsewhere: taken as it is, with a warning where it names patients of the training set."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.tiny_sets import classes_of_spots

from skiagraph.data.png import write_png
from skiagraph.errors import DataError
from skiagraph.tasks.downstream.page import study_warnings
from skiagraph.tasks.downstream.sets import read_study_sets
from skiagraph.tasks.downstream.settings import DownstreamSettings
from skiagraph.tasks.downstream.study import Study


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


def test_a_patient_on_both_sides_of_the_table_is_refused(tmp_path: Path) -> None:
    file = table(tmp_path / "real", 0, "p") / "labels.csv"
    head, *rows = file.read_text().splitlines()
    sides = [f"{row},{'test' if number % 2 else 'train'}" for number, row in enumerate(rows)]
    file.write_text("\n".join([f"{head},split", *sides]) + "\n")
    with pytest.raises(DataError, match="patient 'p0' stands on the sides train and test"):
        read_study_sets(DownstreamSettings(real=file.parent))


def test_other_real_or_test_images_make_every_training_anew(tmp_path: Path) -> None:
    real, test = table(tmp_path / "real", 0, "p"), table(tmp_path / "test", 1, "q")
    given = DownstreamSettings(real=real, test=test, networks=["lenet"], seeds=1)

    def identities() -> list[str]:
        study = Study(tmp_path / "run", read_study_sets(given), given)
        return [study.identity(cell) for cell in study.cells]

    before = identities()
    for seed, place in ((2, real), (3, test)):
        name, images = next(iter(classes_of_spots(seed, 1).items()))
        write_png(place / name / "0.png", images[0])
        after = identities()
        assert not set(before) & set(after)
        before = after


def test_another_judge_in_the_same_folder_chooses_anew(tmp_path: Path) -> None:
    real, test = table(tmp_path / "real", 0, "p"), table(tmp_path / "test", 1, "q")
    judge = tmp_path / "judge"
    judge.mkdir()
    found: list[dict[str, str]] = []
    for weights in (b"one", b"other"):
        (judge / "model.safetensors").write_bytes(weights)
        given = DownstreamSettings(real=real, test=test, networks=["lenet"], seeds=1, judge=judge)
        study = Study(tmp_path / "run", read_study_sets(given), given)
        found.append({cell.arm.name: study.identity(cell) for cell in study.cells})
    before, after = found
    assert {name for name in before if before[name] != after[name]} == {"chosen"}
    (judge / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model\.safetensors"):
        Study(tmp_path / "run", read_study_sets(given), given)
