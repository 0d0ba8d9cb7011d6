"""Settings of `evaluate downstream`; importing them costs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field, model_validator

from skiagraph.config import Settings

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "Control",
    "DownstreamSettings",
    "NetworkName",
    "SweepSettings",
    "TrainingRules",
]

NetworkName = Literal[
    "lenet",
    "alexnet",
    "vgg-11",
    "resnet-10",
    "resnet-18",
    "resnet-34",
    "densenet",
    "efficientnet-b0",
    "senet",
    "se-resnet",
    "se-resnext",
    "vit",
]
Control = Literal["augmented", "reweighted", "chosen"]
Augmentation = Literal["none", "light", "strong"]
AUGMENTATIONS = ("none", "light", "strong")
Rule = Literal[
    "entropy", "margin", "least_confidence", "log_odds_target", "log_odds_abs", "entropy_normalised", "energy"
]


class TrainingRules(Settings):
    """How every classifier is trained: the same number of steps for every arm, however many images it has."""

    steps: int = Field(600, ge=1, description="Gradient steps of every training.")
    batch: int = Field(64, ge=2, description="Images a step.")
    learning_rate: float = Field(2e-3, gt=0, description="Largest learning rate of the one-cycle schedule (AdamW).")
    weight_decay: float = Field(0.05, ge=0, description="Weight decay.")
    augmentation: Augmentation = Field(
        "light",
        description="Of every arm: none; light, moved by up to 2 pixels; strong, as in the control `augmented`.",
    )
    flips: bool = Field(False, description="Flip images left-right too; off where sides belong to the labels.")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="Number format of the networks.")


class SweepSettings(Settings):
    """Further ratios of synthetic to real images, with fewer networks and seeds."""

    ratios: list[float] = Field([], description="Synthetic images for each real one, such as 0.25 0.5 2 4 10.")
    arms: list[str] = Field([], description="Synthetic sets that are swept; default all.")
    networks: list[NetworkName] = Field(["resnet-10", "vgg-11"], min_length=1, description="Networks of the sweep.")
    seeds: int = Field(2, ge=1, description="Seeds of the sweep.")


class DownstreamSettings(Settings):
    """Do synthetic images make classifiers better? Many networks, seeds and controls, on the same real test images.

    Arms: real images alone; real and each synthetic set; controls: strong classical augmentation, re-weighted real
    images, real images chosen (and repeated) by an uncertainty rule. Every training is a file; a study that was stopped
    goes on where it stood.
    """

    task: Annotated[Literal["downstream"], tyro.conf.Suppress] = Field(
        "downstream", description="Names this variant of the command in a file."
    )
    real: Path = Field(description="Labelled real images: class folders, a table or a MedMNIST file.")
    split: Path | None = Field(None, description="JSON file of the split by patient; default: the data's own sides.")
    test: Path | None = Field(None, description="Labelled real images to test on; default: side test of `real`.")
    synthetic: dict[str, Path] = Field({}, description="Synthetic sets by the name of their arm.")
    against: str | None = Field(
        None, description="Arm that all others are compared with beside `real`; default: `uncertainty` where it is one."
    )
    controls: list[Control] = Field(["augmented", "reweighted", "chosen"], description="Controls on real images alone.")
    ratio: float = Field(1.0, gt=0, description="Synthetic (or chosen) images for each real one.")
    sweep: SweepSettings = Field(SweepSettings(), description="Further ratios.")
    networks: list[NetworkName] = Field(
        [
            *("lenet", "alexnet", "vgg-11", "resnet-10", "resnet-18", "resnet-34", "densenet"),
            *("efficientnet-b0", "senet", "se-resnet", "se-resnext", "vit"),
        ],
        min_length=1,
        description="Classic networks in small variants.",
    )
    seeds: int = Field(5, ge=1, description="Seeds of every network: weights, order, draw from the synthetic set.")
    training: TrainingRules = Field(TrainingRules(), description="How every classifier is trained.")
    rule: Rule = Field("entropy", description="Uncertainty by which real images are chosen.")
    judge: Path | None = Field(
        None, description="Classifier folder that judges it; default: out-of-fold networks trained on the real images."
    )
    chosen_share: float = Field(0.25, gt=0, le=1, description="Most uncertain share of each class that is repeated.")
    figure_network: NetworkName = Field(
        "resnet-10", description="Trained on real images for features, class score and label agreement of the sets."
    )
    features: list[Literal["random-conv-v1", "image-pca-64", "patch-pca-8", "EffLite0"]] = Field(
        ["random-conv-v1", "image-pca-64"], description="Features that sets are compared on, beside that network's own."
    )
    specificity: float = Field(0.95, gt=0, lt=1, description="Specificity at which each class's sensitivity is given.")
    subgroup: str | None = Field(
        None,
        description="Column of the table of test images (scanner, sex, site): scores for each of its values apart.",
    )
    neighbours: int = Field(5, ge=1, description="k of precision, recall, density and coverage.")
    size: list[int] | None = Field(
        None, min_length=1, max_length=2, description="Rows and columns all images are brought to; default: as found."
    )
    channels: Literal[1, 3] | None = Field(None, description="Image channels; default: as found.")
    window: tuple[float, float] | None = Field(None, description="Intensities that become -1 and 1, for real images.")
    resamples: int = Field(1000, ge=100, description="Bootstrap samples of every interval.")
    draw: Literal["patients", "patients-by-class", "images"] = Field(
        "patients",
        description="What a bootstrap draws: whole patients; a patient's images of one class together, where few "
        "patients show few classes each; or single images, as if all were independent.",
    )
    seed: int = Field(0, ge=0, description="Seed of everything.")
    minutes: float | None = Field(None, gt=0, description="Start no training after so long; what is there is scored.")
    shard: tuple[int, int] | None = Field(
        None, description="Number of this process and of all (0 2, 1 2), to share the trainings of one folder."
    )
    output: Path = Field(Path("runs/downstream"), description="Run folder.")
    threads: int | None = Field(None, ge=1, description="CPU threads; default: torch's choice.")

    @property
    def shape(self) -> tuple[int, int] | None:
        """`size` as (rows, columns)."""
        return None if self.size is None else (self.size[0], self.size[-1])

    @property
    def rival(self) -> str | None:
        """The arm that all others are compared with beside real."""
        return self.against or ("uncertainty" if "uncertainty" in self.synthetic else None)

    @model_validator(mode="after")
    def _consistent(self) -> DownstreamSettings:
        taken = {"real", *self.controls} & set(self.synthetic)
        if taken:
            raise ValueError(f"synthetic: {', '.join(sorted(taken))} is the name of a control; choose another")
        known = ["real", *self.synthetic, *self.controls]
        if self.against is not None and self.against not in known:
            raise ValueError(f"against: found {self.against!r}; the arms are {', '.join(known)}")
        unknown = [name for name in self.sweep.arms if name not in self.synthetic]
        if unknown:
            raise ValueError(f"sweep.arms: found {unknown[0]!r}; the synthetic sets are {', '.join(self.synthetic)}")
        if len(set(self.networks)) < len(self.networks):
            raise ValueError("networks: found one twice; name each once")
        if any(ratio <= 0 for ratio in self.sweep.ratios):
            raise ValueError(f"sweep.ratios: found {min(self.sweep.ratios)}; ratios are above 0")
        if self.shard is not None and not 0 <= self.shard[0] < self.shard[1]:
            raise ValueError(f"shard: found {self.shard}; the first number is from 0 to below the second, as in 0 2")
        return self
