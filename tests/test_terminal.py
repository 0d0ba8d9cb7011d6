"""Progress for log files, and values as JSON types."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skiagraph.terminal import plain, progress


def test_values_become_json_types() -> None:
    value = {"path": Path("a/b"), "array": np.array([1.0, np.nan]), "number": np.float32(2), "pair": (1, float("inf"))}
    assert plain(value) == {"path": "a/b", "array": [1.0, None], "number": 2.0, "pair": [1, None]}


def test_progress_into_a_file_is_a_line_a_quarter(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as tell:
        for done in range(101):
            tell("sampling", done, 100)
        tell("writing", 0, 0)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"sampling: {done} of 100" for done in (0, 25, 50, 75, 100)] + ["writing"]
