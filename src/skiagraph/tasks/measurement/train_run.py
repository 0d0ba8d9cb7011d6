"""What a training run leaves beside the prior: settings, record and page; and the check of what continues it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skiagraph.config import dump_yaml, read_yaml, resolved
from skiagraph.errors import InputError
from skiagraph.report import Highlight
from skiagraph.tasks.measurement.settings import TrainMeasurementSettings
from skiagraph.tasks.reconstruct.outputs import write_text
from skiagraph.tasks.training_run import leave_training

__all__ = ["begin_run", "leave_run"]

FREE = {"output", "name", "licence", "images", "threads", "precision", "batch_size", "microbatch", "log_every"}
FREE |= {"checkpoint_every", "data"}


def begin_run(settings: TrainMeasurementSettings) -> None:
    """Write config.yaml into the run folder; refuse a folder that holds a run which learned something else."""
    file = settings.output / "config.yaml"
    wanted = resolved(settings)
    if file.exists():
        found = read_yaml(file)
        shared = [name for name in wanted if name not in FREE and name in found]
        differ = [name for name in shared if not _alike(found[name], wanted[name])]
        if differ:
            changes = "; ".join(f"{name}: found {wanted[name]!r}, the run has {found[name]!r}" for name in differ)
            raise InputError(f"{settings.output}: holds another run ({changes}); use another folder, or its settings")
    settings.output.mkdir(parents=True, exist_ok=True)
    write_text(file, dump_yaml(settings))


def _alike(found: Any, wanted: Any) -> bool:
    """Whether two settings agree; keys of a section that only one version of the program knows don't count."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return all(_alike(found[name], wanted[name]) for name in found.keys() & wanted.keys())
    return bool(found == wanted)


def leave_run(settings: TrainMeasurementSettings, result: dict[str, Any], prior: dict[str, Any]) -> Path:
    """Write run.json and report.html.

    Args:
        settings: of the run.
        result: what the command returns.
        prior: what the card says of the prior: name, weights, summary.
    """
    fresh = ["Masks and noise were drawn anew at every step: an ablation."] if settings.fresh else []
    return leave_training(
        settings.output,
        settings,
        {**result, **prior, "seed": settings.seed},
        title=f"Training of {settings.name}",
        summary=str(prior["summary"]),
        highlights=(
            Highlight(str(result["images_seen"]), "images seen"),
            Highlight(str(result["training_items"]), "training items"),
            Highlight(f"{result['effective_acceleration']:g}x", "effective acceleration"),
        ),
        warnings=[*fresh, *result["warnings"]],
    )
