"""Settings of `train translate-prior`; importing them costs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field, model_validator

from skiagraph.config import Settings
from skiagraph.tasks.measurement.settings import Precision
from skiagraph.tasks.synthesize.learn.settings import PriorUNetSettings

__all__ = [
    "ConditionKind",
    "ConditionSettings",
    "ShapeSettings",
    "ShownSource",
    "TargetUNetSettings",
    "TranslatePriorSettings",
]

ShownSource = Literal["hidden", "values", "ranked"]
ConditionKind = Literal["mind-ssc", "mind", "lmi", "lmi-reference", "edges", "none"]


class ConditionSettings(Settings):
    """What the network is shown of the source: maps that do not depend on which intensity means which tissue."""

    kind: ConditionKind = Field("mind-ssc", description="Maps of the source; lmi also sees the state. none: a prior.")
    windows: Literal[2, 3] = Field(2, description="Axes of the maps' windows; 3 looks through slices as well.")
    search: Literal["state", "next", "x0-hat"] | None = Field(
        None,
        description="lmi: what the source is compared with: the state (default), the state one level noisier in "
        "training as released, or the estimate of the clean image of a first pass (two calls).",
    )
    pseudo_source: Literal["same", "remapped"] = Field(
        "remapped",
        description="What stands for the source in training: the target image itself as released, or the target image "
        "with intensities in random disorder, noise and shading, which teaches the network to ignore contrast.",
    )
    show_source: ShownSource | None = Field(
        None,
        description="Show the (pseudo-)source itself as well: its values, or values and ranks of the foreground, "
        "turned over where they fall from the edge inwards, so that the contrast's direction need not be "
        "learned. Default: ranked with pseudo_source remapped, else hidden.",
    )
    dropout: float = Field(0.15, ge=0, lt=1, description="Share of training images without maps: these train a prior.")
    flag: bool = Field(True, description="A channel that says whether maps are given; the released network has none.")
    patch: Literal[3, 5] = Field(3, description="lmi-reference: side of the windows.")
    sigma: float = Field(2.0, gt=0, description="lmi-reference: the released MIsigma.")
    normalise: bool = Field(True, description="lmi-reference: normalised information rather than bits.")

    @model_validator(mode="after")
    def _fits(self) -> ConditionSettings:
        information = self.kind.startswith("lmi")
        if self.search is not None and not information:
            raise ValueError(f"search has no effect on {self.kind}, which does not see the state; leave it out")
        if self.kind == "lmi-reference" and self.windows == 3:
            raise ValueError("windows: the released maps have windows of 2 axes; kind 'lmi' has 3")
        if self.show_source in ("values", "ranked") and self.pseudo_source == "same":
            raise ValueError("show_source with pseudo_source 'same' shows the network its answer; use 'remapped'")
        if self.dropout and not self.flag:
            raise ValueError("dropout without the flag channel: no maps and empty maps would look alike; set flag")
        if self.kind == "none" and self.show_source in ("values", "ranked"):
            raise ValueError("show_source has no effect with kind 'none'; leave it out")
        return self

    @property
    def shown(self) -> ShownSource:
        """What is shown of the source, with the default resolved."""
        if self.show_source is not None:
            return self.show_source
        return "ranked" if self.kind != "none" and self.pseudo_source == "remapped" else "hidden"


class ShapeSettings(Settings):
    """Random changes of the anatomy in training; the same for all slices seen together."""

    flip: bool = Field(True, description="Mirror left and right in half of the images.")
    rotation: float = Field(12.0, ge=0, le=180, description="Largest turn in degrees.")
    scale: float = Field(0.1, ge=0, lt=1, description="Largest enlargement or reduction.")
    shift: float = Field(4.0, ge=0, description="Largest shift along each axis, in pixels.")
    bend: float = Field(2.0, ge=0, description="Standard deviation of a smooth displacement, in pixels.")
    trim: int = Field(
        0,
        ge=0,
        description="Take up to so many pixels off the foreground's rim, each number as often: brain masks differ in "
        "how tight they are. Only for images with their background masked out.",
    )
    crop: list[int] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="Learn from pieces of so many rows and columns, anywhere in the slice: several times the steps in "
        "the same time, at the price of what lies around. Default: whole slices.",
    )


class TargetUNetSettings(PriorUNetSettings):
    """Shape of the U-Net of a target prior."""

    channels: int = Field(32, ge=8, description="Channels of the first level.")
    residual_blocks: int = Field(1, ge=1, description="Residual blocks a level.")
    groups: int = Field(8, ge=1, description="Groups of the normalisations.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout inside the residual blocks.")
    fine: int = Field(
        0, ge=0, description="Width of convolutions on single pixels after those on patches; 0: none. See patch."
    )


class TranslatePriorSettings(Settings):
    """Train a prior of a target modality, from scans of that modality alone, that can be steered by a source's maps.

    In training the target image stands for its own source; no scan of another modality is needed or looked at. With
    condition dropout the same network is an unconditional prior too.
    """

    task: Annotated[Literal["translate-prior"], tyro.conf.Suppress] = Field(
        "translate-prior", description="Names this variant of the command in a file."
    )
    name: str = Field("translate-prior", description="Name of the prior, for its card.")
    modality: str = Field("T1", description="What the scans show, for records.")
    data: list[Path] = Field(min_length=1, description="NIfTI volumes of the target modality, or folders of them.")
    pattern: str = Field("*.nii.gz", description='Which files of a folder, such as "*/T1.nii.gz".')
    exclude: list[str] = Field([], description="Heads to leave out (test heads); see `heads`.")
    validation: list[str] = Field([], description="Heads that are judged on and not learned from.")
    heads: dict[str, str] = Field(
        {}, description="Case to head, where several cases show one head; default: each case is a head of its own."
    )
    mask_name: str | None = Field(
        "mask.nii.gz", description="Name of the mask beside each volume; null: all that is above its smallest value."
    )
    percentiles: tuple[float, float] = Field((0.0, 99.5), description="Of the mask's intensities, become -1 and 1.")
    window: tuple[float, float] | None = Field(None, description="Intensities that become -1 and 1, for CT.")
    spacing_mm: tuple[float, float, float] = Field(
        (2.0, 2.0, 2.0), description="From slice to slice, row to row, column to column."
    )
    size: list[int] = Field([96, 80], min_length=2, max_length=3, description="Rows and columns; slices first in 3-D.")
    planes: list[Literal["axial", "coronal", "sagittal"]] = Field(
        ["axial"], min_length=1, description="Slices to learn; several are needed for tri-planar averaging."
    )
    neighbours: int = Field(0, ge=0, le=4, description="Slices on each side that the network sees beside its own.")
    condition: ConditionSettings = Field(ConditionSettings(), description="What it is shown of the source.")
    shape: ShapeSettings = Field(ShapeSettings(), description="Random changes of the anatomy.")
    emphasis: float = Field(
        1.0, ge=1, description="Levels are drawn as T u^(1/emphasis): 1 evenly, more mostly noisy, where maps decide."
    )
    initial: Path | None = Field(None, description="Prior to start from; new input channels start from zero.")
    network: TargetUNetSettings = Field(TargetUNetSettings(), description="Shape of the network.")
    output: Path = Field(description="Folder to make; the run's state and metrics lie in it too.")
    licence: str = Field("as the training data", description="Licence of the weights, for the card.")
    images: int = Field(ge=1, description="Images to see in all.")
    batch_size: int = Field(16, ge=1, description="Images per optimiser step, summed over all processes.")
    microbatch: int | None = Field(None, ge=1, description="Images in one pass; default: the whole batch.")
    learning_rate: float = Field(4e-4, gt=0, description="Learning rate of AdamW, with cosine decay to zero.")
    decay: Literal["constant", "cosine"] = Field("cosine", description="Of the learning rate.")
    warmup: int = Field(1_000, ge=0, description="Images over which the learning rate rises; 0: none.")
    clip: float | None = Field(1.0, gt=0, description="Largest norm of the gradient; null: no limit.")
    ema_decay: float = Field(0.999, gt=0, lt=1, description="Decay per step of the averaged weights that are kept.")
    checkpoint_every: int | None = Field(None, ge=1, description="Images between checkpoints; default 1/20 of all.")
    log_every: int | None = Field(None, ge=1, description="Images between lines of metrics.jsonl; default 1/100.")
    seed: int = Field(0, ge=0, description="Seed of weights, order and every draw.")
    threads: int | None = Field(None, ge=1, description="CPU threads per process; default: torch's choice.")
    precision: Precision = Field("auto", description="Number format of the network; auto: bfloat16 where it is fast.")

    @property
    def dimensions(self) -> int:
        """2 for slices, 3 for whole volumes."""
        return len(self.size)

    @model_validator(mode="after")
    def _fits(self) -> TranslatePriorSettings:
        if self.dimensions == 3:
            if self.neighbours or self.planes != ["axial"]:
                raise ValueError("neighbours and planes have no effect on a 3-D prior (size has three numbers)")
            if self.condition.windows == 2 and self.condition.kind != "none":
                raise ValueError("condition.windows: a 3-D prior needs windows of 3 axes")
            if self.network.patch != 1:
                raise ValueError("network.patch: a 3-D prior takes single voxels; give 1")
        if self.dimensions == 2 and self.condition.search == "x0-hat" and self.condition.windows == 3:
            raise ValueError("condition.search: x0-hat of one slice has no neighbours for windows of 3 axes; give 2")
        crop = self.shape.crop
        if crop is not None and (crop[0] > self.size[-2] or crop[1] > self.size[-1]):
            raise ValueError(f"shape.crop: found {crop}, larger than the slices, {self.size[-2:]}")
        both = sorted(set(self.exclude) & set(self.validation))
        if both:
            raise ValueError(f"validation: {', '.join(both)} is excluded as well; keep one of the two")
        if self.condition.kind == "none" and self.condition.dropout != 0.15:
            raise ValueError("condition.dropout has no effect with kind 'none'; leave it out")
        return self
