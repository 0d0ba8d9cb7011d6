"""Settings of `synthesize` and of its sweep over scales; importing them costs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field, model_validator

from skiagraph.config import Settings
from skiagraph.tasks.synthesize.choices import GridName, Inversion, Measure, Mode, PresetName, Through

__all__ = ["FilterSettings", "GuideSettings", "RealSettings", "SweepSettings", "SynthesizeSettings", "WalkSettings"]


class GuideSettings(Settings):
    """What pushes the images, and how far; every key left out takes the value of the preset."""

    measure: Measure | None = Field(None, description="What is increased; none for no push. Preset.")
    scale: float | None = Field(None, ge=0, description="gamma, the strength of the push; 0 pushes nothing. Preset.")
    target: float | None = Field(
        None, description="log_odds_target: wanted log-odds of the label, default 0.5 (probability 0.62)."
    )
    delta: float | None = Field(
        None, gt=0, description="log_odds_target: log-odds beyond which the pull no longer grows; default 1."
    )
    runner_up: bool | None = Field(
        None, description="log_odds_...: against the strongest other class, not all others together; default no."
    )
    through: Through | None = Field(
        None,
        description="Where the gradient is taken: at the noisy state (noisy classifier), at the estimate of the clean "
        "image (clean classifier), or through the network too. Preset.",
    )
    normalised: bool | None = Field(
        None,
        description="Scale relative to the noise found, not raw: not for measures that vanish. Preset.",
    )
    trust: float | None = Field(
        None, ge=0, description="Largest push of a step, RMS in units of the noise; 0 for no limit. Preset."
    )
    window: tuple[float, float] | None = Field(
        None, description="Lowest and highest sigma^2 at which it acts; a lowest above 0 destroys the effect. Preset."
    )
    every: int | None = Field(None, ge=1, description="Push at every k-th level only. Preset: 1.")
    multiply: bool | None = Field(
        None, description="With `every`: multiply the push by k in return, which loses labels. Preset: no."
    )
    stop_at: float | None = Field(
        None, description="Do not push an image whose measure has reached this value; -0.01 suits log_odds_target."
    )
    temperature: float | None = Field(
        None, gt=0, description="What logits are divided by; default: fitted with the classifier, 1 for the reference."
    )


class WalkSettings(Settings):
    """The levels of noise that images walk through; every key left out takes the value of the preset."""

    grid: GridName | None = Field(None, description="Levels dense at low noise, or equally spaced in time. Preset.")
    levels: int | None = Field(None, ge=2, description="How many levels (quadratic: a few coincide). Preset.")
    depth: float | None = Field(
        None, gt=0, le=1, description="Harden: sigma^2 down to which an image is noised by inversion. Preset."
    )
    inversion: Inversion | None = Field(
        None,
        description="Harden: invert on mirrored levels, to second order (twice the calls), or as released; or add fresh"
        " noise (an edit: not the same anatomy). Preset.",
    )
    eta: float | None = Field(None, ge=0, le=1, description="Share of fresh noise of each step down. Preset: 0.")
    clip: bool | None = Field(None, description="Keep estimates in [-1, 1] before the push. Preset: yes.")
    reclip: bool | None = Field(None, description="Clip after the push as well. Preset: no.")
    threshold: float | None = Field(
        None, gt=0, le=1, description="After the push, scale estimates to this quantile of their pixels; default: no."
    )
    handover: Literal["latent", "image", "8-bit"] | None = Field(
        None,
        description="Two-stage: harden from the first stage's own noisy state (no inversion), from its image in "
        "floating point, or from its picture of 8 bits as released. Preset.",
    )


class RealSettings(Settings):
    """How the real images are read; see `skiagraph train class-prior`."""

    table: Path | None = Field(None, description="CSV of files and labels beside `real`; default: class folders.")
    columns: dict[str, str] | None = Field(None, description="The table's own names for file, label, patient, split.")
    split: Path | None = Field(None, description="JSON file of the split by patient; default: all images are taken.")
    side: Literal["train", "validation", "test"] = Field("train", description="Side of the split that is taken.")
    window: tuple[float, float] | None = Field(
        None, description="Intensities that become -1 and 1; default: as the prior was trained."
    )
    fit: Literal["crop", "pad", "stretch"] = Field("crop", description="How other sizes become the prior's size.")


class FilterSettings(Settings):
    """Which images are kept."""

    reject: bool = Field(True, description="Reject images; otherwise verdicts are only written down.")
    rank: int | None = Field(
        None, ge=1, description="Keep images whose label the judge ranks so high; default 2, and 1 for two classes."
    )
    copy_share: float = Field(
        0.01, gt=0, lt=1, description="Reject images nearer to a real one than this share of real images is to another."
    )
    outlier_factor: float = Field(
        1.5,
        gt=0,
        description="Reject images farther from real ones, on features, than this times the 99th percentile.",
    )
    features: Literal["random-conv-v1", "image-pca-64", "patch-pca-8"] | None = Field(
        None,
        description="Features of that distance; default random-conv-v1, for small images image-pca-64.",
    )
    attempts: float = Field(
        3.0, ge=1, description="Draw at most so many images for each one wanted until the quota of a class is filled."
    )


class SynthesizeSettings(Settings):
    """Draw labelled images from a class-conditional prior: as they come, or pushed to where a classifier is unsure.

    Images from noise, real images hardened, or both stages in one run. Each is judged, filtered and recorded in one row
    of manifest.csv; class folders by name hold those that are kept. The same command continues a run that was stopped.
    """

    task: Annotated[Literal["images"], tyro.conf.Suppress] = Field("images", description="Names this variant.")
    prior: Path = Field(description="Folder of the class-conditional prior (`skiagraph train class-prior`).")
    output: Path = Field(description="Folder to make.")
    preset: PresetName = Field(
        "default", description="default: corrected and fast; reference: step for step as released."
    )
    mode: Mode = Field(
        "noise", description="From noise (guided or not); harden real images; or from noise, then hardened: pairs."
    )
    classifier: list[Path] = Field(
        [], description="Folder of the classifier that guides; several are an ensemble (disagreement, BALD)."
    )
    judge: Path | None = Field(None, description="Folder of an independent classifier that judges; none that guides.")
    guide: GuideSettings = Field(GuideSettings(), description="The push.")
    cfg: float = Field(0.0, description="Classifier-free scale w (0: off): eps_c + w (eps_c - eps_u), in every stage.")
    first_scale: float = Field(
        0.0, ge=0, description="Two-stage: classifier guidance (log_prob) of the first stage; as released 0 or 10."
    )
    candidates: int = Field(
        1,
        ge=1,
        description="From noise: draw so many for each image and keep the one of the highest measure (mined noise); "
        "with guide.scale 0 nothing is pushed.",
    )
    walk: WalkSettings = Field(WalkSettings(), description="The walk.")
    real: Path | None = Field(
        None,
        description="The real, labelled training images: class folders, CSV or .npz.",
    )
    real_data: RealSettings = Field(RealSettings(), description="How they are read.")
    per_class: int | None = Field(None, ge=1, description="Images of each class to be kept.")
    counts: dict[str, int] | None = Field(None, description="Images to be kept by class name.")
    balance_to: int | None = Field(None, ge=1, description="Fill every class up: this number less its real images.")
    class_map: dict[str, str] | None = Field(
        None, description="Harden: class of the source -> label to be decoded and given; classes left out keep theirs."
    )
    filter: FilterSettings = Field(FilterSettings(), description="What is kept.")
    flip_budget: float = Field(
        0.1, ge=0, le=1, description="The run fails where the push loses more labels than this share of the images."
    )
    twins: int = Field(
        8, ge=0, description="From noise with a push: images of which the unpushed twin is drawn too, for comparison."
    )
    seed: int = Field(0, ge=0, description="Seed of the run; an image's seed follows from it, class and number.")
    first: int = Field(0, ge=0, description="Number of the first image of each class, to share work between machines.")
    floats: bool = Field(False, description="Write .npy files of the normalised images beside the pictures.")
    batch: int | None = Field(None, ge=1, description="Images at a time; default by size. No image depends on it.")
    threads: int | None = Field(None, ge=1, description="CPU threads; default: torch's choice.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "float32", description="Number format of the prior's network; auto: bfloat16 where it is fast."
    )

    @model_validator(mode="after")
    def _no_contradiction(self) -> SynthesizeSettings:
        problems = [*self._count_problems(), *self._mode_problems(), *self._guide_problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _count_problems(self) -> list[str]:
        given = [name for name in ("per_class", "counts", "balance_to") if getattr(self, name) is not None]
        if len(given) > 1:
            return [f"{' and '.join(given)} say how many images are wanted; give one of them"]
        if not given and self.mode != "harden":
            return ["how many images are wanted is missing: give per_class, counts or balance_to"]
        numbers = [1] if self.counts is None else list(self.counts.values())
        if not numbers or min(numbers) < 0 or max(numbers) == 0:
            return [f"counts: found {self.counts}; allowed whole numbers, at least one of them above 0"]
        if self.balance_to is not None and self.real is None:
            return ["balance_to counts the real images; give `real`"]
        return []

    def _mode_problems(self) -> list[str]:
        problems = []
        if self.mode == "harden" and self.real is None:
            problems.append("mode harden starts from real images; give `real`")
        if self.class_map is not None and self.mode != "harden":
            problems.append("class_map has an effect with mode harden only; leave it out")
        if self.first_scale > 0 and self.mode != "two-stage":
            problems.append("first_scale has an effect with mode two-stage only; leave it out")
        if self.walk.handover is not None and self.mode != "two-stage":
            problems.append("walk.handover has an effect with mode two-stage only; leave it out")
        if self.walk.handover == "latent" and self.first_scale > 0:
            problems.append("walk.handover 'latent' needs an unguided first stage (first_scale 0); take 'image'")
        if self.candidates > 1 and self.mode != "noise":
            problems.append("candidates has an effect with mode noise only, where an image can be drawn anew")
        if self.walk.reclip and self.walk.threshold is not None:
            problems.append("walk.reclip and walk.threshold both bound the pushed estimate; give one")
        for name in ("depth", "inversion"):
            if getattr(self.walk, name) is not None and self.mode == "noise":
                problems.append(f"walk.{name} has no effect with mode noise; leave it out")
        if self.real is None and (self.real_data.table is not None or self.real_data.split is not None):
            problems.append("real_data has no effect without `real`")
        return problems

    def _guide_problems(self) -> list[str]:
        guide, problems = self.guide, []
        named = ("target", "delta", "runner_up")
        reads = {"log_odds_target": named, "log_odds_abs": ("runner_up",)}
        chosen = guide.measure or (None if self.preset == "default" else "entropy")
        if chosen is not None:
            for name in named:
                if getattr(guide, name) is not None and name not in reads.get(chosen, ()):
                    problems.append(f"guide.{name} has no effect with measure {chosen!r}; leave it out")
        if guide.window is not None and not 0 <= guide.window[0] < guide.window[1] <= 1:
            problems.append(f"guide.window: found {guide.window}; allowed 0 <= lowest < highest <= 1")
        if len(set(self.classifier)) < len(self.classifier):
            problems.append("classifier: a folder is named twice; name each member once")
        if chosen == "bald" and len(self.classifier) < 2:
            problems.append("guide.measure 'bald' compares members; give at least two classifier folders")
        if self.judge is not None and self.judge in self.classifier:
            problems.append("judge: found the classifier that guides; the judge must be another one, trained apart")
        return problems


class SweepSettings(SynthesizeSettings):
    """Try several scales on the same images: hardness, label kept, distance; propose the largest within the budget.

    Nothing is kept: the folder holds the figures and a page with the same images at every scale.
    """

    task: Annotated[Literal["sweep"], tyro.conf.Suppress] = Field(  # type: ignore[assignment]
        "sweep", description="Names this variant."
    )
    scales: list[float] = Field(
        [0.0, 0.5, 1.0, 2.0, 4.0, 8.0], min_length=2, description="Values of guide.scale to try, rising."
    )
    images: int = Field(8, ge=1, description="Images of each class at every scale.")

    @model_validator(mode="after")
    def _rising(self) -> SweepSettings:
        if self.scales[0] < 0 or any(low >= high for low, high in zip(self.scales, self.scales[1:], strict=False)):
            raise ValueError(f"scales: found {self.scales}; allowed numbers of at least 0 in rising order")
        return self

    def _count_problems(self) -> list[str]:
        wrong = [name for name in ("per_class", "counts", "balance_to") if getattr(self, name) is not None]
        problems = [f"{name} has no effect on a sweep; give `images`" for name in wrong]
        if self.candidates > 1:
            problems.append("candidates has no effect on a sweep, which shows one draw at every scale")
        return problems
