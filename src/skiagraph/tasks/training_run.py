"""What a training run returns, and what it leaves beside the prior: run.json, a page with its curve and settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from skiagraph.config import Settings, resolved
from skiagraph.report import Curve, Highlight, Line, Page, PictureRow, Table, write_page
from skiagraph.tasks.provenance import run_record
from skiagraph.tasks.reconstruct.outputs import write_text
from skiagraph.training import TrainingResult

__all__ = ["TrainedPrior", "leave_training"]


@dataclass(frozen=True)
class TrainedPrior:
    """What a training command made.

    Args:
        prior: folder of the prior.
        images: images seen.
        seconds: seconds of training.
        loss: last logged loss.
    """

    prior: Path
    images: int
    seconds: float
    loss: float

    @classmethod
    def of(cls, folder: Path, trained: TrainingResult, **more: Any) -> Self:
        """The result of a run of the loop; `more` are the further fields of a subclass."""
        return cls(folder, trained.images, trained.seconds, float(trained.last.get("loss", float("nan"))), **more)

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            "prior": self.prior,
            "images_seen": self.images,
            "seconds": round(self.seconds, 1),
            "last_loss": self.loss,
        }


def leave_training(
    folder: Path,
    settings: Settings,
    result: Mapping[str, Any],
    *,
    title: str,
    summary: str,
    highlights: Sequence[Highlight] = (),
    warnings: Sequence[str] = (),
    curves: Sequence[Curve] = (),
    tables: Sequence[Table] = (),
    rows: Sequence[PictureRow] = (),
) -> Path:
    """Write run.json and report.html into the folder of a finished training run; return the page.

    Args:
        folder: of the prior; holds metrics.jsonl.
        settings: of the run; all of them stand on the page.
        result: names and values for run.json, beside versions, commit and machine.
        title: of the page.
        summary: what the prior is, in a sentence or two.
        highlights: figures for the head of the page.
        warnings: what a user of the prior must know.
        curves, tables, rows: further curves, tables and pictures for the page.
    """
    record = {**run_record(), **{name: str(v) if isinstance(v, Path) else v for name, v in result.items()}}
    write_text(folder / "run.json", json.dumps(record, indent=2, default=str))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    points = [(line["images"], line["loss"]) for line in lines if isinstance(line.get("loss"), float)]
    cells = [(name, str(value)) for name, value in resolved(settings).items() if value is not None]
    loss: tuple[Curve, ...] = ()
    if points:
        seen, losses = zip(*points, strict=True)
        loss = (Curve("Loss", (Line(seen, losses, "mean of an interval"),), "images seen", "loss"),)
    page = Page(
        title=title,
        provenance="training",
        summary=summary,
        highlights=tuple(highlights),
        warnings=tuple(warnings),
        curves=(*loss, *curves),
        rows=tuple(rows),
        tables=(
            *tables,
            Table("What was run", ("setting", "value"), tuple(cells), folded=True),
        ),
        footer=f"skiagraph {record['skiagraph']}, commit {record['commit'] or 'unknown'}",
    )
    return write_page(page, folder / "report.html")
