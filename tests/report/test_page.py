"""The page is one file that loads nothing, runs nothing, escapes everything and says where its data come from."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from skiagraph.report import Curve, Highlight, Line, Page, Picture, PictureRow, Table, render_page, write_page

VOID = {"meta", "img", "input", "br", "link", "hr"}


class _Reader(HTMLParser):
    """Collects elements and text, and checks that every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.stack: list[str] = []
        self.feed(html)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] != "style" and data.strip():
            self.words.append(" ".join(data.split()))


def _page(**changes: object) -> Page:
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    row = PictureRow(
        "slice 3",
        (Picture(ramp, "truth", provenance="measured"), Picture(ramp, "mean", "31.0 dB")),
        (Picture(ramp, "standard deviation", kind="deviation"), Picture(-ramp, "error", kind="error")),
        window=(0.0, 1.0),
    )
    values: dict[str, object] = {
        "title": "A run",
        "provenance": "simulated k-space",
        "summary": "What it shows.",
        "highlights": (Highlight("+2 dB", "over CG-SENSE", "95 % interval"),),
        "warnings": ("Only one head.",),
        "tables": (
            Table("Means", ("method", "PSNR"), (("a", 30.0), ("b", 31.5)), ("", ".1f"), ("", "higher")),
            Table("Settings", ("key", "value"), (("seed", 0),), folded=True),
        ),
        "rows": (row,),
        "curves": (Curve("Reliability", (Line((0.1, 0.9), (0.1, 0.8), "ours"),), "stated", "seen", diagonal=True),),
        "footer": "version 0.1.0",
    }
    return Page(**{**values, **changes})  # type: ignore[arg-type]


def test_everything_is_shown_in_order() -> None:
    words = " ".join(_Reader(render_page(_page())).words)
    order = [
        "A run", "simulated k-space", "What it shows.", "Only one head.", "+2 dB", "Means", "slice 3", "Reliability",
        "stated", "Settings", "version 0.1.0",
    ]  # fmt: skip
    places = [words.index(word) for word in order]
    assert places == sorted(places)


def test_nothing_is_loaded_and_nothing_runs() -> None:
    html = render_page(_page())
    for tag, attributes in _Reader(html).tags:
        assert tag not in {"script", "iframe", "object", "embed", "link", "base", "form"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "href", "xlink:href"}:
                assert str(value).startswith(("data:image/png;base64,", "#"))
    assert "default-src 'none'" in html
    assert not re.search(r"url\(\s*['\"]?(?!#)", html)
    assert "@import" not in html


def test_text_from_outside_is_escaped() -> None:
    evil = "<script>alert('x')</script>"
    picture = Picture(np.eye(4), evil, evil, provenance=evil)
    page = Page(
        evil,
        evil,
        evil,
        (Highlight(evil, evil, evil),),
        (evil,),
        (Table(evil, (evil,), ((evil,),), note=evil),),
        (PictureRow(evil, (picture,), unit=evil),),
        (Curve(evil, (Line((0, 1), (0, 1), evil),), evil, evil, note=evil),),
        evil,
    )
    html = render_page(page)
    assert "<script" not in html
    assert "alert" in " ".join(_Reader(html).words)


def test_provenance_comes_first_in_every_caption() -> None:
    html = render_page(_page())
    captions = re.findall(r'<figcaption><b>(.*?)</b><span class="from">(.*?)</span>(.*?)</figcaption>', html)
    assert captions == [
        ("truth", "measured", ""),
        ("mean", "simulated k-space", "31.0 dB"),
        ("standard deviation", "simulated k-space", ""),
        ("error", "simulated k-space", ""),
    ]
    assert html.count("<figcaption") == 4


def test_best_numbers_are_marked_and_missing_ones_dashed() -> None:
    table = Table(
        "t",
        ("method", "PSNR", "NMSE", "slices"),
        (("a", 30.0, 0.02, 4), ("b", math.nan, 0.01, 4), ("c", 31.26, None, 4)),
        formats=("", ".1f"),
        better=("", "higher", "lower"),
    )
    html = render_page(_page(tables=(table,)))
    assert re.findall(r'<td class="number best">(.*?)</td>', html) == ["0.01", "31.3"]
    assert html.count(">–</td>") == 2
    assert re.findall(r'<td class="number">4</td>', html) == ['<td class="number">4</td>'] * 3


def test_the_same_page_is_the_same_file(tmp_path: Path) -> None:
    one, other = write_page(_page(), tmp_path / "new" / "report.html"), write_page(_page(), tmp_path / "b.html")
    assert one.read_bytes() == other.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.html", "b.npz", "new"]


def test_a_page_of_little_is_a_page() -> None:
    html = render_page(Page("Bare", "measured"))
    assert _Reader(html).words.count("Bare") == 2
    for name in ("Figures", "Pictures", "Curves", "How it was made"):
        assert f"<h2>{name}</h2>" not in html


def test_curves_follow_the_colour_of_the_text() -> None:
    html = render_page(_page())
    assert "currentColor" in html
    assert "#010203" not in html


def test_refusals() -> None:
    with pytest.raises(ValueError, match="provenance: found nothing"):
        _page(provenance=" ")
    with pytest.raises(ValueError, match="found 1 cells for 2 columns"):
        Table("t", ("a", "b"), (("x",),))
    with pytest.raises(ValueError, match="more formats or directions"):
        Table("t", ("a",), (), better=("", "higher"))
    with pytest.raises(ValueError, match="found 2 x and 1 y"):
        Line((0, 1), (0,))
    with pytest.raises(ValueError, match="logarithmic: found 'z'"):
        Curve("c", (Line((0,), (0,)),), "x", "y", logarithmic="z")
    with pytest.raises(ValueError, match="lines of curve"):
        Curve("c", (), "x", "y")
