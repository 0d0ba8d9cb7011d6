"""What prior.json says of a measurement-score prior with a U-Net."""

from __future__ import annotations

from skiagraph.networks.unet import UNetConfig
from skiagraph.tasks.measurement.items import TrainingData, sees_mask
from skiagraph.tasks.measurement.priors import MASK_CHANNEL, PARTS
from skiagraph.tasks.measurement.settings import TrainMeasurementSettings
from skiagraph.training import source_commit, unet_architecture
from skiagraph.training.record import (
    ArchitectureRecord,
    ChannelRecord,
    DataRecord,
    EMARecord,
    MeasurementRecord,
    NormalisationRecord,
    PriorRecord,
    ScheduleRecord,
    SourceRecord,
    TimeRecord,
    TrainingRecord,
)

__all__ = ["describe_measurement_prior"]

LISTED = 1000
LIMITS = ("Not a medical device; not for diagnosis.", "Images drawn from it are synthetic.")
FRESH = "Trained with masks drawn anew at every step, which no real undersampled data set offers."


def describe_measurement_prior(
    settings: TrainMeasurementSettings,
    data: TrainingData,
    config: UNetConfig,
    images: int,
    half_life: int | None,
    acceleration: float,
) -> PriorRecord:
    """Everything about the prior but its weights.

    Args:
        settings: the run's.
        data: what it learned from.
        config: the network.
        images: images seen.
        half_life: of the averaged weights, in images.
        acceleration: entries over observed entries, on average.
    """
    seen = f"masked measurements alone, {_regime(settings)}"
    predicts = "eps" if settings.objective == "reference" else settings.predicts
    return PriorRecord(
        name=settings.name,
        summary=f"U-Net prior learned from {'whole images' if settings.mask.family == 'none' else seen}.",
        architecture=ArchitectureRecord.model_validate(unet_architecture(config)),
        parametrisation=predicts or ("v" if settings.kind == "k-space" else "eps"),
        schedule=ScheduleRecord(kind="linear_table", settings={"steps": 1000}),
        time=TimeRecord(kind="original_index"),
        channels=_channels(settings, data),
        normalisation=NormalisationRecord(method=data.normalisation, low=-1.0, high=1.0),
        concatenated=[MASK_CHANNEL] if sees_mask(settings) else [],
        measurement=_measurement(settings, acceleration),
        size=list(data.size),
        spacing_mm=list(data.spacing_mm),
        data=_data_record(settings, data),
        training=_training(settings, images, half_life),
        licence=settings.licence,
        limits=[*LIMITS, *([FRESH] if settings.fresh else [])],
        extra={"training_levels": settings.steps, **({"mask_bank": data.bank.record()} if data.bank else {})},
    )


def _training(settings: TrainMeasurementSettings, images: int, half_life: int | None) -> TrainingRecord:
    return TrainingRecord(
        objective=f"measurement score, {settings.objective} form, {settings.steps}",
        images_seen=images,
        seeds={"run": settings.seed},
        ema=EMARecord(kind="exponential", length=half_life),
        commit=source_commit(),
        settings=settings.model_dump(mode="json", exclude={"output", "data"}),
        command="skiagraph train measurement-score --config config.yaml",
    )


def _regime(settings: TrainMeasurementSettings) -> str:
    return "masks and noise drawn anew at every step" if settings.fresh else "one fixed mask and noise draw an item"


def _measurement(settings: TrainMeasurementSettings, acceleration: float) -> MeasurementRecord | None:
    if settings.mask.family == "none":
        return None
    mask = settings.mask.model_dump(mode="json", exclude_none=True)
    return MeasurementRecord(
        family=f"{settings.mask.family} masks, {_regime(settings)}",
        settings={"mask": mask, "effective_acceleration": round(acceleration, 6), "fresh": settings.fresh},
        noise_level=settings.noise_std,
    )


def _channels(settings: TrainMeasurementSettings, data: TrainingData) -> list[ChannelRecord]:
    if settings.kind == "k-space":
        return [ChannelRecord(name=name, meaning=f"{name} part of the coil-combined image") for name in PARTS]
    names = ("red", "green", "blue") if data.channels == 3 else ("intensity",)
    return [ChannelRecord(name=name, meaning=f"{name} of the picture") for name in names]


def _data_record(settings: TrainMeasurementSettings, data: TrainingData) -> DataRecord:
    splits = {"train": data.names, "held out": data.held_out}
    shown = {
        side: names if len(names) <= LISTED else [*names[:3], f"... {len(names)} in all ...", *names[-3:]]
        for side, names in splits.items()
    }
    provenance = "measured"
    if settings.mask.family != "own" or settings.kspace == "combined":
        provenance = "complete data, masked here" if settings.mask.family != "none" else "complete data"
    return DataRecord(
        provenance=provenance,
        fingerprint={"items": len(data.names)},
        splits=shown,
        sources=[SourceRecord(name=place.name, licence=settings.licence) for place in settings.data],
    )
