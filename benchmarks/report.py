"""Results as a table on the terminal and as RESULTS.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.timing import Section, Spread

__all__ = ["print_section", "renew_results", "write_results"]

_UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6}


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _cost(value: Spread, unit: str) -> str:
    factor = _UNITS[unit]
    return f"{_number(factor * value.median)} [{_number(factor * value.low)}, {_number(factor * value.high)}]"


def _ratio(value: Spread | None) -> str:
    return "1" if value is None else f"{value.median:.2f} [{value.low:.2f}, {value.high:.2f}]"


def _header(section: Section) -> list[str]:
    return ["case", "contestant", f"time ({section.unit})", "time / first contestant", *section.extra]


def _cells(section: Section) -> list[list[str]]:
    lines, previous = [], ""
    for row in section.rows:
        shown = "" if row.case == previous else row.case
        previous = row.case
        lines.append([shown, row.contestant, _cost(row.cost, section.unit), _ratio(row.ratio), *row.notes])
    return lines


def print_section(console: Console, section: Section) -> None:
    """Show one section on the terminal."""
    table = Table(*_header(section), title=section.title)
    for cells in _cells(section):
        table.add_row(*cells)
    console.print(table)
    for remark in section.remarks:
        console.print(remark)


def _markdown(section: Section) -> list[str]:
    header = _header(section)
    lines = [f"## {section.title}", "", section.setting, "", _line(header), _line(["---"] * len(header))]
    lines += [_line(cells) for cells in _cells(section)]
    for remark in section.remarks:
        lines += ["", remark]
    return [*lines, ""]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def write_results(path: Path, facts: dict[str, str], sections: Sequence[Section], omitted: Sequence[str]) -> None:
    """Write the page, under a temporary name first.

    Args:
        path: RESULTS.md.
        facts: machine, date, versions, command.
        sections: what was measured.
        omitted: what was not, with the reason.
    """
    lines = [
        "# Benchmarks",
        "",
        "Written by the command below; do not edit. Median [quartiles] over repeats. In every repeat all contestants "
        "of a case run once, in a shuffled order; ratios are taken within a repeat, so drift of the machine cancels. "
        "A ratio above 1 means that the first contestant, ours, is faster.",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
    ]
    for section in sections:
        lines += _markdown(section)
    if omitted:
        lines += ["## Not measured", "", *(f"- {reason}" for reason in omitted), ""]
    _write(path, "\n".join(lines))


def renew_results(path: Path, facts: dict[str, str], sections: Sequence[Section]) -> str:
    """Replace sections of a page by new measurements of theirs, add those it lacks; return why not, or nothing.

    Args:
        path: RESULTS.md of an earlier run of all parts.
        facts: those of this run; the machine and the versions must be those of the page.
        sections: what was measured.
    """
    if not path.exists():
        return f"{path}: there is no page of a whole run yet"
    text = path.read_text(encoding="utf-8")
    head, *blocks = text.split("\n## ")
    for name in ("Machine", "GPU", "Versions", "Threads"):
        if f"- {name}: {facts[name]}" not in head.splitlines():
            return f"{path}: the page has other {name.lower()}; measure all parts"
    stamp = f"Measured again: {facts['Date']}, commit {facts['Commit']}, load {facts['Load before and after']}."
    for section in sections:
        places = [place for place, block in enumerate(blocks) if block.split("\n", 1)[0] == section.title]
        lines = _markdown(replace(section, remarks=(*section.remarks, stamp)))
        block = "\n".join(lines).removeprefix("## ")
        place = places[0] if places else len(blocks)
        blocks[place : place + 1] = [block]
    _write(path, "\n## ".join([head, *blocks]))
    return ""


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    temporary.replace(path)
