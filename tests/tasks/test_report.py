"""The command `report`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skiagraph.cli import main
from skiagraph.report import Page, render_page
from skiagraph.report.kept import keep_page


def test_page_of_a_run_is_written_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = Page("A run", "measured", "All of it.")
    keep_page(page, tmp_path / "report.npz")
    assert main(["report", str(tmp_path), "--json"]) == 0
    path = Path(json.loads(capsys.readouterr().out)["page"])
    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8") == render_page(page)


def test_folders_without_a_run_are_data_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 3
    assert "holds no report.npz" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "gone")]) == 3
    assert "does not exist" in capsys.readouterr().err
