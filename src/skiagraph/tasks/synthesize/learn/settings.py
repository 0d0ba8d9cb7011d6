"""Settings of `train class-prior`, `train noisy-classifier` and `train classifier`; importing them costs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field, field_validator, model_validator

from skiagraph.config import Settings
from skiagraph.tasks.measurement.settings import Precision, UNetSettings, checked_steps

__all__ = [
    "AugmentSettings",
    "ClassPriorSettings",
    "ClassifierSettings",
    "EncoderSettings",
    "LearnSettings",
    "NoisyClassifierSettings",
    "PriorUNetSettings",
]

LogRho = tuple[float, float] | None
LOG_RHO = "Mean and deviation of log(sigma / alpha) of the levels drawn in training; default: all alike."


def checked_log_rho(value: LogRho) -> LogRho:
    """Refuse a deviation that is not positive."""
    if value is not None and not value[1] > 0:
        raise ValueError(f"found {value}; allowed a mean and a positive deviation, such as -1.0 1.3")
    return value


class AugmentSettings(Settings):
    """Random changes of the training images; all off, because side, size and orientation may be part of the label."""

    flip: Literal["none", "horizontal", "vertical", "both"] = Field(
        "none", description="Mirror half of the images; only where left and right (or up and down) mean nothing."
    )
    rotation: float = Field(0.0, ge=0, le=180, description="Largest turn in degrees, either way.")
    shift: float = Field(0.0, ge=0, lt=1, description="Largest shift along each axis, as a share of the side.")
    scale: float = Field(0.0, ge=0, lt=1, description="Largest enlargement or reduction: 0.1 for 0.9 to 1.1.")
    brightness: float = Field(0.0, ge=0, lt=1, description="Largest offset of the intensities, of a range of 2.")


class LearnSettings(Settings):
    """What all of these commands read: labelled images, their split, and how long to train on them."""

    data: Path = Field(
        description="Labelled images: a folder of class folders or with labels.csv, a CSV table, or a MedMNIST .npz."
    )
    table: Path | None = Field(None, description="CSV of files and labels, where it lies elsewhere than `data` says.")
    columns: dict[str, str] | None = Field(
        None, description="The table's own names for the columns file, label, patient, split."
    )
    classes: list[str] | None = Field(
        None, min_length=2, description="Classes in their order; default: classes.txt, else by name."
    )
    size: list[int] | None = Field(
        None, min_length=1, max_length=2, description="Rows and columns (one number for both); default: the data's."
    )
    channels: Literal[1, 3] | None = Field(None, description="Image channels; default: the data's.")
    window: tuple[float, float] | None = Field(
        None, description="Intensities that become -1 and 1 (Hounsfield units for CT); default: the whole bit depth."
    )
    fit: Literal["crop", "pad", "stretch"] = Field("crop", description="How another size becomes `size`.")
    duplicates: Literal["refuse", "allow"] = Field("refuse", description="Images equal in every pixel.")
    split: Path | None = Field(
        None, description="Split to use, such as the split.json of another run; default: the data's own, or a new one."
    )
    validation: float = Field(0.15, ge=0, lt=1, description="Share of the training images kept for validation.")
    test: float = Field(0.0, ge=0, lt=1, description="Share of all images set aside for testing, in a new split.")
    sampling: Literal["none", "sqrt", "inverse"] = Field(
        "none", description="How often a class is shown: as it occurs, by the root of its number, or all alike."
    )
    augment: AugmentSettings = Field(AugmentSettings(), description="Random changes of the training images.")
    output: Path = Field(description="Folder to make; the run's state and metrics lie in it too.")
    licence: str = Field("as the training data", description="Licence of the weights, for the card.")
    spacing_mm: float = Field(1.0, gt=0, description="Side of a pixel in mm, for the record.")
    images: int = Field(ge=1, description="Images to see in all.")
    batch_size: int = Field(32, ge=1, description="Images per optimiser step, summed over all processes.")
    microbatch: int | None = Field(None, ge=1, description="Images in one pass; default: the whole batch.")
    learning_rate: float = Field(3e-4, gt=0, description="Learning rate of AdamW, constant after the warm-up.")
    warmup: int = Field(2_000, ge=0, description="Images over which the learning rate rises; 0: none.")
    weight_decay: float = Field(1e-5, ge=0, description="Decoupled weight decay.")
    clip: float | None = Field(1.0, gt=0, description="Largest norm of the gradient; null: no limit.")
    ema_decay: float = Field(0.9999, gt=0, lt=1, description="Decay per step of the averaged weights that are kept.")
    checkpoint_every: int | None = Field(None, ge=1, description="Images between checkpoints; default 1/20 of all.")
    log_every: int | None = Field(None, ge=1, description="Images between lines of metrics.jsonl; default 1/100.")
    seed: int = Field(0, ge=0, description="Seed of split, weights, order and every draw.")
    threads: int | None = Field(None, ge=1, description="CPU threads per process; default: torch's choice.")
    precision: Precision = Field("auto", description="Number format of the network; auto: bfloat16 where it is fast.")

    @property
    def shape(self) -> tuple[int, int] | None:
        """`size` as (rows, columns)."""
        return None if self.size is None else (self.size[0], self.size[-1])

    @model_validator(mode="after")
    def _split_fits(self) -> LearnSettings:
        if self.split is not None and self.test:
            raise ValueError("test has no effect with a split that is given; leave it out")
        return self


class PriorUNetSettings(UNetSettings):
    """Shape of the U-Net; small by default, for sets of hundreds or thousands of images."""

    channels: int = Field(64, ge=8, description="Channels of the first level.")
    multipliers: list[float] | None = Field([1.0, 2.0, 3.0], min_length=1, description="Width factor of each level.")
    head_channels: int = Field(32, ge=1, description="Channels of one attention head.")
    groups: int = Field(16, ge=1, description="Groups of the normalisations.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout inside the residual blocks.")
    mask_channel: Annotated[None, tyro.conf.Suppress] = Field(None, description="Not used.")


class ClassPriorSettings(LearnSettings):
    """Train a class-conditional diffusion prior from labelled images.

    The defaults are the corrected form; presets/synthesize/reference-prior.yaml holds the released one.
    """

    task: Annotated[Literal["class-prior"], tyro.conf.Suppress] = Field(
        "class-prior", description="Names this variant of the command in a file."
    )
    name: str = Field("class-prior", description="Name of the prior, for its card.")
    levels: str = Field("1000", description='Noise levels of training: all "1000", or "ddim250" of them.')
    weight: Literal["eps", "p2"] = Field(
        "eps",
        description="Weight of the squared error of the noise: 1, or sqrt(1 - abar) as released (P2, k=1, q=0.5).",
    )
    variational: float | None = Field(
        None,
        ge=0,
        description="Coefficient of the term that teaches the variance; default levels / 1000. 0: no variance.",
    )
    label_dropout: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of the training images shown without label; classifier-free guidance needs it.",
    )
    log_rho: LogRho = Field(None, description=LOG_RHO)
    network: PriorUNetSettings = Field(PriorUNetSettings(), description="Shape of the network.")

    _levels = field_validator("levels", mode="before")(checked_steps)
    _log_rho = field_validator("log_rho")(checked_log_rho)


class EncoderSettings(Settings):
    """Shape of a classifying network; keys that it does not read must be left out."""

    kind: Literal["encoder", "resnet10", "resnet18", "resnet50", "densenet"] = Field(
        "encoder",
        description="Encoder half of the U-Net, or one of MONAI's networks in a size for small images; noisy ones are "
        "told the time through channels.",
    )
    channels: int = Field(32, ge=8, description="Channels of the first level.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout, where the network has it.")
    multipliers: list[float] | None = Field(None, min_length=1, description="Encoder: factor of each level; 1, 2, 3.")
    residual_blocks: int | None = Field(None, ge=1, description="Encoder: residual blocks a level; default 1.")
    attention: int | None = Field(None, ge=0, description="Encoder: largest feature map with attention; default 16.")
    head_channels: int | None = Field(None, ge=1, description="Encoder: channels of one attention head; default 32.")

    @model_validator(mode="after")
    def _no_inert_key(self) -> EncoderSettings:
        names = ("multipliers", "residual_blocks", "attention", "head_channels")
        inert = [name for name in names if self.kind != "encoder" and getattr(self, name) is not None]
        if self.kind.startswith("resnet") and self.dropout:
            inert.append("dropout")
        if inert:
            raise ValueError(f"network.{inert[0]} has no effect on {self.kind}; leave it out")
        return self


class _ValidatedSettings(LearnSettings):
    validate_every: int | None = Field(
        None, ge=1, description="Images between validations, of which the best weights are kept; default 1/20 of all."
    )
    network: EncoderSettings = Field(EncoderSettings(), description="Shape of the network.")

    @model_validator(mode="after")
    def _needs_validation(self) -> _ValidatedSettings:
        if self.validation == 0 and self.split is None:
            raise ValueError(
                "validation: found 0; the best weights and the temperature are chosen on images kept for validation"
            )
        return self


class NoisyClassifierSettings(_ValidatedSettings):
    """Train a classifier of noised images, p(y | x_t, t), to guide a prior with; calibrated on unseen images."""

    task: Annotated[Literal["noisy-classifier"], tyro.conf.Suppress] = Field(
        "noisy-classifier", description="Names this variant of the command in a file."
    )
    name: str = Field("noisy-classifier", description="Name of the classifier, for its card.")
    levels: str = Field("1000", description='Noise levels of training: all "1000", or "ddim250" of them.')
    times: Literal["original", "spaced_index"] = Field(
        "original",
        description="What the network is told as time; the spaced index repeats the released training, and is stored.",
    )
    log_rho: LogRho = Field(None, description=LOG_RHO)
    bins: int = Field(10, ge=1, description="Bins of noise levels in which it is validated.")

    _levels = field_validator("levels", mode="before")(checked_steps)
    _log_rho = field_validator("log_rho")(checked_log_rho)


class ClassifierSettings(_ValidatedSettings):
    """Train a classifier of clean images: a judge of synthetic ones, or a guide through the estimate of x0."""

    task: Annotated[Literal["classifier"], tyro.conf.Suppress] = Field(
        "classifier", description="Names this variant of the command in a file."
    )
    name: str = Field("classifier", description="Name of the classifier, for its card.")
    network: EncoderSettings = Field(EncoderSettings(kind="resnet18", channels=32), description="Shape of the network.")
