"""What the three training commands share: the loop's settings, the run folder, and what is written of the data."""

from __future__ import annotations

from skiagraph.data.labelled_split import ImageSplit
from skiagraph.data.splits import SIDES
from skiagraph.tasks import training_start
from skiagraph.tasks.synthesize.learn.data import provenance_of
from skiagraph.tasks.synthesize.learn.settings import LearnSettings
from skiagraph.training import TrainingSettings, source_commit
from skiagraph.training.record import DataRecord, EMARecord, NormalisationRecord, SourceRecord, TrainingRecord

__all__ = ["begin_run", "data_record", "loop_settings", "normalisation", "training_record", "warnings_of"]


def loop_settings(settings: LearnSettings) -> TrainingSettings:
    """What the loop is told."""
    return training_start.loop_settings(settings, weight_decay=settings.weight_decay)


def begin_run(settings: LearnSettings) -> None:
    """Write config.yaml into the run folder; refuse a folder that holds a run with other settings."""
    training_start.begin_run(settings, settings.output, training_start.FREE | {"table", "split"})


def normalisation(settings: LearnSettings) -> NormalisationRecord:
    """How intensities became [-1, 1]."""
    if settings.window is not None:
        method, numbers = "a stated window to [-1, 1], clipped", {"window": list(settings.window)}
        return NormalisationRecord(method=method, low=-1, high=1, settings=numbers)
    return NormalisationRecord(method="the whole range of the bit depth to [-1, 1]", low=-1, high=1)


def data_record(settings: LearnSettings, split: ImageSplit) -> DataRecord:
    """What the network learned from, counted: names of patients and files stay in split.json, out of the card."""
    found = provenance_of(settings.data)
    images = split.images
    source = SourceRecord(
        name=str(found.get("set", settings.data.name)),
        package=str(found["archive"]) if "archive" in found else None,
        licence=str(found.get("licence", settings.licence)),
        sha256=found.get("sha256"),
        remark=str(found.get("remark", "")),
    )
    shown = {
        side: [f"{len(heads)} {split.split.kind}s"] if (heads := split.split.heads_of(side)) else [] for side in SIDES
    }
    return DataRecord(
        provenance=str(found.get("provenance", "labelled images, as their owner states")),
        fingerprint={"images": len(images), "sha256": images.fingerprint(), "counts": dict(split.counts)},
        splits=shown,
        sources=[source],
    )


def training_record(settings: LearnSettings, objective: str, images: int, half_life: int | None) -> TrainingRecord:
    """The run that made the weights."""
    return TrainingRecord(
        objective=objective,
        images_seen=images,
        seeds={"run": settings.seed},
        ema=EMARecord(kind="exponential", length=half_life),
        commit=source_commit(),
        settings=settings.model_dump(mode="json", exclude={"output", "data", "table", "split"}),
        command=f"skiagraph train {getattr(settings, 'task', '')}",
    )


def warnings_of(settings: LearnSettings, split: ImageSplit) -> list[str]:
    """What a reader must know of the data."""
    found = []
    if split.images.patients is None:
        found.append("No patient identifiers: the split is by image, and one patient's images may stand on two sides.")
    if settings.augment.flip != "none":
        found.append(f"Training images were mirrored ({settings.augment.flip}): side is not part of what was learned.")
    return found
