"""The command `synthesize`: labelled images from a class-conditional prior, judged, filtered, recorded."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skiagraph.data.labelled import LabelledImages
from skiagraph.diffusion.guidance import Measure
from skiagraph.errors import InputError
from skiagraph.report import write_page
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.provenance import run_record
from skiagraph.tasks.reconstruct.outputs import check_writable, write_text
from skiagraph.tasks.synthesize.card import card, outcome
from skiagraph.tasks.synthesize.folder import PROVENANCE, RunFolder
from skiagraph.tasks.synthesize.kit import Kit, load_kit
from skiagraph.tasks.synthesize.make import Maker
from skiagraph.tasks.synthesize.page import synthesize_page
from skiagraph.tasks.synthesize.plan import Plan, wanted_counts
from skiagraph.tasks.synthesize.presets import filled
from skiagraph.tasks.synthesize.real import hardening_sources, read_real
from skiagraph.tasks.synthesize.recipe import Recipe
from skiagraph.tasks.synthesize.settings import SynthesizeSettings
from skiagraph.tasks.synthesize.summary import failures, notices, per_class, totals
from skiagraph.tasks.synthesize.verdicts import RealImages

__all__ = ["FAILED", "SynthesizeResult", "make_plan", "synthesize", "synthesize_with"]

FAILED = 5
"""Exit code of a run beyond its label-flip budget, or with quotas that could not be filled; everything is written."""


@dataclass(frozen=True)
class SynthesizeResult:
    """What the command left.

    Args:
        folder: the run folder.
        page: the page to look at.
        figures: what the run came to, by name.
        classes: one line a class.
        warnings: what a reader must know.
        failures: why the run fails; empty where it does not.
        seconds: in all.
    """

    folder: Path
    page: Path
    figures: dict[str, Any]
    classes: list[dict[str, Any]]
    warnings: tuple[str, ...]
    failures: tuple[str, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        """0, or 5 where the run fails."""
        return FAILED if self.failures else 0

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            "passed": not self.failures,
            **self.figures,
            "classes": self.classes,
            "warnings": list(self.warnings),
            "failures": list(self.failures),
            "seconds": round(self.seconds, 1),
            "folder": self.folder,
            "page": self.page,
        }

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        heads = ("class", "wanted", "drawn", "kept", "label lost", "near-copy", "outlier", "unchanged")
        table = Table(*heads)
        for line in self.classes:
            table.add_row(*(str(line[name]) for name in heads))
        figures = self.figures
        told = [
            f"Hard: {_percent(figures['hard_share_before'])} before, {_percent(figures['hard_share_after'])} after. "
            f"Labels lost: {figures['label_flips'] or 'not known'}",
            f"{figures['network_calls_per_image'] or 0:g} network and {figures['classifier_calls_per_image'] or 0:g} "
            f"classifier evaluations an image, {self.seconds:.1f} s",
            *(f"Warning: {warning}" for warning in self.warnings),
            *(f"FAILED: {failure}" for failure in self.failures),
            f"Page: {self.page}",
        ]
        return Group(table, *(Text(line) for line in told))


def _percent(share: float | None) -> str:
    return "not known" if share is None else f"{100 * share:.1f} %"


def make_plan(settings: SynthesizeSettings, kit: Kit, real: LabelledImages | None, recipe: Recipe) -> Plan:
    """Which images a run draws."""
    sources = None
    if settings.mode == "harden":
        if real is None:
            raise InputError("mode harden starts from real images; give `real`")
        sources = hardening_sources(real, kit.classes, settings.class_map, settings.seed)
    wanted = wanted_counts(
        kit.classes,
        per_class=settings.per_class,
        counts=settings.counts,
        balance_to=settings.balance_to,
        real=None if real is None else real.counts,
    )
    return Plan(
        *(kit.classes, wanted, settings.seed, settings.first, settings.filter.attempts, sources),
        repeat=bool(settings.walk.eta) or settings.walk.inversion == "noised",
        twins=settings.twins if settings.mode == "noise" and recipe.pushes else 0,
    )


def synthesize(settings: SynthesizeSettings, on_progress: OnProgress = silent) -> SynthesizeResult:
    """Draw, judge, filter and record images; the same settings continue a run that was stopped."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    settings = filled(settings)
    check_writable(settings.output)
    kit = load_kit(settings)
    return synthesize_with(kit, settings, read_real(settings, kit), on_progress)


def synthesize_with(
    kit: Kit,
    settings: SynthesizeSettings,
    real: LabelledImages | None,
    on_progress: OnProgress = silent,
    own: Measure | None = None,
) -> SynthesizeResult:
    """As `synthesize`, with networks that are loaded, or are none (an oracle).

    Args:
        kit: what is loaded.
        settings: filled settings.
        real: labelled real images in the kit's order of classes, or None.
        on_progress: told of images done.
        own: a measure of the caller's own, (logits (B, K), labels (B,)) -> (B,), in place of that of the settings.
    """
    started = time.perf_counter()
    recipe = Recipe(kit, settings, own)
    plan = make_plan(settings, kit, real, recipe)
    distances = None if real is None else RealImages(real, settings.filter)
    folder = RunFolder(settings.output, settings, kit, None if real is None else real.fingerprint())
    try:
        maker = Maker(kit, settings, recipe, plan, folder, real, distances)
        maker.run(on_progress)
        folder.manifest.finish()
        return _leave(maker, time.perf_counter() - started)
    finally:
        folder.close()


def _leave(maker: Maker, seconds: float) -> SynthesizeResult:
    """Write record and page."""
    settings, folder, plan = maker.settings, maker.folder, maker.plan
    rows = list(folder.manifest.rows.values())
    wanted = [plan.target(label) for label in range(len(plan.classes))]
    pushes = maker.recipe.pushes
    told = [*maker.recipe.risks(), *notices(rows, settings, pushes, maker.real is not None)]
    failed = failures(rows, settings, pushes, wanted, plan.classes)
    lines = per_class(rows, plan.classes, wanted)
    page = folder.folder / "report.html"
    result = SynthesizeResult(folder.folder, page, totals(rows, settings), lines, tuple(told), tuple(failed), seconds)
    facts = {
        **run_record(),
        "provenance": f"{PROVENANCE}: drawn from the prior {maker.kit.name}, not measured; not for diagnosis",
        "preset": settings.preset,
        **{name: value for name, value in result.record().items() if name not in ("folder", "page")},
        "this_process": {
            "images": maker.made,
            "seconds_drawing": round(maker.seconds, 2),
            "network_calls": maker.network_calls,
            "classifier_calls": maker.classifier_calls,
        },
        "copy_distance": None if maker.distances is None else maker.distances.copy_distance,
        "features": None if maker.distances is None else maker.distances.features.name,
    }
    write_page(synthesize_page(maker, rows, result.figures, lines, result.warnings, result.failures, facts), page)
    told_in_card = outcome(maker.kit, folder.names, result.figures, lines, [*result.warnings, *result.failures])
    write_text(folder.folder / "README.md", card(settings, maker.kit, told_in_card))
    write_text(folder.folder / "run.json", json.dumps(facts, indent=2, default=_plain))
    return result


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)
