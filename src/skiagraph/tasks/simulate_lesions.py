"""The command `simulate lesions`: brains with and without inserted lesions, labelled by slice, their masks apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from skiagraph.config import Settings
from skiagraph.errors import InputError
from skiagraph.tasks.progress import OnProgress, silent

if TYPE_CHECKING:
    from skiagraph.data.lesion_anatomy import Anatomy
    from skiagraph.data.lesion_files import LesionSlice
    from skiagraph.data.lesion_insertion import InsertionOptions
    from skiagraph.data.lesion_shapes import ShapeBank, Side

__all__ = ["LesionSettings", "LesionsResult", "expectation", "simulate_lesion_files"]

PROVENANCE = "inserted lesion"
SIDES: tuple[Side, ...] = ("train", "validation", "test")


class LesionSettings(Settings):
    """Insert lesions of real shapes into sample brains: slices labelled yes or no, and masks that no method may see.

    Each case is a head turned, bent, shaded and noised anew; cases without lesion pass through the same steps.
    Training, validation and test come from different heads and different shapes.
    """

    output: Path = Field(description="New folder for the set.")
    kinds: tuple[Literal["hyper", "hypo", "iso"], ...] = Field(
        ("hyper", "hypo", "iso"), description="Brighter, darker, or as bright as the tissue around, told by texture."
    )
    contrast: str = Field("T1", description="T1, PD, T2 or FLAIR; the kinds' brightness is meant for T1.")
    training_cases: int = Field(48, ge=1, description="Pairs of cases (with and without lesion) of each head and kind.")
    evaluation_cases: int = Field(8, ge=1, description="Cases of each kind for validation, and for testing.")
    normal_cases: int = Field(12, ge=1, description="Cases without lesion for validation, and for testing.")
    pixels: int = Field(64, ge=32, le=512, description="Rows and columns of a slice.")
    pixel_mm: float = Field(3.0, gt=0.3, le=6, description="Edge of a pixel.")
    slices: int = Field(22, ge=1, le=200, description="Axial slices of a case.")
    slice_mm: float = Field(4.0, gt=0.5, le=10, description="Their thickness.")
    smallest_mm: float = Field(12.0, gt=1, description="Smallest equivalent diameter of a lesion.")
    largest_mm: float = Field(36.0, le=80, description="Largest.")
    least_mm2: float = Field(100.0, ge=0, description="Lesion area from which a slice is labelled; less is left out.")
    noise_percent: float = Field(2.0, ge=0, le=100, description="Noise in percent of white matter's signal.")
    bias_percent: float = Field(20.0, ge=0, lt=200, description="Range of the shading in the brain: 20 is 0.9 to 1.1.")
    compact_share: float = Field(0.8, ge=0, le=1, description="Share of compact outlines; the others are crescents.")
    seed: int = Field(0, ge=0, description="Seed of every draw.")


@dataclass(frozen=True)
class LesionsResult:
    """What was written.

    Args:
        output: the folder.
        counts: side and label -> slices.
    """

    output: Path
    counts: dict[str, int]

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {"output": self.output, **self.counts}


def _number_of_cases(settings: LesionSettings) -> int:
    from skiagraph.tasks.lesion_heads import HEADS

    training = 2 * len(HEADS["train"]) * settings.training_cases * len(settings.kinds)
    return training + 2 * (settings.evaluation_cases * len(settings.kinds) + settings.normal_cases)


def expectation(settings: LesionSettings) -> dict[str, Any]:
    """What `simulate lesions` would write."""
    cases = _number_of_cases(settings)
    return {
        "writes": settings.output,
        "cases": cases,
        "slices_at_most": cases * settings.slices,
        "minutes_on_one_core": 1 + cases // 120,
        "minutes_for_new_heads": 6,
    }


def _options(settings: LesionSettings, kind: Literal["hyper", "hypo", "iso"]) -> InsertionOptions:
    from skiagraph.data.lesion_anatomy import Pose
    from skiagraph.data.lesion_insertion import InsertionOptions

    if settings.smallest_mm > settings.largest_mm:
        raise InputError(f"smallest_mm is {settings.smallest_mm:g}, largest_mm {settings.largest_mm:g}; swap them")
    return InsertionOptions(
        kind=kind,
        contrast=settings.contrast,
        pose=Pose(settings.pixels, settings.pixel_mm, settings.slices, settings.slice_mm),
        diameter_mm=(settings.smallest_mm, settings.largest_mm),
        noise_percent=settings.noise_percent,
        bias_percent=settings.bias_percent,
    )


def simulate_lesion_files(settings: LesionSettings, on_progress: OnProgress = silent) -> LesionsResult:
    """Make the cases of every kind and write slices, tables, volumes and truth.

    Args:
        settings: kinds, sizes and folder.
        on_progress: told about every case.
    """
    from skiagraph.data.lesion_files import chosen_slices, write_table
    from skiagraph.data.lesion_shapes import fetch_shapes
    from skiagraph.tasks.lesion_heads import HEADS, prepare_head

    if settings.output.exists() and any(settings.output.iterdir()):
        raise InputError(f"output: {settings.output} is not empty; give a new folder")
    options: dict[str, InsertionOptions] = {kind: _options(settings, kind) for kind in settings.kinds}
    on_progress("reading outlines", 0, 0)
    bank = fetch_shapes(compact_share=settings.compact_share)
    heads = {}
    for side in SIDES:
        for name in HEADS[side]:
            on_progress(f"preparing {name}", 0, 0)
            heads[name] = prepare_head(name)
    anatomies = {side: [heads[name].anatomy for name in HEADS[side]] for side in SIDES}
    work = _Work(settings, options, bank, on_progress)
    slices: dict[str, LesionSlice] = {}
    for side in SIDES:
        for anatomy in anatomies[side]:
            pairs = work.training(anatomy) if side == "train" else work.evaluation(anatomy, side)
            for diseased, healthy in pairs:
                slices.update({item.name: item for item in chosen_slices(diseased, healthy)})
    counts = write_table(settings.output, list(slices.values()), ("normal", *settings.kinds))
    _write_record(settings, options, [head.record for head in heads.values()], bank, counts)
    return LesionsResult(settings.output, counts)


Pairs = Iterator[tuple[list["LesionSlice"], list["LesionSlice"]]]


class _Work:
    """Makes cases, writes those for evaluation, and gives pairs of slices with and without lesion to choose from."""

    def __init__(
        self, settings: LesionSettings, options: dict[str, InsertionOptions], bank: ShapeBank, tell: OnProgress
    ) -> None:
        self.settings, self.options, self.bank, self.tell, self.done = settings, options, bank, tell, 0

    def training(self, anatomy: Anatomy) -> Pairs:
        """Every case with a lesion beside another case of the same head without: never its own twin."""
        for kind in self.options:
            for number in range(self.settings.training_cases):
                name = f"{anatomy.name}-{number:03d}"
                diseased = self._case(anatomy, kind, "train", True, f"{kind}-{name}")
                yield diseased, self._case(anatomy, kind, "train", False, f"normal-{kind}-{name}")

    def evaluation(self, anatomy: Anatomy, side: Side) -> Pairs:
        """Cases as volumes, with their truth."""
        first = next(iter(self.options))
        normal = [
            self._case(anatomy, first, side, False, f"normal-{anatomy.name}-{number:03d}")
            for number in range(self.settings.normal_cases)
        ]
        for kind in self.options:
            for number in range(self.settings.evaluation_cases):
                diseased = self._case(anatomy, kind, side, True, f"{kind}-{anatomy.name}-{number:03d}")
                yield diseased, normal[number % len(normal)]

    def _case(self, anatomy: Anatomy, kind: str, side: Side, present: bool, case: str) -> list[LesionSlice]:
        from skiagraph.data.lesion_files import slices_of, write_truth_volumes, write_volume
        from skiagraph.data.lesion_insertion import insert_lesions

        settings, options = self.settings, self.options[kind]
        made = insert_lesions(anatomy, self.bank, options, side=side, present=present, seed=settings.seed, case=case)
        if side != "train":
            for write in (write_volume, write_truth_volumes):
                write(settings.output, made, case=case, side=side, spacing_mm=options.pose.spacing_mm)
        self.done += 1
        self.tell("inserting lesions", self.done, _number_of_cases(settings))
        return slices_of(
            made,
            kind=kind,
            case=case,
            group=anatomy.group,
            side=side,
            pixel_mm=settings.pixel_mm,
            least_mm2=settings.least_mm2,
        )


def _write_record(
    settings: LesionSettings,
    options: dict[str, InsertionOptions],
    heads: list[dict[str, object]],
    bank: ShapeBank,
    counts: dict[str, int],
) -> None:
    from skiagraph.data.files import write_whole
    from skiagraph.data.lesion_insertion import KINDS
    from skiagraph.data.lesion_shapes import SHAPE_ARCHIVE
    from skiagraph.tasks.provenance import run_record

    content = {
        "provenance": PROVENANCE,
        "lesions": {kind: asdict(KINDS[kind]) for kind in options},
        "settings": settings.model_dump(mode="json"),
        "options": {kind: asdict(chosen) for kind, chosen in options.items()},
        "split": "by head (column patient), and by outline: test shapes are new",
        "slices": counts,
        "heads": heads,
        "outlines": {"archive": str(SHAPE_ARCHIVE), "sha256": SHAPE_ARCHIVE.sha256, "file": bank.origin},
        **run_record(),
    }
    text = json.dumps(content, indent=1, default=str) + "\n"
    write_whole(settings.output / "provenance.json", text.encode())
