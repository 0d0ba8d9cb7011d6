"""Settings of `train measurement-score`: data, masks, network, objective, optimiser; importing them costs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field, field_validator, model_validator

from skiagraph.config import Settings

__all__ = ["COLUMNS", "GRIDS", "MaskSettings", "Precision", "TrainMeasurementSettings", "UNetSettings", "checked_steps"]

Precision = Literal["auto", "float32", "bfloat16"]
Family = Literal["cells", "pixels", "random", "equispaced", "variable-density", "own", "none"]
COLUMNS = ("random", "equispaced", "variable-density")
GRIDS = ("cells", "pixels")
LEVELS = 1000


def checked_steps(steps: str) -> str:
    """Return the name of a respacing of 1000 levels ("ddim200", "1000", "50"); refuse what has no integer stride."""
    text = str(steps)
    count = text.removeprefix("ddim")
    if not count.isdecimal() or not 1 <= int(count) <= LEVELS:
        raise ValueError(f'"ddimN" or N with N from 1 to {LEVELS}, such as "ddim200"')
    if text.startswith("ddim"):
        possible = {len(range(0, LEVELS, stride)) for stride in range(1, LEVELS + 1)}
        if int(count) not in possible:
            near = sorted(sorted(possible, key=lambda n: abs(n - int(count)))[:4])
            raise ValueError(
                f"N with an integer stride over {LEVELS} levels; the nearest such are {', '.join(map(str, near))}"
            )
    return text


class MaskSettings(Settings):
    """A family of sampling masks; keys that the family does not read must be left out."""

    family: Family = Field(
        "cells",
        description='Cells of a coarse grid or single pixels (images), columns (k-space), "own": those of the data, '
        '"none": everything is seen (clean-data oracle).',
    )
    drop: float | None = Field(None, gt=0, lt=1, description="Share of cells or pixels that is missing; default 0.4.")
    cells: int | None = Field(None, ge=1, description="Cells along each axis; default 4.")
    acceleration: float | None = Field(None, ge=1, description="Nominal acceleration of columns; default 4.")
    centre: int | None = Field(None, ge=0, description="Central columns always sampled; default 20 of 256.")

    @model_validator(mode="after")
    def _no_inert_key(self) -> MaskSettings:
        read = {"cells": ("drop", "cells"), "pixels": ("drop",)}.get(self.family, ())
        read = ("acceleration", "centre") if self.family in COLUMNS else read
        for name in ("drop", "cells", "acceleration", "centre"):
            if getattr(self, name) is not None and name not in read:
                reads = ", ".join(read) or "no further key"
                raise ValueError(f"mask.{name} has no effect with family {self.family!r}, which reads {reads}")
        return self


class UNetSettings(Settings):
    """Shape of the U-Net; the defaults are those of the released settings."""

    channels: int = Field(128, ge=8, description="Channels of the first level.")
    multipliers: list[float] | None = Field(
        None,
        min_length=1,
        description="Width factor of each level; default by image size, as in the released settings.",
    )
    residual_blocks: int = Field(2, ge=1, description="Residual blocks a level.")
    head_channels: int = Field(64, ge=1, description="Channels of one attention head.")
    groups: int = Field(32, ge=1, description="Groups of the normalisations.")
    patch: int = Field(
        1, ge=1, description="Side of the squares of pixels that enter as channels: 2 costs a quarter and sees farther."
    )
    attention: int = Field(
        32, ge=0, description="Largest feature map with attention, by its longer side; 0: in the middle only."
    )
    mask_channel: bool | None = Field(
        None, description="Give the network the mask as one more channel; default: only for k-space, objective default."
    )


class TrainMeasurementSettings(Settings):
    """Train a measurement-score prior with an ordinary U-Net from masked images or k-space, noisy or not.

    Masks and noise are fixed for each item, unless `fresh` is set. With masks of family "none" this is the clean-data
    oracle.
    """

    task: Annotated[Literal["measurement-score"], tyro.conf.Suppress] = Field(
        "measurement-score", description="Names this variant of the command in a file."
    )
    data: list[Path] = Field(
        min_length=1,
        description="Images: folders or files (PNG, JPEG, TIFF, NIfTI, .npy, .npz, HDF5); or k-space files.",
    )
    kind: Literal["images", "k-space"] = Field("images", description="What the data are.")
    size: list[int] | None = Field(
        None, min_length=1, max_length=2, description="Rows and columns (one number for both); default: the data's."
    )
    channels: Literal[1, 3] | None = Field(None, description="Image channels; default: what the first image has.")
    intensity: tuple[float, float] | None = Field(
        None, description="Image intensities that become -1 and 1; default: the whole range of whole numbers."
    )
    kspace: Literal["acquired", "combined"] | None = Field(
        None,
        description='k-space as "acquired" (default), or simulated from "combined" images as in the released settings.',
    )
    hold_out: int = Field(0, ge=0, description="Images, or k-space files, kept out of training: the first by name.")
    skip_last: int | None = Field(None, ge=0, description="Slices left out at the end of each k-space file; default 0.")
    mask: MaskSettings = Field(MaskSettings(), description="Masks of the measurements.")
    fresh: bool = Field(
        False, description="Draw masks and noise anew at every step, as the released code does; needs complete data."
    )
    noise_std: float = Field(
        0.0,
        ge=0,
        description="Measurement noise (per part of k-space) in normalised units, added here; with masks of the data's "
        "own, the noise that is in them already.",
    )
    objective: Literal["default", "reference"] = Field(
        "default", description="The corrected objective, or the released one, faults included."
    )
    sure_weight: float | None = Field(None, ge=0, description="Weight of Stein's risk with noise; default 0.05.")
    sure_step: float | None = Field(None, gt=0, description="Step of its divergence estimate; default 0.005.")
    steps: str = Field("ddim200", description='Noise levels of training: "ddimN" of 1000, or "1000".')
    predicts: Literal["eps", "v"] | None = Field(
        None, description="What the network predicts; default eps, and v for k-space with the default objective."
    )
    network: UNetSettings = Field(UNetSettings(), description="Shape of the network.")
    output: Path = Field(description="Folder of the prior to make; the run's state and metrics lie in it too.")
    name: str = Field("prior", description="Name of the prior, for its card.")
    licence: str = Field("as the training data", description="Licence of the weights, for the card.")
    images: int = Field(1_000_000, ge=1, description="Images to see in all.")
    batch_size: int = Field(16, ge=1, description="Images per optimiser step, summed over all processes.")
    microbatch: int | None = Field(None, ge=1, description="Images in one pass; default: the whole batch.")
    learning_rate: float = Field(1e-4, gt=0, description="Learning rate of AdamW, constant after the warm-up.")
    warmup: int = Field(10_000, ge=0, description="Images over which the learning rate rises; 0: none.")
    clip: float | None = Field(1.0, gt=0, description="Largest norm of the gradient; null: no limit.")
    ema_decay: float = Field(0.9999, gt=0, lt=1, description="Decay per step of the averaged weights that are kept.")
    ema_ramp: bool = Field(True, description="Shorten the average in the beginning, so that short runs work too.")
    checkpoint_every: int | None = Field(None, ge=1, description="Images between checkpoints; default 1/20 of all.")
    log_every: int | None = Field(None, ge=1, description="Images between lines of metrics.jsonl; default 1/100.")
    seed: int = Field(0, ge=0, description="Seed of weights, masks, noise, order and every draw.")
    threads: int | None = Field(None, ge=1, description="CPU threads per process; default: torch's choice.")
    precision: Precision = Field("auto", description="Number format of the network; auto: bfloat16 where it is fast.")

    _steps = field_validator("steps", mode="before")(checked_steps)

    @property
    def shape(self) -> tuple[int, int] | None:
        """`size` as (rows, columns)."""
        return None if self.size is None else (self.size[0], self.size[-1])

    @model_validator(mode="after")
    def _fits_together(self) -> TrainMeasurementSettings:
        problems = [problem for problem in (*self._mask_problems(), *self._inert_keys()) if problem]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _mask_problems(self) -> list[str]:
        family, problems = self.mask.family, []
        allowed = COLUMNS if self.kind == "k-space" else GRIDS
        if family not in (*allowed, "own", "none"):
            problems.append(f"mask.family: found {family!r}, allowed for {self.kind}: {', '.join(allowed)}, own, none")
        if self.fresh and family in ("own", "none"):
            problems.append(f"fresh: masks of family {family!r} cannot be drawn anew; leave it out")
        return problems

    def _inert_keys(self) -> list[str]:
        """Keys that were given and would do nothing."""
        problems = []
        if self.noise_std == 0 and (self.kind == "images" or self.kspace == "combined"):
            given = [name for name in ("sure_weight", "sure_step") if getattr(self, name) is not None]
            problems += [f"{name} has no effect without noise_std" for name in given]
        other = ("channels", "intensity") if self.kind == "k-space" else ("kspace", "skip_last")
        problems += [f"{name} has no effect on {self.kind}" for name in other if getattr(self, name) is not None]
        if self.kind == "k-space" and self.kspace != "combined" and self.size is not None:
            problems.append('size has no effect on k-space as acquired; it crops with kspace: "combined"')
        if self.objective == "reference" and self.predicts == "v":
            problems.append("predicts: the reference objective is for eps")
        if self.objective == "reference" and self.network.mask_channel:
            problems.append("network.mask_channel: the reference objective gives the network no mask")
        if self.mask.family == "none" and self.network.mask_channel:
            problems.append("network.mask_channel has no effect without masks")
        return problems
