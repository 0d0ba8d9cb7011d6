"""The one command: parts by name, a page for a whole run only, and failures that do not hide."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from benchmarks.machine import describe_machine
from benchmarks.report import write_results
from benchmarks.timing import Effort, Row, Section, Spread

from benchmarks import run

SECTION = Section("Loops", "None.", "us", [Row("case", "ours", Spread(1.0, 1.0, 1.0))])


@pytest.fixture(autouse=True)
def quiet_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Parts that measure nothing: one has a result, one fails, one has nothing to measure, the rest are quick."""

    def fail(*_: object) -> Section:
        raise RuntimeError("no such scheduler")

    for name in ("networks", "operators", "espirit"):
        monkeypatch.setattr(run, f"compare_{name}", lambda *_: SECTION)
    monkeypatch.setattr(run, "compare_similarities", lambda *_: SECTION)
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


def test_a_part_renews_its_section_and_a_quick_run_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    assert call(monkeypatch, "--only", "espirit") == 0
    assert not page.exists()
    titled = [replace(SECTION, title=title) for title in ("Before", "Loops", "After")]
    facts = {**describe_machine(torch.get_num_threads()), "Date": "long ago"}
    write_results(page, facts, titled, ["anything on a GPU"])
    before = page.read_text(encoding="utf-8")
    assert call(monkeypatch, "--only", "espirit", "--quick") == 0
    assert page.read_text(encoding="utf-8") == before
    assert call(monkeypatch, "--only", "espirit") == 0
    after = page.read_text(encoding="utf-8")
    assert after.count("Measured again: ") == 1
    assert after.index("## Loops") < after.index("Measured again: ") < after.index("## After")
    kept = [line for line in after.splitlines() if not line.startswith("Measured again")]
    assert [line for line in kept if line] == [line for line in before.splitlines() if line]
    assert call(monkeypatch, "--only", "espirit", "--output", str(tmp_path / "part.md")) == 0
    assert (tmp_path / "part.md").exists()


def test_a_page_of_another_machine_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    write_results(page, {**describe_machine(torch.get_num_threads()), "Machine": "a loom"}, [SECTION], [])
    before = page.read_text(encoding="utf-8")
    assert call(monkeypatch, "--only", "espirit") == 0
    assert page.read_text(encoding="utf-8") == before


@pytest.mark.parametrize(("before", "after", "shared"), [(0.2, 1.1, False), (0.1, 2.5, True), (3.0, 1.0, True)])
def test_a_shared_machine_is_said_to_be_one(before: float, after: float, shared: bool) -> None:
    assert ("the machine was shared" in run._shared(before, after)) == shared


def test_every_part_of_the_comparison_is_there() -> None:
    parts = [(name, device) for name, device, _ in run._parts(Effort(), lambda text: None)]
    assert {name for name, device in parts if device == "cpu"} == set(run.PARTS)
