"""What a training run leaves beside the prior: settings, record and page; and the check of what continues it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from skiagraph.config import dump_yaml, read_yaml, resolved
from skiagraph.errors import InputError
from skiagraph.report import Curve, Highlight, Line, Page, Table, write_page
from skiagraph.tasks.measurement.settings import TrainMeasurementSettings
from skiagraph.tasks.provenance import run_record
from skiagraph.tasks.reconstruct.outputs import write_text

__all__ = ["begin_run", "leave_run"]

FREE = {"output", "name", "licence", "images", "threads", "precision", "batch_size", "microbatch", "log_every"}
FREE |= {"checkpoint_every", "data"}


def begin_run(settings: TrainMeasurementSettings) -> None:
    """Write config.yaml into the run folder; refuse a folder that holds a run which learned something else."""
    file = settings.output / "config.yaml"
    wanted = resolved(settings)
    if file.exists():
        found = read_yaml(file)
        differ = [name for name in wanted if name not in FREE and name in found and found[name] != wanted[name]]
        if differ:
            changes = "; ".join(f"{name}: found {wanted[name]!r}, the run has {found[name]!r}" for name in differ)
            raise InputError(f"{settings.output}: holds another run ({changes}); use another folder, or its settings")
    settings.output.mkdir(parents=True, exist_ok=True)
    write_text(file, dump_yaml(settings))


def leave_run(settings: TrainMeasurementSettings, result: dict[str, Any], prior: dict[str, Any]) -> Path:
    """Write run.json and report.html.

    Args:
        settings: of the run.
        result: what the command returns.
        prior: what the card says of the prior: name, weights, summary.
    """
    folder = settings.output
    summary = {**run_record(), **{name: str(v) if isinstance(v, Path) else v for name, v in result.items()}, **prior}
    write_text(folder / "run.json", json.dumps({**summary, "seed": settings.seed}, indent=2, default=str))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    points = [(line["images"], line["loss"]) for line in lines if isinstance(line.get("loss"), float)]
    cells = [(name, str(value)) for name, value in resolved(settings).items() if value is not None]
    curves: tuple[Curve, ...] = ()
    if points:
        seen, losses = zip(*points, strict=True)
        curves = (Curve("Loss", (Line(seen, losses, "mean of an interval"),), "images seen", "loss"),)
    warnings = [] if not settings.fresh else ["Masks and noise were drawn anew at every step: an ablation."]
    page = Page(
        title=f"Training of {settings.name}",
        provenance="training",
        summary=str(prior["summary"]),
        highlights=(
            Highlight(str(result["images_seen"]), "images seen"),
            Highlight(str(result["training_items"]), "training items"),
            Highlight(f"{result['effective_acceleration']:g}x", "effective acceleration"),
        ),
        warnings=tuple(warnings),
        curves=curves,
        tables=(Table("What was run", ("setting", "value"), tuple(cells), folded=True),),
        footer=f"skiagraph {summary['skiagraph']}, commit {summary['commit'] or 'unknown'}",
    )
    return write_page(page, folder / "report.html")
