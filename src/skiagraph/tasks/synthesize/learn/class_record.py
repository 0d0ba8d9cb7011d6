"""What prior.json says of a class-conditional prior."""

from __future__ import annotations

from collections.abc import Mapping

from skiagraph.data.labelled_split import ImageSplit
from skiagraph.networks.unet import UNetConfig
from skiagraph.tasks.synthesize.learn.runs import data_record, normalisation, training_record
from skiagraph.tasks.synthesize.learn.settings import ClassPriorSettings
from skiagraph.training import TrainingSettings, unet_architecture
from skiagraph.training.record import ArchitectureRecord, ChannelRecord, PriorRecord, ScheduleRecord, TimeRecord

__all__ = ["LIMITS", "describe_class_prior"]

LIMITS = (
    "Not a medical device; not for diagnosis.",
    "Images drawn from it are synthetic, their labels are intentions and no clinical truth.",
    "Audit what is drawn for copies of training images before it leaves the house (`skiagraph audit`).",
)


def describe_class_prior(
    settings: ClassPriorSettings,
    split: ImageSplit,
    config: UNetConfig,
    images: int,
    loop: TrainingSettings,
    figures: Mapping[str, float],
) -> PriorRecord:
    """Everything about the prior but its weights.

    Args:
        settings: of the run.
        split: the data and their split.
        config: the network.
        images: images seen.
        loop: what the loop was told.
        figures: measured figures by name.
    """
    data = split.images
    names = ("red", "green", "blue") if data.channels == 3 else ("intensity",)
    loss = {"eps": "squared error of the noise", "p2": "squared error of the noise times sqrt(1 - abar)"}
    return PriorRecord(
        name=settings.name,
        summary=f"Class-conditional U-Net prior of {len(data.classes)} classes, from {len(split.split.train)} images.",
        architecture=ArchitectureRecord.model_validate(unet_architecture(config)),
        parametrisation="eps",
        learned_variance=settings.variational != 0,
        schedule=ScheduleRecord(kind="linear_table", settings={"steps": 1000}),
        time=TimeRecord(kind="original_index"),
        channels=[ChannelRecord(name=name, meaning=f"{name} of the picture") for name in names],
        normalisation=normalisation(settings),
        classes=list(data.classes),
        conditions=["label"],
        size=list(data.size),
        spacing_mm=[settings.spacing_mm, settings.spacing_mm],
        data=data_record(settings, split),
        training=training_record(settings, f"{loss[settings.weight]}, variational term", images, loop.ema_half_life),
        licence=settings.licence,
        figures=dict(figures),
        limits=list(LIMITS),
        extra={
            "trained_times": settings.levels,
            "label_dropout": settings.label_dropout,
            "sampling": settings.sampling,
        },
    )
