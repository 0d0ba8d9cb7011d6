"""Settings of the commands `generate` and `restore`; importing them costs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from skiagraph.config import Settings
from skiagraph.tasks.measurement.settings import MaskSettings, Precision, checked_steps

__all__ = ["DegradationSettings", "GenerateSettings", "Problem", "RestoreSettings"]

Steps = Annotated[
    str, BeforeValidator(checked_steps), Field(description='Noise levels: "ddimN" or N of the prior\'s own.')
]
Clip = Annotated[
    bool | None,
    Field(description="Keep estimates of images in [-1, 1] on the way; default yes, but not with the reference."),
]
TrainingMask = Annotated[
    MaskSettings,
    Field(description="Masks that imported weights were trained on; a prior that says so itself needs none."),
]
Formats = Annotated[
    list[Literal["png", "npz", "nifti"]], Field(min_length=1, description="Files to write beside the page.")
]
Batch = Annotated[int | None, Field(ge=1, description="Images at a time; default by memory.")]
Threads = Annotated[int | None, Field(ge=1, description="CPU threads; default: torch's choice.")]
NumberFormat = Annotated[Precision, Field(description="Number format of the network; auto: bfloat16 where it is fast.")]
Problem = Literal["box", "random", "super-resolution", "gaussian-blur", "motion-blur", "k-space"]
READ = {
    "box": ("hole", "corner"),
    "random": ("keep",),
    "super-resolution": ("factor",),
    "gaussian-blur": ("blur_std", "border"),
    "motion-blur": ("blur_length", "blur_angle", "border"),
    "k-space": ("acceleration", "centre"),
}
NEEDED_IN_DATA = ("hole", "corner", "keep", "acceleration", "centre")  # the data themselves say these


class GenerateSettings(Settings):
    """Draw synthetic images from a prior: ordinary, or trained on masked measurements."""

    prior: Path = Field(description="Folder of the prior (prior.json and model.safetensors).")
    output: Path | None = Field(None, description="Run folder to make; default runs/generate-NAME-OF-PRIOR.")
    number: int = Field(16, ge=1, description="Images to draw: exactly as many.")
    seed: int = Field(0, ge=0, description="Seed of the first image; image k has the seed `seed` + k.")
    sampler: Literal["default", "sequential", "reference"] = Field(
        "default",
        description="Covering views in parallel; the published walk, one view after the other; or the released one, "
        "faults included.",
    )
    steps: Steps = "ddim200"
    views: int | None = Field(
        None, ge=1, description="Masked views a level; default: the fewest that cover, 3 with the reference."
    )
    solver: Literal["ddim", "ddnm", "dpm-solver++", "heun"] | None = Field(
        None, description="What takes the steps of the default sampler; default ddim."
    )
    eta: float | None = Field(None, ge=0, le=1, description="Share of fresh noise of each step; default 1.")
    clip: Clip = None
    mask: TrainingMask = MaskSettings(family="none")
    maps: Path | None = Field(
        None, description="Coil maps for a prior of masked k-space: a file of `skiagraph maps`, or a scan."
    )
    formats: Formats = Field(["png", "npz"])
    batch: Batch = None
    threads: Threads = None
    precision: NumberFormat = "auto"

    @model_validator(mode="after")
    def _no_inert_key(self) -> GenerateSettings:
        if self.sampler == "reference" and self.solver is not None:
            raise ValueError("solver has no effect with sampler 'reference', which takes its own steps; leave it out")
        if self.sampler == "sequential" and self.solver == "heun":
            raise ValueError("solver: heun evaluates twice a level, but the sequential sampler's walk allows once")
        if self.eta is not None and self.solver in ("dpm-solver++", "heun"):
            raise ValueError(f"eta has no effect with solver {self.solver!r}, which draws no noise; leave it out")
        return self


class DegradationSettings(Settings):
    """What was done to the image; keys that the problem does not read must be left out."""

    hole: list[int] | None = Field(
        None, min_length=1, max_length=2, description="box: rows and columns of the hole; default half the image."
    )
    corner: list[int] | None = Field(
        None, min_length=1, max_length=2, description="box: its first row and column; default 35 of 128."
    )
    keep: float | None = Field(None, gt=0, lt=1, description="random: share of pixels that is kept; default 0.3.")
    factor: int | None = Field(None, ge=2, description="super-resolution: factor along each axis; default 4.")
    blur_std: float | None = Field(None, gt=0, description="gaussian-blur: standard deviation in pixels; default 2.")
    blur_length: float | None = Field(None, gt=0, description="motion-blur: length in pixels; default 9.")
    blur_angle: float | None = Field(
        None, description="motion-blur: degrees from the horizontal, counter-clockwise; default 0."
    )
    border: Literal["symmetric", "circular", "zero"] | None = Field(
        None, description="Blur: how the image goes on beyond its border; default symmetric."
    )
    acceleration: float | None = Field(None, ge=1, description="k-space: nominal acceleration; default 4.")
    centre: int | None = Field(None, ge=0, description="k-space: central lines; default 20 of 256.")


class RestoreSettings(Settings):
    """Restore images from degraded ones, or from undersampled k-space, with a prior: mean, error bars, page."""

    prior: Path = Field(description="Folder of the prior (prior.json and model.safetensors).")
    input: Path = Field(description="The degraded image(s) or k-space file; with `simulate`, clean ones.")
    problem: Problem = Field(description="What was done to the image.")
    degradation: DegradationSettings = Field(DegradationSettings(), description="Numbers of the degradation.")
    simulate: bool = Field(False, description="Degrade clean images first, and score the result against them.")
    measured: Path | None = Field(
        None,
        description="box, random: image(s) of the input's size, 0 where pixels are missing; default: the input's own "
        "`masks`.",
    )
    items: str = Field("all", description='Which images: "all", an index, or START:STOP[:STEP], separated by commas.')
    intensity: tuple[float, float] | None = Field(
        None, description="Intensities that become -1 and 1; default: the whole range of whole numbers."
    )
    noise_std: float | None = Field(
        None,
        ge=0,
        description="Noise of the data in normalised units, per part of k-space; default 0.01, for measured k-space "
        "estimated. With `simulate` it is added.",
    )
    output: Path | None = Field(None, description="Run folder to make; default runs/restore-NAME-OF-INPUT.")
    samples: int = Field(1, ge=1, description="Posterior samples per image; at least 2 for error bars.")
    seed: int = Field(0, ge=0, description="Seed; every image and sample has its own stream derived from it.")
    method: Literal["measurement-score", "ddnm", "dps", "diffpir", "pigdm"] | None = Field(
        None, description="Default: measurement-score for masked priors, ddnm for those that saw whole images."
    )
    sampler: Literal["default", "sequential", "reference"] = Field(
        "default",
        description="Of measurement-score: covering views in parallel; the published walk, one view after the other; "
        "or the released one, faults included.",
    )
    steps: Steps = "ddim200"
    views: int | None = Field(
        None, ge=1, description="Masked views a level; default: the fewest that cover; reference: 2, k-space 3."
    )
    lam: float | None = Field(
        None, ge=0, le=2, description="Step of the data update; default 1.75, and 2 for the reference on k-space."
    )
    eta: float | None = Field(None, ge=0, le=1, description="Share of fresh noise (ddnm and measurement-score): 0.85.")
    strength: float | None = Field(
        None, gt=0, description="dps: step along the gradient, default 1; diffpir: trust in the prior, default 8."
    )
    clip: Clip = None
    mask: TrainingMask = MaskSettings(family="none")
    formats: Formats = Field(["png", "npz"])
    batch: Batch = None
    threads: Threads = None
    precision: NumberFormat = "auto"

    @model_validator(mode="after")
    def _no_inert_key(self) -> RestoreSettings:
        problems = [*self._degradation_problems(), *self._method_problems()]
        if self.measured is not None and (self.simulate or self.problem not in ("box", "random")):
            problems.append("measured has an effect for box and random only, and not with simulate; leave it out")
        if self.problem == "k-space" and (self.intensity is not None or self.clip is not None):
            problems.append("intensity and clip have no effect on k-space; leave them out")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _degradation_problems(self) -> list[str]:
        problems = []
        for name in type(self.degradation).model_fields:
            if getattr(self.degradation, name) is None:
                continue
            if name not in READ[self.problem]:
                reads = ", ".join(READ[self.problem])
                problems.append(f"degradation.{name} has no effect on {self.problem}, which reads {reads}")
            elif not self.simulate and name in NEEDED_IN_DATA:
                problems.append(f"degradation.{name} has no effect on measured data, which say it themselves")
        return problems

    def _method_problems(self) -> list[str]:
        problems = []
        if self.method not in (None, "measurement-score"):
            for name in ("views", "lam"):
                if getattr(self, name) is not None:
                    problems.append(f"{name} has no effect with method {self.method!r}; leave it out")
            if self.sampler != "default":
                problems.append(f"sampler {self.sampler!r} has no effect with method {self.method!r}; leave it out")
        if self.strength is not None and self.method not in ("dps", "diffpir"):
            problems.append("strength has an effect with method dps and diffpir only; leave it out")
        if self.eta is not None and self.method in ("dps", "diffpir", "pigdm"):
            problems.append(f"eta has no effect with method {self.method!r}; leave it out")
        return problems
