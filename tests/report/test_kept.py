"""A page kept on disk is written again byte for byte, and other files are refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from skiagraph.errors import DataError
from skiagraph.report import Curve, Highlight, Line, Page, Picture, PictureRow, Table, render_page, write_page
from skiagraph.report.kept import kept_page


def page() -> Page:
    """One of everything."""
    ramp = np.linspace(0, 1, 63, dtype=np.float32).reshape(7, 9)
    row = PictureRow(
        "slice 3",
        (Picture(ramp, "truth"), Picture(ramp[::-1] ** 2, "mean", "31 dB")),
        (None, Picture(ramp - 0.2, "error", kind="error")),
        window=(0.0, 0.9),
    )
    return Page(
        "A run",
        "simulated k-space",
        "Words with <signs> & ümlauts.",
        highlights=(Highlight("+2 dB", "gain"),),
        warnings=("Beware.",),
        tables=(Table("Figures", ("method", "dB", "n"), (("a", 30.25, 3), ("b", math.nan, None)), ("", ".1f")),),
        rows=(row,),
        curves=(Curve("Loss", (Line((1, 2, 4), np.array([3.0, 2.0, 1.5]).tolist(), "loss"),), "images", "loss"),),
    )


def test_kept_page_is_written_again_byte_for_byte(tmp_path: Path) -> None:
    path = write_page(page(), tmp_path / "report.html")
    assert render_page(kept_page(tmp_path / "report.npz")) == path.read_text(encoding="utf-8")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        kept_page(tmp_path / "gone.npz")
    (tmp_path / "text.npz").write_text("no page", encoding="utf-8")
    with pytest.raises(DataError, match="not the kept content"):
        kept_page(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(DataError, match="not the kept content"):
        kept_page(tmp_path / "other.npz")
    np.savez(tmp_path / "list.npz", content=np.frombuffer(b"[1]", dtype=np.uint8))
    with pytest.raises(DataError, match="tuple, not a page"):
        kept_page(tmp_path / "list.npz")
    np.savez(tmp_path / "pickle.npz", content=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="not the kept content"):
        kept_page(tmp_path / "pickle.npz")
