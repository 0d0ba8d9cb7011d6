"""The manifest: whole after every append, readable after a kill, refused where it belongs elsewhere."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from skiagraph.errors import DataError
from skiagraph.tasks.synthesize.manifest import Manifest, columns

CLASSES = ("2", "10, or more")


def row(number: int, label: int = 0, **values: Any) -> dict[str, Any]:
    return {"id": f"x-{label}-{number}", "label_index": label, "number": number, "kept": True, "file": "f", **values}


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    Manifest(tmp_path / "m.csv", CLASSES).append([row(0, source='a "b", c\n', moved=0.123456789), row(1, kept=False)])
    found = Manifest(tmp_path / "m.csv", CLASSES).rows
    assert found["x-0-0"]["source"] == 'a "b", c\n'
    assert (found["x-0-0"]["kept"], found["x-0-1"]["kept"]) == ("yes", "no")
    assert (found["x-0-0"]["moved"], found["x-0-0"]["judge_p_2"]) == ("0.123457", "")


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_line_that_a_killed_run_left_unfinished_is_dropped(tmp_path: Path, cut: int) -> None:
    manifest = Manifest(tmp_path / "m.csv", CLASSES)
    manifest.append([row(0)])
    whole = manifest.path.read_bytes()
    manifest.append([row(1)])
    manifest.path.write_bytes(manifest.path.read_bytes()[:-cut])
    again = Manifest(tmp_path / "m.csv", CLASSES)
    assert list(again.rows) == ["x-0-0"]
    assert manifest.path.read_bytes() == whole


def test_a_full_disk_leaves_the_rows_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = Manifest(tmp_path / "m.csv", CLASSES)
    manifest.append([row(0)])
    before = manifest.path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match="the disk is full"):
        manifest.append([row(1)])
    assert manifest.path.read_bytes() == before
    assert list(manifest.rows) == ["x-0-0"]


def test_the_finished_file_is_in_order_of_class_and_number(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "m.csv", CLASSES)
    manifest.append([row(10, 1), row(2, 1), row(3, 0)])
    manifest.finish()
    with open(manifest.path, encoding="utf-8", newline="") as file:
        assert [line["id"] for line in csv.DictReader(file)] == ["x-0-3", "x-1-2", "x-1-10"]


def test_another_runs_manifest_is_refused(tmp_path: Path) -> None:
    Manifest(tmp_path / "m.csv", CLASSES)
    with pytest.raises(DataError, match="belongs to another version or run"):
        Manifest(tmp_path / "m.csv", (*CLASSES, "3"))


def test_no_column_is_named_twice() -> None:
    assert len(set(columns(CLASSES))) == len(columns(CLASSES))
