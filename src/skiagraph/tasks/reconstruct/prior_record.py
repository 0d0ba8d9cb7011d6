"""What `prior.json` says of a measurement prior."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from skiagraph.tasks.reconstruct.calibrate import Spread
from skiagraph.tasks.reconstruct.checks import training_masks
from skiagraph.tasks.reconstruct.network import KIND
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
    clean = simulate.masks == "full"
    seen = "fully sampled scans" if clean else "undersampled scans alone, one fixed mask each"
    if settings.complete is not None:
        seen += f"; their missing lines were filled by samples of the prior {settings.complete.name!r}"
    return PriorRecord(
        name=settings.name,
        summary=f"Prior for multi-coil k-space reconstruction, learned from {seen}.",
        architecture=ArchitectureRecord(kind=KIND, settings=settings.network.model_dump(mode="json")),
        parametrisation="own",
        sigma_data=settings.network.sigma_data,
        channels=[
            ChannelRecord(name="real", meaning="real part of the coil-combined image"),
            ChannelRecord(name="imaginary", meaning="imaginary part of the coil-combined image"),
        ],
        normalisation=NormalisationRecord(
            method="divide by the 99th percentile of the magnitude of the calibration lines' image", low=-3.0, high=3.0
        ),
        measurement=MeasurementRecord(
            family=f"{simulate.masks if simulate.scans else 'measured'} columns, one fixed mask per scan",
            settings=_mask_settings(settings, scan),
            noise_level=float(scan.noise.mean()),
        ),
        size=[int(rows), int(columns)],
        spacing_mm=spacing,
        data=DataRecord(
            provenance="simulated k-space" if simulate.scans else "measured",
            fingerprint={"scans": len(scan), "sha256_of_kspace": _fingerprint(scan)},
            splits={"train": sorted(simulate.scans) or [Path(file).name for file in settings.data]},
            sources=[_source(record) for record in sources],
        ),
        training=TrainingRecord(
            objective="measurement score with hidden lines and anchors (MeasurementObjective)",
            images_seen=trained.images,
            seeds={"run": settings.seed, "scans": simulate.seed},
            ema=EMARecord(kind="exponential", length=settings.ema_half_life),
            commit=source_commit(),
            settings=settings.model_dump(mode="json", exclude={"output"}),
            command="make prior",
        ),
        licence="Apache-2.0" if simulate.scans else "as the training data",
        limits=_LIMITS,
        extra={
            # New heads are harder than those of training: the samples' own spread is never shrunk.
            "spread": round(max(1.0, spread.factor), 4),
            "spread_on_training_scans": round(spread.factor, 4),
            "spread_slices": spread.slices,
            "spread_lines": spread.lines,
        },
    )


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
