"""Progress for log files, and values as JSON types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skiagraph.terminal import plain, progress, show


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


class Outcome:
    """A result with values of every kind."""

    def record(self) -> dict[str, Any]:
        return {
            "digest": "0123456789abcdef" * 8,
            "noise": 0.009295763969421387,
            "learned_variance": True,
            "settings": {"heads": 4, "head_channels": None},
            "messages": ["One sentence.", "Another one."],
            "notes": [],
        }


def test_results_are_shown_in_words_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    show(Outcome(), as_json=False)
    shown = capsys.readouterr().out
    assert "".join(shown.split()).startswith("digest" + "0123456789abcdef" * 8)
    rows = [" ".join(line.split()) for line in shown.splitlines()]
    assert rows[-5:] == [
        "learned variance yes",
        "settings heads 4",
        "messages One sentence.",
        "Another one.",
        "notes -",
    ]
