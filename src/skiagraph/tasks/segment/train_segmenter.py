"""The command `train segmenter`: a U-Net from image labels alone (or from masks, as the ceiling to compare with)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from pydantic import Field, model_validator

from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.segment.settings import DifferenceSettings
from skiagraph.tasks.synthesize.learn.settings import LearnSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from skiagraph.data.labelled import LabelledImages
    from skiagraph.tasks.segment.pseudo_labels import Targets
    from skiagraph.tasks.segment.segmenter import Segmenter, SegmenterRecord

__all__ = ["SegmenterSettings", "TrainedSegmenter", "expectation", "train_segmenter"]


class SegmenterSettings(LearnSettings):
    """Train a U-Net on the confident pixels of difference maps: no mask is needed, and no prior afterwards.

    Pixels between two quantiles of the maps of normal images are ignored. With `masks` it learns from masks instead.
    """

    task: Annotated[Literal["segmenter"], tyro.conf.Suppress] = Field(
        "segmenter", description="Names this variant of the command in a file."
    )
    name: str = Field("segmenter", description="Name of the model.")
    prior: Path | None = Field(None, description="Class-conditional prior whose maps are learned from.")
    masks: Path | None = Field(None, description="Folder of masks (PNG, by the names of the images): the ceiling.")
    absent: str = Field("normal", description="Class without lesion; all others count as lesion.")
    engine: Literal["jvp", "difference"] = Field("difference", description="How the maps are made; see `segment`.")
    sign: Literal["signed", "negative", "absolute", "evidence"] = Field(
        "evidence", description="What of the maps counts; evidence: where the lesion's label explains the image better."
    )
    levels: list[float] = Field([0.06, 0.18, 0.35, 0.68, 1.04], min_length=1, description="Noise-to-signal ratios.")
    draws: int = Field(2, ge=1, description="Draws of noise at each level.")
    low: float = Field(0.95, gt=0, lt=1, description="Quantile of the normals' maps below which there is no lesion.")
    high: float = Field(0.999, gt=0, lt=1, description="Quantile above which there is one.")
    most: int = Field(200, ge=2, description="Images of each class that maps are made of.")
    dimensions: Literal[2, 3] = Field(
        2,
        description="3: a network of stacks of neighbouring slices, known by the number at the end of their names; "
        "`images` then counts stacks.",
    )
    depth: int = Field(8, ge=1, description="Slices in a stack; has an effect with dimensions 3 only.")
    widths: list[int] = Field([16, 32, 64, 96], min_length=3, description="Channels of the U-Net's levels.")
    rounds: int = Field(2, ge=1, description="Rounds; each after the first learns from its own confident pixels.")
    confident: float = Field(0.8, gt=0.5, lt=1, description="Probability from which a prediction counts as confident.")

    @model_validator(mode="after")
    def _one_teacher(self) -> SegmenterSettings:
        if (self.prior is None) == (self.masks is None):
            raise ValueError("prior, masks: give one of them, the prior whose maps or the masks to learn from")
        for name in ("augment", "sampling"):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has no effect on a segmenter, whose images are mirrored; leave it out")
        if self.dimensions == 2 and self.depth != type(self).model_fields["depth"].default:
            raise ValueError("depth has an effect with dimensions 3 only; leave it out")
        return self

    @property
    def maps(self) -> DifferenceSettings:
        """How the maps are made."""
        return DifferenceSettings(engine=self.engine, sign=self.sign, levels=self.levels, seeds=self.draws)


@dataclass(frozen=True)
class TrainedSegmenter:
    """What the command made.

    Args:
        segmenter: folder of the model.
        images: images seen, in all rounds.
        seconds: of training.
        lesion_share: share of the pixels of lesion images that were taught as lesion in the last round.
        ignored_share: share that was ignored.
    """

    segmenter: Path
    images: int
    seconds: float
    lesion_share: float
    ignored_share: float

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            "segmenter": self.segmenter,
            "images_seen": self.images,
            "seconds": round(self.seconds, 1),
            "lesion_share": round(self.lesion_share, 4),
            "ignored_share": round(self.ignored_share, 4),
        }


def expectation(settings: SegmenterSettings) -> dict[str, Any]:
    """What a run costs, without starting it."""
    from skiagraph.tasks.synthesize.learn.data import open_images

    images = open_images(settings)
    calls = len(settings.levels) * settings.draws
    mapped = sum(min(settings.most, count) for count in images.counts.values())
    return {
        "images": images.counts,
        "maps": mapped if settings.prior else 0,
        "network_evaluations": 2 * calls * mapped if settings.prior else 0,
        "steps": settings.rounds * -(-settings.images // settings.batch_size),
        "writes": settings.output,
    }


def train_segmenter(settings: SegmenterSettings, on_progress: OnProgress = silent) -> TrainedSegmenter:
    """Make maps, train in rounds, write the model's folder and its page."""
    import numpy as np

    from skiagraph.tasks.segment.teaching import mask_targets, prior_targets
    from skiagraph.tasks.synthesize.learn.data import fixed_split, open_images
    from skiagraph.tasks.synthesize.learn.runs import begin_run

    images = open_images(settings, on_progress)
    begin_run(settings)
    seen = _chosen(settings, fixed_split(settings, images, write=True).side("train"))
    present = np.asarray(seen.labels) != _absent(settings, seen)
    make = mask_targets if settings.masks is not None else prior_targets
    segmenter, made = _rounds(settings, seen, present, make(settings, seen, present, on_progress), on_progress)
    segmenter.save(settings.output)
    _leave(settings, segmenter, made)
    return made


