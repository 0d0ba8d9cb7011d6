"""What `prior.json` says of a measurement prior."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from skiagraph.tasks.reconstruct.calibrate import Spread
from skiagraph.tasks.reconstruct.checks import training_masks
from skiagraph.tasks.reconstruct.network import KIND, load_prior
from skiagraph.tasks.reconstruct.scan import PreparedScan
from skiagraph.tasks.reconstruct.settings import TrainSettings
from skiagraph.training import TrainingResult, source_commit
from skiagraph.training.record import (
    ArchitectureRecord,
    ChannelRecord,
    DataRecord,
    EMARecord,
    MeasurementRecord,
    NormalisationRecord,
    PriorRecord,
    SourceRecord,
    TrainingRecord,
)

__all__ = ["describe_prior"]

_CHANNELS = [
    ChannelRecord(name="real", meaning="real part of the coil-combined image"),
    ChannelRecord(name="imaginary", meaning="imaginary part of the coil-combined image"),
]
_NORMALISATION = NormalisationRecord(
    method="divide by the 99th percentile of the magnitude of the calibration lines' image", low=-3.0, high=3.0
)

_LIMITS = [
    "Not a medical device; not for diagnosis.",
    "Trained on few heads in many simulated positions: anatomy and pathology it never saw may be missed or invented.",
    "Simulated acquisitions have no motion, eddy currents, field inhomogeneity or vendor filtering.",
]


def describe_prior(
    settings: TrainSettings,
    scan: PreparedScan,
    sources: list[dict[str, Any]],
    trained: TrainingResult,
    spread: Spread,
) -> PriorRecord:
    """Everything about the prior but its weights."""
    simulate = settings.simulate
    rows, columns = scan.kspace.shape[-2:]
    step = simulate.field_of_view_mm / simulate.matrix
    spacing = next((record["spacing_mm"] for record in sources if "spacing_mm" in record), [step, step])
    return PriorRecord(
        name=settings.name,
        summary=_summary(settings, scan),
        architecture=ArchitectureRecord(kind=KIND, settings=settings.network.model_dump(mode="json")),
        parametrisation="own",
        sigma_data=settings.network.sigma_data,
        channels=_CHANNELS,
        normalisation=_NORMALISATION,
        measurement=MeasurementRecord(
            family=f"{simulate.masks if simulate.scans else 'measured'} columns, one fixed mask per scan",
            settings=_mask_settings(settings, scan),
            noise_level=float(scan.noise.mean()),
        ),
        size=[int(rows), int(columns)],
        spacing_mm=spacing,
        data=_data(settings, scan, sources),
        training=_training(settings, trained),
        licence="Apache-2.0" if simulate.scans else "as the training data",
        limits=_LIMITS,
        extra=_spread(spread),
    )


def _summary(settings: TrainSettings, scan: PreparedScan) -> str:
    """What the prior learned from, other priors that had a part in it included: "alone" only where none had."""
    whole, total = int(scan.mask.flatten(1).all(1).sum()), len(scan)
    alone = "" if settings.complete or settings.start else " alone"
    seen = f"undersampled scans{alone}, one fixed mask each"
    if whole:
        seen = "fully sampled scans" if whole == total else f"scans, {whole} of {total} slices fully sampled"
    sentences = [f"Prior for multi-coil k-space reconstruction, learned from {seen}."]
    parts: dict[str, str] = {}
    for folder, words in (
        (settings.complete, "The lines that they lack were filled by samples of the prior"),
        (settings.start, "Training started from the weights of the prior"),
    ):
        if folder is not None:
            other = load_prior(folder)[1]
            sentences.append(f"{words} {other.name!r}.")
            parts[other.name] = other.summary
    return " ".join(sentences + [f"({name}: {summary})" for name, summary in parts.items()])


def _data(settings: TrainSettings, scan: PreparedScan, sources: list[dict[str, Any]]) -> DataRecord:
    simulated = settings.simulate.scans
    return DataRecord(
        provenance="simulated k-space" if simulated else "measured",
        fingerprint={"scans": len(scan), "sha256_of_kspace": _fingerprint(scan)},
        splits={"train": sorted(simulated) or [Path(file).name for file in settings.data]},
        sources=[_source(record) for record in sources],
    )


def _training(settings: TrainSettings, trained: TrainingResult) -> TrainingRecord:
    return TrainingRecord(
        objective="measurement score with hidden lines and anchors (MeasurementObjective)",
        images_seen=trained.images,
        seeds={"run": settings.seed, "scans": settings.simulate.seed},
        ema=EMARecord(kind="exponential", length=settings.ema_half_life),
        commit=source_commit(),
        settings=settings.model_dump(mode="json", exclude={"output"}),
        command="skiagraph train --config config.yaml",
    )


def _spread(spread: Spread) -> dict[str, Any]:
    return {
        # New heads are harder than those of training: the samples' own spread is never shrunk.
        "spread": round(max(1.0, spread.factor), 4),
        "spread_on_training_scans": round(spread.factor, 4),
        "spread_slices": spread.slices,
        "spread_lines": spread.lines,
    }


def _mask_settings(settings: TrainSettings, scan: PreparedScan) -> dict[str, Any]:
    """Numbers of the training masks; of measured scans, what the masks show."""
    simulate, effective = settings.simulate, float(1 / scan.mask.mean())
    columns = scan.kspace.shape[-1]
    centre = min(int(scan.centre.min()), columns)
    beyond = (float(scan.mask.mean()) * columns - centre) / max(columns - centre, 1)
    measured = {"acceleration": 1 / max(beyond, 1 / columns), "centre": centre}
    simulated = {"acceleration": simulate.acceleration, "centre": simulate.centre}
    chosen = simulated if simulate.scans else measured
    masks = training_masks(scan)
    return {**chosen, "coils": int(scan.kspace.shape[1]), "effective_acceleration": effective, **masks}


def _fingerprint(scan: PreparedScan) -> str:
    return hashlib.sha256(scan.kspace.numpy().tobytes()).hexdigest()


def _source(record: dict[str, Any]) -> SourceRecord:
    registry, _, archive = str(record.get("archive", "")).partition(": ")
    package, _, version = archive.partition(" ")
    return SourceRecord(
        name=str(record.get("name", "")),
        package=package or None,
        version=version or None,
        registry=registry or None,
        licence=str(record.get("licence", "not stated")),
        sha256=record.get("sha256"),
        remark=str(record.get("remark", "")),
    )
