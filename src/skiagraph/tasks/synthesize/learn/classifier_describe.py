"""What classifier.json says of a classifier, and which network it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skiagraph.data.labelled import LabelledImages
from skiagraph.data.labelled_split import ImageSplit
from skiagraph.errors import InputError
from skiagraph.networks.classifier import ClassifierConfig
from skiagraph.tasks.synthesize.learn.rounds import Trained
from skiagraph.tasks.synthesize.learn.runs import data_record, loop_settings, normalisation, training_record
from skiagraph.tasks.synthesize.learn.settings import ClassifierSettings, EncoderSettings, NoisyClassifierSettings
from skiagraph.training.classifier_networks import encoder_architecture, monai_architecture
from skiagraph.training.classifier_record import ClassifierRecord
from skiagraph.training.record import ArchitectureRecord, ScheduleRecord

__all__ = ["classifier_architecture", "describe_classifier"]

_TABLE = ScheduleRecord(kind="linear_table", settings={"steps": 1000})
TIME_CHANNELS = 16
LIMITS = (
    "Not a medical device; not for diagnosis.",
    "Probabilities are calibrated on images like the validation images only.",
)


def classifier_architecture(wanted: EncoderSettings, images: LabelledImages, noisy: bool) -> dict[str, Any]:
    """The architecture entry of a record for the network that settings describe, for these images, noised or clean."""
    classes = len(images.classes)
    if wanted.kind != "encoder":
        told = TIME_CHANNELS if noisy else 0
        return monai_architecture(wanted.kind, images.channels, classes, wanted.channels, wanted.dropout, told)
    factors = tuple(wanted.multipliers or (1.0, 2.0, 3.0))
    largest = 16 if wanted.attention is None else wanted.attention
    sides = [max(images.size) / 2**level for level in range(len(factors))]
    try:
        config = ClassifierConfig(
            in_channels=images.channels,
            out_channels=classes,
            channels=wanted.channels,
            multipliers=factors,
            residual_blocks=wanted.residual_blocks or 1,
            attention_downsamplings=tuple(2**level for level, side in enumerate(sides) if 4 <= side <= largest),
            head_channels=wanted.head_channels or 32,
            residual_resampling=True,
            dropout=wanted.dropout,
            groups=16,
            image_size=images.size,
        )
    except ValueError as error:
        raise InputError(f"network: {error}") from None
    return encoder_architecture(config)


def describe_classifier(
    settings: NoisyClassifierSettings | ClassifierSettings,
    split: ImageSplit,
    architecture: Mapping[str, Any],
    trained: Trained,
    temperature: float,
    figures: Mapping[str, Any],
    rows: Sequence[Mapping[str, float]],
    edges: Sequence[int],
) -> ClassifierRecord:
    """Everything about the classifier but its weights.

    Args:
        settings: of the run.
        split: the data and their split.
        architecture: the network.
        trained: how the training went.
        temperature: fitted on the validation images.
        figures: scores on them by name.
        rows: scores of each bin of noise levels.
        edges: positions in the table that bound the bins.
    """
    classes = list(split.images.classes)
    what = "clean images"
    own: dict[str, Any] = {}
    found: dict[str, Any] = {}
    if isinstance(settings, NoisyClassifierSettings):
        what = "images at any level of noise"
        own = {"schedule": _TABLE, "times": settings.times, "trained_times": settings.levels}
        bins = [{name: round(value, 4) for name, value in row.items()} for row in rows]
        found = {"bins": bins, "bin_edges": list(edges)}
    return ClassifierRecord(
        name=settings.name,
        summary=f"Classifier of {what} into {len(classes)} classes, from {len(split.split.train)} images.",
        kind="noisy" if own else "clean",
        architecture=ArchitectureRecord.model_validate(dict(architecture)),
        classes=classes,
        channels=split.images.channels,
        size=list(split.images.size),
        normalisation=normalisation(settings),
        temperature=temperature,
        data=data_record(settings, split),
        training=training_record(settings, "cross-entropy", trained.images, loop_settings(settings).ema_half_life),
        licence=settings.licence,
        figures=dict(figures),
        limits=list(LIMITS),
        extra={"best_at_images": trained.best["images"], **found},
        **own,
    )
