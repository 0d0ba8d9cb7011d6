"""What a person at a terminal sees: progress on stderr, results on stdout, and the same results as JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from skiagraph.tasks.progress import OnProgress

__all__ = ["CommandResult", "plain", "print_json", "progress", "show"]


@runtime_checkable
class CommandResult(Protocol):
    """What a command returns; a result that also has `__rich__` says itself how it is shown to a person."""

    def record(self) -> dict[str, Any]:
        """Return the result as names and values."""
        ...


def plain(value: Any) -> Any:
    """Return a value as JSON types: paths as text, arrays as lists, infinite and undefined numbers as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object to stdout."""
    print(json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False))


def show(result: CommandResult, *, as_json: bool) -> None:
    """Print a command's result: as JSON, or by its own `__rich__`, or as a table of names and values."""
    if as_json:
        print_json(result.record())
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    if hasattr(result, "__rich__"):
        console.print(result)
        return
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in plain(result.record()).items():
        table.add_row(name.replace("_", " "), _words(value))
    console.print(table)


def _words(value: Any) -> str:
    """A value for a person: a list of texts line by line, names with their values in a row, nothing as a dash."""
    if isinstance(value, list) and any(isinstance(item, str) for item in value):
        return "\n".join(_words(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(item)}" for name, item in value.items() if item is not None)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is None or value == []:
        return "-"
    return value if isinstance(value, str) else json.dumps(value)


@contextmanager
def progress() -> Iterator[OnProgress]:
    """Show progress on stderr: bars at a terminal, else a line a quarter of each stage (for log files)."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        stages: dict[str, TaskID] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total or None)
            bars.update(stages[stage], completed=done, total=total or None)

        yield advance


class _Lines:
    """Progress for a file: a stage's name when it starts, then each quarter of it, once."""

    def __init__(self) -> None:
        self._quarters: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        quarter = 4 * done // total if total else 0
        if quarter > self._quarters.get(stage, -1):
            self._quarters[stage] = quarter
            amount = f": {done} of {total}" if total else ""
            print(f"{stage}{amount}", file=sys.stderr, flush=True)
