"""The one command: parts by name, a page for a whole run only, and failures that do not hide."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from benchmarks import run
from benchmarks.timing import Effort, Row, Section, Spread

SECTION = Section("Loops", "None.", "us", [Row("case", "ours", Spread(1.0, 1.0, 1.0))])


@pytest.fixture(autouse=True)
def quiet_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Parts that measure nothing: one has a result, one fails, one has nothing to measure, the rest are quick."""

    def fail(*_: object) -> Section:
        raise RuntimeError("no such scheduler")

    for name in ("networks", "operators", "espirit"):
        monkeypatch.setattr(run, f"compare_{name}", lambda *_: SECTION)
    monkeypatch.setattr(run, "compare_loops", fail)
    monkeypatch.setattr(run, "compare_samplers", lambda *_: "skipped: no prior")
    monkeypatch.setattr(run, "RESULTS", tmp_path / "RESULTS.md")


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words])
    return run.main(threads=torch.get_num_threads())


def test_a_whole_run_writes_the_page_and_names_what_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert call(monkeypatch, "--remark", "On a quiet night.") == 1
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "## Loops" in page
    assert "failed: RuntimeError: no such scheduler" in page
    assert "samplers (cpu): skipped: no prior" in page
    assert "- Remark: On a quiet night." in page


def test_a_part_of_the_parts_leaves_the_page_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert call(monkeypatch, "--only", "espirit") == 0
    assert call(monkeypatch, "--quick", "--only", *(name for name in run.PARTS if name != "loop")) == 0
    assert not (tmp_path / "RESULTS.md").exists()
    assert call(monkeypatch, "--only", "espirit", "--output", str(tmp_path / "part.md")) == 0
    assert (tmp_path / "part.md").exists()


@pytest.mark.parametrize(("before", "after", "shared"), [(0.2, 1.1, False), (0.1, 2.5, True), (3.0, 1.0, True)])
def test_a_shared_machine_is_said_to_be_one(before: float, after: float, shared: bool) -> None:
    assert ("the machine was shared" in run._shared(before, after)) == shared


def test_every_part_of_the_comparison_is_there() -> None:
    parts = [(name, device) for name, device, _ in run._parts(Effort(), lambda text: None)]
    assert {name for name, device in parts if device == "cpu"} == set(run.PARTS)
