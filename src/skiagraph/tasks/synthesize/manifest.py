"""manifest.csv: one row an image, written as images are, so that a run that is killed can go on."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skiagraph.data.files import write_refusal, write_whole
from skiagraph.errors import DataError

__all__ = ["COLUMNS", "Manifest", "columns"]

COLUMNS = (
    *(
        "id",
        "file",
        "kept",
        "reason",
        "label",
        "label_index",
        "number",
        "seed",
        "source",
        "source_label",
        "before_file",
    ),
    *("mode", "preset", "measure", "scale", "measure_before", "measure_after", "log_odds_before", "log_odds_after"),
    *("entropy_before", "entropy_after", "limited_share", "outside_share", "network_calls", "classifier_calls"),
    *("guide_rank_before", "guide_rank_after", "judge_label", "judge_rank", "judge_entropy"),
    *("judge_label_before", "judge_rank_before"),
    *("nearest_real", "nearest_distance", "feature_distance", "moved"),
)
"""Columns before the judge's probabilities."""


def columns(classes: Sequence[str]) -> tuple[str, ...]:
    """All columns: `COLUMNS`, then the judge's probability of each class."""
    return (*COLUMNS, *(f"judge_p_{name}" for name in classes))


class Manifest:
    """The rows of a run, on disk at every moment.

    Rows are appended after their images are written. A last line that a killed run left unfinished is dropped when the
    file is opened; its image is drawn again, to the same pixels.

    Args:
        path: the file.
        classes: names of the classes, in the prior's order.
    """

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        self.path = path
        self.columns = columns(classes)
        self.rows: dict[str, dict[str, str]] = {}
        if path.exists():
            self._read()
        else:
            write_whole(path, self._text([dict(zip(self.columns, self.columns, strict=True))]))

    def _read(self) -> None:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        reader = csv.DictReader(io.StringIO(whole.decode("utf-8"), newline=""))
        if tuple(reader.fieldnames or ()) != self.columns:
            raise DataError(
                f"{self.path}: its columns are not those of this run (found {len(reader.fieldnames or ())} columns for "
                f"{len(self.columns)}); it belongs to another version or run. Choose another output folder"
            )
        for row in reader:
            self.rows[row["id"]] = row
        if len(whole) < len(content):
            write_whole(self.path, whole)

    def _text(self, rows: Sequence[Mapping[str, Any]]) -> bytes:
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerows([[_cell(row.get(name)) for name in self.columns] for row in rows])
        return buffer.getvalue().encode("utf-8")

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows, all of them or none; they are on disk when this returns."""
        text = self._text(rows)
        before = self.path.stat().st_size
        try:
            with open(self.path, "ab") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            os.truncate(self.path, before)
            raise DataError(write_refusal(self.path, error)) from error
        for row in rows:
            self.rows[str(row["id"])] = {name: _cell(row.get(name)) for name in self.columns}

    def drop(self, names: Sequence[str]) -> None:
        """Forget images by their ids, such as those whose file is gone."""
        if names:
            self.rows = {name: row for name, row in self.rows.items() if name not in set(names)}
            self.finish()

    def finish(self) -> None:
        """Write the file again in the order of classes and numbers."""
        ordered = sorted(self.rows.values(), key=lambda row: (int(row["label_index"]), int(row["number"])))
        self.rows = {row["id"]: row for row in ordered}
        head = dict(zip(self.columns, self.columns, strict=True))
        write_whole(self.path, self._text([head, *ordered]))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)
