"""One page of a run: what it is, what to beware of, figures, pictures, curves, settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skiagraph.report.curves import Curve, draw_curve
from skiagraph.report.pictures import PictureRow, colour_bar, draw_row

__all__ = ["Cell", "Highlight", "Page", "Table", "render_page"]

Cell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """A table of figures or settings.

    Args:
        title: what it holds.
        columns: heads of the columns.
        rows: cells; numbers are set by `formats`, None and NaN as a dash.
        formats: format of the numbers of each column, e.g. ("", ".2f", ".3f"); shorter is filled with ".4g".
        better: for each column "higher" or "lower" to set its best number in bold, "" for none; may be shorter.
        note: a sentence under the table, e.g. how the figures were taken.
        folded: hide it behind its title until it is opened.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    formats: tuple[str, ...] = ()
    better: tuple[Literal["higher", "lower", ""], ...] = ()
    note: str = ""
    folded: bool = False

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"rows of table {self.title!r}: found {len(row)} cells for {len(self.columns)} columns."
                )
        if max(len(self.formats), len(self.better)) > len(self.columns):
            raise ValueError(
                f"table {self.title!r}: found more formats or directions than its {len(self.columns)} columns."
            )


@dataclass(frozen=True)
class Highlight:
    """One figure to see first.

    Args:
        value: e.g. "+2.1 dB".
        label: what it is.
        note: interval, reference or condition.
    """

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Page:
    """Everything the page shows, in this order.

    Args:
        title: name of the run.
        provenance: what the data are, e.g. "simulated k-space" or "measured"; shown beside the title, and first in the
            caption of every picture that has no tag of its own. Never empty.
        summary: one or two sentences for a reader who reads nothing else.
        highlights: figures to see first.
        warnings: what a reader must know before believing the figures.
        tables: figures first; folded ones are shown at the end of the page.
        rows: pictures.
        curves: small plots.
        footer: e.g. version and date; the page itself adds none.
    """

    title: str
    provenance: str
    summary: str = ""
    highlights: tuple[Highlight, ...] = ()
    warnings: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    rows: tuple[PictureRow, ...] = ()
    curves: tuple[Curve, ...] = ()
    footer: str = ""

    def __post_init__(self) -> None:
        for name in ("title", "provenance"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name}: found nothing; a page says what it shows and where its data come from.")


@dataclass(frozen=True)
class _SetCell:
    """A cell as text, whether it is a number, and whether it is the best of its column."""

    text: str
    number: bool
    best: bool


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _set_table(table: Table) -> list[list[_SetCell]]:
    """The cells of a table, formatted, with the best of each judged column marked (ties all)."""
    formats = (*table.formats, *[""] * (len(table.columns) - len(table.formats)))
    better = (*table.better, *[""] * (len(table.columns) - len(table.better)))
    best: list[float | None] = []
    for column, direction in enumerate(better):
        values = [float(row[column]) for row in table.rows if _is_number(row[column])]  # type: ignore[arg-type]
        finite = [value for value in values if not math.isnan(value)]
        judged = direction and len(finite) > 1
        best.append((max if direction == "higher" else min)(finite) if judged else None)

    def cell(value: Cell, column: int) -> _SetCell:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return _SetCell("–", True, False)
        if not _is_number(value):
            return _SetCell(str(value), False, False)
        plain = "d" if isinstance(value, int) else ".4g"
        return _SetCell(format(value, formats[column] or plain), True, value == best[column])

    return [[cell(value, column) for column, value in enumerate(row)] for row in table.rows]


def render_page(page: Page) -> str:
    """The page as one HTML document: no script, nothing loaded from anywhere, all text escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    tables = [(table, _set_table(table)) for table in page.tables]
    rows = [draw_row(row, page.provenance) for row in page.rows]
    return environment.get_template("page.html.jinja").render(
        page=page,
        open_tables=[item for item in tables if not item[0].folded],
        folded_tables=[item for item in tables if item[0].folded],
        rows=rows,
        bar=colour_bar() if any(row.scale for row in rows) else "",
        curves=[(curve, draw_curve(curve)) for curve in page.curves],
    )
