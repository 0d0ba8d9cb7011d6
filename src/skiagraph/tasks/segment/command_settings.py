"""Settings of the command `segment`; importing them costs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field, model_validator

from skiagraph.config import Settings
from skiagraph.tasks.segment.settings import DifferenceSettings

__all__ = ["ExpectedPrior", "MaskSettings", "SegmentSettings"]


class ExpectedPrior(Settings):
    """What a prior must be for the settings to mean what they say; anything else is refused, naming both values."""

    schedule: Literal["linear", "cosine"] | None = Field(None, description="Kind of its table of noise levels.")
    steps: int | None = Field(None, ge=1, description="Length T of the table.")
    time: Literal["original_index", "rescaled"] | None = Field(None, description="What its network is told as time.")
    size: int | None = Field(None, ge=1, description="Side of its images in pixels.")
    channels: int | None = Field(None, ge=1, description="Channels of its images.")
    low: float | None = Field(None, description="Lower end of its intensities.")
    high: float | None = Field(None, description="Upper end of its intensities.")


class MaskSettings(Settings):
    """How a map becomes a mask; thresholds come from normal images, never from masks."""

    threshold: Literal["calibrated", "anofpdm", "otsu", "fixed"] = Field(
        "calibrated",
        description="calibrated: on normal images; anofpdm: a quantile by the map's strength; otsu: as released, which "
        "always marks something; fixed: `value`.",
    )
    value: float | None = Field(None, description="fixed: the threshold, in units of the map.")
    area: float = Field(0.001, gt=0, lt=1, description="calibrated: share of a normal image that may lie above.")
    delta: float = Field(0.1, gt=0, lt=1, description="calibrated: share of normal images that may exceed that.")
    found_area: float | None = Field(
        0.002,
        gt=0,
        lt=1,
        description="calibrated: the same share as `area` in cases that the gate let through, whose parts need no mass "
        "of their own; at least `area`. null: every part must pass what the gate asks.",
    )
    extent: float = Field(
        0.25,
        ge=0,
        lt=1,
        description="A part ends where the map falls below this share of its peak; 0: at the threshold.",
    )
    gate: Literal["map", "classifier", "none"] = Field(
        "map",
        description="Which cases have a lesion at all: map: a part heavier than in normal cases; classifier: a "
        "classifier of images; none: all of them.",
    )
    gate_delta: float = Field(0.1, gt=0, lt=1, description="Share of normal cases that the gate may let through.")
    gate_confidence: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="gate map: confidence with which gate_delta holds, by a log-normal tolerance limit; default: by "
        "rank among the normal cases.",
    )
    scale: Literal["none", "own"] = Field(
        "none", description="own: maps in units of the case's own noise (median absolute deviation); none: as they are."
    )
    smoothing_mm: float = Field(3.5, ge=0, description="Gaussian smoothing of the map before the threshold; 0: none.")
    minimum_mm3: float = Field(250.0, ge=0, description="Smallest part; pictures count as 1 mm thick.")
    fill_holes: bool = Field(True, description="Fill what a part encloses.")
    keep: int | None = Field(None, ge=1, description="Keep only so many of the largest parts; default: all.")
    released: bool = Field(False, description="Otsu: scale over the batch and keep the largest 4-connected part.")

    @model_validator(mode="after")
    def _no_contradiction(self) -> MaskSettings:
        if (self.threshold == "fixed") != (self.value is not None):
            raise ValueError("value belongs to threshold 'fixed': give both or neither")
        if self.released and (self.threshold != "otsu" or self.gate != "none"):
            raise ValueError("released needs threshold 'otsu' and gate 'none', which is how the released code does it")
        if self.gate_confidence is not None and self.gate != "map":
            raise ValueError("gate_confidence has an effect with gate 'map' only; leave it out")
        return self


class SegmentSettings(Settings):
    """Make lesion masks with a prior that was trained on yes/no labels.

    Maps say where the label "present" changes what the prior expects; normal cases say what is above chance.
    """

    task: Annotated[Literal["masks"], tyro.conf.Suppress] = Field("masks", description="Names this command in a file.")
    input: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")] = Field(
        description="NIfTI file, DICOM series, picture, or a folder of such."
    )
    prior: Path = Field(description="Folder of the class-conditional prior (`skiagraph train class-prior`).")
    output: Path = Field(description="Folder to make.")
    present: str | None = Field(None, description="Class with the lesion; default: the second of two.")
    absent: str | None = Field(None, description="Class without; default: the first of two.")
    normals: Path | None = Field(
        None, description="Cases without a lesion that the prior was not trained on, to calibrate threshold and gate."
    )
    calibration: Path | None = Field(None, description="calibration.json of an earlier run, in place of normals.")
    positives: Path | None = Field(None, description="Cases with a lesion, for map.sign 'learned'; masks are not read.")
    map: DifferenceSettings = Field(DifferenceSettings(), description="How the map is made.")
    mask: MaskSettings = Field(MaskSettings(), description="How the map becomes a mask.")
    classifier: Path | None = Field(None, description="Noisy classifier for map.classifier_scale above 0.")
    gate_classifier: Path | None = Field(None, description="Classifier of clean images for mask.gate 'classifier'.")
    window: tuple[float, float] | None = Field(
        None, description="Intensities that become -1 and 1; default: as the prior was trained, else by the foreground."
    )
    resample: bool = Field(True, description="Look at slices at the prior's spacing; no: pixel by pixel as they are.")
    overlap: float = Field(0.5, ge=0, lt=1, description="Share of a window that the next one covers again.")
    seed: int = Field(0, ge=0, description="Seed of the run; every draw follows from it.")
    batch: int = Field(8, ge=1, description="Windows at a time. No result depends on it.")
    threads: int | None = Field(None, ge=1, description="CPU threads; default: torch's choice.")
    expects: ExpectedPrior = Field(ExpectedPrior(), description="What the prior must be.")

    @model_validator(mode="after")
    def _no_contradiction(self) -> SegmentSettings:
        problems = []
        if self.normals is not None and self.calibration is not None:
            problems.append("normals and calibration both give the thresholds; give one of them")
        given = self.normals is not None or self.calibration is not None
        rules = {"threshold": ("calibrated", "anofpdm"), "gate": ("map", "classifier")}
        needing = [
            f"mask.{name} {getattr(self.mask, name)!r}" for name in rules if getattr(self.mask, name) in rules[name]
        ]
        if needing and not given:
            problems.append(
                f"{' and '.join(needing)} need cases without a lesion: give normals, or an earlier calibration"
            )
        if (self.mask.gate == "classifier") != (self.gate_classifier is not None):
            problems.append("gate_classifier belongs to mask.gate 'classifier': give both or neither")
        learned = self.map.sign == "learned"
        if learned != (self.positives is not None) or (learned and self.normals is None):
            problems.append("map.sign 'learned' needs positives and normals; positives has no effect without it")
        if (self.map.classifier_scale > 0) != (self.classifier is not None):
            problems.append("classifier belongs to map.classifier_scale above 0: give both or neither")
        if problems:
            raise ValueError("; ".join(problems))
        return self
