"""What a training run leaves beside the prior: settings, record and page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skiagraph.report import Highlight
from skiagraph.tasks.measurement.settings import TrainMeasurementSettings
from skiagraph.tasks.training_run import leave_training

__all__ = ["leave_run"]


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