def _rounds(
    settings: SegmenterSettings,
    seen: LabelledImages,
    present: NDArray[np.bool_],
    targets: Targets,
    on_progress: OnProgress,
) -> tuple[Segmenter, TrainedSegmenter]:
    """Train; every round after the first learns from the confident predictions of the one before."""
    from skiagraph.tasks.segment.segmenter import Segmenter
    from skiagraph.tasks.segment.teaching import refined_targets, taught

    record = _described(settings, seen)
    segmenter, seconds, total = None, 0.0, 0
    for number in range(record.rounds):
        if segmenter is not None:
            targets = refined_targets(segmenter, seen, present, settings.confident)
        trained = taught(settings, seen, targets, settings.output / f"round-{number + 1}", on_progress)
        segmenter = Segmenter(trained.network.eval().requires_grad_(False), record)
        seconds, total = seconds + trained.seconds, total + trained.images
    if segmenter is None:
        raise ValueError(f"rounds: found {record.rounds}; at least 1 is needed.")
    shares = [float((targets.labels[present] == value).mean()) for value in (1, -1)]
    return segmenter, TrainedSegmenter(settings.output, total, seconds, shares[0], shares[1])


def _described(settings: SegmenterSettings, seen: LabelledImages) -> SegmenterRecord:
    from skiagraph.tasks.segment.segmenter import SegmenterRecord

    return SegmenterRecord(
        name=settings.name,
        supervision="masks" if settings.masks is not None else "image labels",
        size=seen.size,
        spacing_mm=settings.spacing_mm,
        channels=tuple(settings.widths),
        classes=(settings.absent, *(name for name in seen.classes if name != settings.absent)),
        rounds=1 if settings.masks is not None else settings.rounds,
        dimensions=settings.dimensions,
        details={"settings": settings.model_dump(mode="json"), "images": seen.counts},
    )


def _leave(settings: SegmenterSettings, segmenter: Segmenter, made: TrainedSegmenter) -> None:
    """run.json and the page; the curve is that of the last round."""
    from skiagraph.data.files import write_whole
    from skiagraph.report import Highlight
    from skiagraph.tasks.training_run import leave_training

    last = settings.output / f"round-{segmenter.record.rounds}" / "metrics.jsonl"
    write_whole(settings.output / "metrics.jsonl", last.read_bytes())
    leave_training(
        settings.output,
        settings,
        made.record(),
        title=f"Training of {settings.name}",
        summary=f"A U-Net from slices to lesion probabilities, taught by {segmenter.record.supervision}.",
        highlights=(
            Highlight(str(made.images), "images seen"),
            Highlight(f"{100 * made.lesion_share:.1f} %", "of lesion images taught as lesion"),
            Highlight(f"{100 * made.ignored_share:.1f} %", "ignored"),
        ),
    )


def _absent(settings: SegmenterSettings, images: LabelledImages) -> int:
    from skiagraph.errors import InputError

    if settings.absent not in images.classes:
        raise InputError(f"absent: found {settings.absent!r}; the data have the classes {', '.join(images.classes)}")
    return images.classes.index(settings.absent)


def _chosen(settings: SegmenterSettings, images: LabelledImages) -> LabelledImages:
    """At most `most` images of every class (3-D: of whole volumes), drawn by the seed; all where masks teach."""
    import numpy as np

    from skiagraph.tasks.segment.stacks import slice_groups

    if settings.masks is not None:
        return images
    generator = np.random.default_rng(settings.seed)
    places = []
    for label in range(len(images.classes)):
        members = np.flatnonzero(images.labels == label)
        if settings.dimensions == 3:
            groups = slice_groups([images.names[place] for place in members])
            shuffled = [groups[number] for number in generator.permutation(len(groups))]
            members = members[np.concatenate(shuffled)] if shuffled else members
        else:
            members = generator.permutation(members)
        places.append(members[: settings.most])
    return images.select(np.sort(np.concatenate(places)))
