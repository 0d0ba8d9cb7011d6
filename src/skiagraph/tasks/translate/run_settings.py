"""Settings of `translate`; importing them costs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field, model_validator

from skiagraph.config import Settings

__all__ = ["SolverSettings", "SourceSettings", "TranslateSettings"]


class SourceSettings(Settings):
    """How the source scan becomes what the prior can be shown."""

    mask: str = Field(
        "auto",
        description="Foreground: a NIfTI mask on the scan's grid, 'brain' (SynthStrip), 'nonzero' (all above the "
        "smallest value), or 'auto': nonzero for skull-stripped scans, else brain.",
    )
    percentiles: tuple[float, float] = Field((0.0, 99.5), description="Of the foreground, become 0 and 1.")
    window: tuple[float, float] | None = Field(
        None, description="Intensities that become 0 and 1 in place of percentiles; needed for CT (Hounsfield units)."
    )
    correct_bias: bool = Field(False, description="Take the coil's shading out first (N4; needs SimpleITK).")
    largest_tilt_degrees: float = Field(15.0, ge=0, le=90, description="Steeper slices are refused.")

    @model_validator(mode="after")
    def _no_inert_key(self) -> SourceSettings:
        if self.window is not None and self.percentiles != type(self).model_fields["percentiles"].default:
            raise ValueError("window and percentiles both say what becomes 0 and 1; give one of them")
        return self


class SolverSettings(Settings):
    """How the result is drawn; every key left out takes the value of the preset."""

    mode: Literal["condition", "gradient", "hybrid"] | None = Field(
        None,
        description="condition: the network sees the source's maps; gradient: a plain prior is pushed up the "
        "similarity with the source; hybrid: both. Default: condition where the prior has maps, else gradient.",
    )
    rule: Literal["dpmpp", "ddim", "ddpm"] | None = Field(None, description="Solver. Preset: dpmpp.")
    steps: int | None = Field(None, ge=1, description="Steps of each candidate; default: what `calls` allow.")
    candidates: int | None = Field(None, ge=1, description="Results drawn and averaged. Preset: 4.")
    calls: int | None = Field(None, ge=1, description="Network evaluations a slice in all. Preset: 50.")
    strength: float | None = Field(
        None, gt=0, le=1, description="Begin at index round(1000 strength) - 1 with the noised source; default: noise."
    )
    weight: float | None = Field(None, ge=0, description="Strength of the maps; other than 0, 1 costs twice. 1.")
    energy: Literal["mind-ssc", "mind", "lmi", "lncc", "ngf", "nmi"] | None = Field(
        None, description="gradient, hybrid: similarity that is climbed. Preset: mind-ssc."
    )
    push: float | None = Field(
        None, ge=0, description="gradient, hybrid: share of the size of the noise found that a step moves. 0.1."
    )
    consistency: Literal["independent", "correlated", "shared"] | None = Field(
        None, description="Noise of neighbouring slices; correlated: exp(-spacing / 3 mm). Preset: correlated."
    )
    planes: list[Literal["axial", "coronal", "sagittal"]] | None = Field(
        None, description="Average the estimate over these planes; the prior must know them. Preset: axial."
    )
    refresh: int | None = Field(None, ge=1, description="Evaluations that one state-dependent map serves. 1.")
    normalise: bool | None = Field(
        None, description="reference: normalised maps in sampling (MInormalization); default: as in training."
    )


class TranslateSettings(Settings):
    """Show a scan in the modality that a prior knows, on the scan's own grid, with error bars.

    The result is synthetic and says so in its header. Intensities are those of the prior's training scans.
    """

    scan: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SCAN")] = Field(
        description="Source: a NIfTI volume, or a folder with one DICOM series."
    )
    prior: Path = Field(description="Prior folder of the target modality (`skiagraph train translate-prior`).")
    output: Path | None = Field(None, description="Run folder; default runs/translate-NAME.")
    preset: Literal["default", "reference"] = Field(
        "default", description="reference: the released sampler, 1000 ancestral steps from noise, slice by slice."
    )
    source: SourceSettings = Field(SourceSettings(), description="From the scan to the prior's frame.")
    solver: SolverSettings = Field(SolverSettings(), description="How the result is drawn.")
    result: Literal["mean", "best"] = Field(
        "mean", description="What is written: the candidates' mean, or the one most like the source."
    )
    rescale: bool = Field(
        False,
        description="Brighten the result so that the upper percentile of its foreground is where the prior's scans "
        "have theirs: means of candidates are smooth and lack the brightest values.",
    )
    dicom: bool = Field(
        False,
        description="Also write the image as a DICOM series beside its source, marked as derived and synthetic; it "
        "names patient and study as the source does. Only for a DICOM series.",
    )
    keep_candidates: bool = Field(False, description="Write every candidate too.")
    batch: int = Field(8, ge=1, description="Slices in one network call.")
    seed: int = Field(0, ge=0, description="Seed of all noise.")
    threads: int | None = Field(None, ge=1, description="CPU threads; default: torch's choice.")

    @model_validator(mode="after")
    def _no_inert_key(self) -> TranslateSettings:
        given = {name for name, value in self.solver.model_dump().items() if value is not None}
        if self.preset == "reference":
            inert = sorted(given - {"steps", "normalise"})
            if inert:
                raise ValueError(f"solver.{inert[0]} has no effect with preset 'reference'; leave it out")
            if self.result == "best" or self.keep_candidates:
                raise ValueError("preset 'reference' draws one image: result 'best' and keep_candidates have no effect")
        elif "normalise" in given:
            raise ValueError(
                "solver.normalise: the default preset uses the prior's own maps; only preset 'reference' can differ"
            )
        if self.solver.mode == "condition":
            inert = sorted(given & {"energy", "push"})
            if inert:
                raise ValueError(f"solver.{inert[0]} has no effect in mode 'condition'; leave it out")
        if self.solver.mode == "gradient" and given & {"weight", "refresh"}:
            raise ValueError("solver.weight and solver.refresh act on maps and have no effect in mode 'gradient'")
        return self
