"""What prior.json says of a target prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from skiagraph.data.splits import Split
from skiagraph.networks.unet import UNetConfig
from skiagraph.tasks.translate.settings import TranslatePriorSettings
from skiagraph.tasks.translate.target_data import TargetHead
from skiagraph.training import source_commit, unet_architecture
from skiagraph.training.record import (
    ArchitectureRecord,
    ChannelRecord,
    DataRecord,
    EMARecord,
    NormalisationRecord,
    PriorRecord,
    ScheduleRecord,
    SourceRecord,
    TimeRecord,
    TrainingRecord,
)

__all__ = ["LIMITS", "describe_target_prior"]

LIMITS = (
    "Not a medical device; not for diagnosis. Translated images are synthetic.",
    "Maps tell structure, not which tissue it is; tissue comes from the anatomy learned. Lesions and implants that the "
    "training scans do not show may be invented or removed.",
    "It fails where the source does not show the target's boundaries (bone in MR, lesions in FLAIR against T1).",
)


def describe_target_prior(
    settings: TranslatePriorSettings,
    config: UNetConfig,
    split: Split,
    heads: Sequence[TargetHead],
    images: int,
    half_life: int | None,
    figures: Mapping[str, float],
) -> PriorRecord:
    """Everything about the prior but its weights.

    Args:
        settings: of the run.
        config: the network.
        split: cases by side.
        heads: learned from.
        images: images seen.
        half_life: of the stored average, in images.
        figures: measured figures by name.
    """
    spacing = list(settings.spacing_mm)
    kind = settings.condition.kind
    steered = "unconditional" if kind == "none" else f"steered by {kind} maps of any source"
    count = len(split.heads_of("train"))
    return PriorRecord(
        name=settings.name,
        summary=f"U-Net prior of {settings.modality} from {count} heads, {steered}; no other modality was seen.",
        architecture=ArchitectureRecord.model_validate(unet_architecture(config)),
        parametrisation="v",
        schedule=ScheduleRecord(kind="linear_table", settings={"steps": 1000}),
        time=TimeRecord(kind="original_index"),
        channels=[ChannelRecord(name=settings.modality, meaning=f"{settings.modality} intensity")],
        normalisation=_normalisation(settings, heads),
        concatenated=[*(["neighbours"] if settings.neighbours else []), *([] if kind == "none" else ["maps"])],
        size=list(settings.size),
        spacing_mm=spacing if settings.dimensions == 3 else spacing[1:],
        data=DataRecord(
            provenance=f"{settings.modality} volumes, as their owner states",
            fingerprint={"heads": count, "sha256": {head.case: head.sha256 for head in heads}},
            splits={side: sorted(split.heads_of(side)) for side in ("train", "validation", "test")},
            sources=[SourceRecord(name=place.name, licence=settings.licence) for place in settings.data],
        ),
        training=TrainingRecord(
            objective="mean squared error of the velocity, source played by the target image",
            images_seen=images,
            seeds={"run": settings.seed},
            ema=EMARecord(kind="exponential", length=half_life),
            commit=source_commit(),
            settings=settings.model_dump(mode="json", exclude={"output", "data", "initial"}),
            command="skiagraph train translate-prior",
        ),
        licence=settings.licence,
        figures=dict(figures),
        limits=list(LIMITS),
        extra={
            "translate": {
                "condition": settings.condition.model_dump(mode="json", exclude_none=True),
                "neighbours": settings.neighbours,
                "planes": list(settings.planes),
                "slice_spacing_mm": spacing[0],
                "modality": settings.modality,
            }
        },
    )


def _normalisation(settings: TranslatePriorSettings, heads: Sequence[TargetHead]) -> NormalisationRecord:
    """The scaling, and what -1 and 1 stood for in the training scans (median), for results in their unit."""
    low, high = (float(np.median([getattr(head.scaling, end) for head in heads])) for end in ("low", "high"))
    numbers = {"kind": heads[0].scaling.kind, "low": low, "high": high, "percentiles": list(settings.percentiles)}
    if settings.window is not None:
        numbers["window"] = list(settings.window)
    return NormalisationRecord(
        method="each scan's stated percentiles (or window) of the foreground to [-1, 1], background -1",
        low=-1,
        high=1,
        settings=numbers,
    )
