"""A CSV table of files and labels, with patients and sides of a split where it has them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from skiagraph.data.files import existing_file
from skiagraph.data.image_readers import format_of
from skiagraph.data.labelled_files import LabelledFile
from skiagraph.errors import DataError, InputError

__all__ = ["TABLE_NAME", "read_column", "read_table"]

TABLE_NAME = "labels.csv"
COLUMNS = ("file", "label", "patient", "split")
SIDES = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "test": "test"}
SIDES |= {"validation": "validation", "held-out": "test"}


def read_table(table: Path, root: Path, columns: Mapping[str, str]) -> list[LabelledFile]:
    """Read a table with a header line; other columns are allowed and not read.

    Args:
        table: the CSV file, commas or semicolons.
        root: folder that its file names are relative to. Images below it that no row names are an error.
        columns: the table's own names for file, label, patient, split.
    """
    unknown = sorted(set(columns) - set(COLUMNS))
    if unknown:
        raise InputError(f"columns: found {unknown}, allowed: {', '.join(COLUMNS)}")
    present, rows = _rows(table)
    names = {name: columns.get(name, name) for name in COLUMNS}
    for name in COLUMNS:
        if names[name] not in present and (name in ("file", "label") or name in columns):
            raise DataError(
                f"{table} has the columns {present}; {names[name]!r} ({name}) is missing. Name it in columns"
            )
    files = [_row(table, number, row, names) for number, row in enumerate(rows, start=2)]
    if not files:
        raise DataError(f"{table} holds a header but no row")
    _check_files(table, root, files)
    return files


def read_column(place: Path, column: str) -> dict[str, str]:
    """Read one more column of a labelled set's table, by file name; empty cells are refused.

    Args:
        place: the table, or the folder that holds it as `labels.csv`.
        column: its name.
    """
    table = place / TABLE_NAME if place.is_dir() else place
    if table.suffix.lower() != ".csv" or not table.is_file():
        raise DataError(f"{place} has no table ({TABLE_NAME}), so no column {column!r}; add one with a row an image")
    present, rows = _rows(table)
    for name in ("file", column):
        if name not in present:
            raise DataError(f"{table} has the columns {present}; {name!r} is missing")
    found = {Path((row["file"] or "").strip()).as_posix(): (row[column] or "").strip() for row in rows}
    empty = [name for name, value in found.items() if not value]
    if empty:
        raise DataError(f"{table}: {column} is empty for {len(empty)} files, such as {empty[0]!r}; fill the column")
    return found


def _rows(table: Path) -> tuple[list[str], list[dict[str, str | None]]]:
    """The columns of a table, and its rows."""
    try:
        text = existing_file(table, "a CSV table of files and labels").read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{table} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    head = text.splitlines()[0]
    rows = list(csv.DictReader(text.splitlines(), delimiter=";" if head.count(";") > head.count(",") else ","))
    return (list(rows[0]) if rows else [word.strip() for word in head.split(",")]), rows


def _row(table: Path, number: int, row: Mapping[str, str | None], names: Mapping[str, str]) -> LabelledFile:
    values = {name: (row.get(column) or "").strip() for name, column in names.items()}
    for name in ("file", "label"):
        if not values[name]:
            raise DataError(f"{table}, line {number}: {names[name]} is empty; every row names a file and its label")
    for name in ("patient", "split"):
        if names[name] in row and not values[name]:
            raise DataError(f"{table}, line {number}: {names[name]} is empty; fill the column or remove it")
    side = values["split"].lower()
    if side and side not in SIDES:
        raise DataError(f"{table}, line {number}: {names['split']} is {side!r}; allowed: train, validation, test")
    file = Path(values["file"])
    if file.is_absolute() or ".." in file.parts:
        raise DataError(f"{table}, line {number}: {values['file']!r} leaves the folder; give paths relative to it")
    return LabelledFile(file.as_posix(), values["label"], values["patient"] or None, SIDES.get(side))


def _check_files(table: Path, root: Path, files: list[LabelledFile]) -> None:
    """Refuse rows without a file, files named twice and images without a row."""
    named = [file.name for file in files]
    twice = sorted({name for name in named if named.count(name) > 1}) if len(set(named)) < len(named) else []
    if twice:
        raise DataError(f"{table} names {twice[:3]} more than once; every file has one row and one label")
    missing = [name for name in named if not (root / name).is_file()]
    if missing:
        raise DataError(f"{table}: {len(missing)} of {len(named)} files are not in {root}, such as {missing[:3]}")
    inside = (item for item in root.rglob("*") if item.is_file() and format_of(item) is not None)
    extra = sorted({item.relative_to(root).as_posix() for item in inside} - set(named))
    if extra:
        raise DataError(
            f"{root}: {len(extra)} images have no label in {table}, such as {extra[:3]}; add rows or move them away"
        )
