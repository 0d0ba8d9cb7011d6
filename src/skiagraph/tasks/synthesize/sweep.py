"""The command `synthesize sweep`: the same images at several scales; the largest within the label-flip budget."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skiagraph.config import dump_yaml
from skiagraph.data.labelled import LabelledImages
from skiagraph.diffusion.guidance import Knee, find_knee
from skiagraph.errors import InputError
from skiagraph.report import write_page
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.provenance import run_record
from skiagraph.tasks.reconstruct.outputs import check_writable, run_folder, write_text
from skiagraph.tasks.synthesize.drawn import Drawn, Start
from skiagraph.tasks.synthesize.kit import Kit, load_kit
from skiagraph.tasks.synthesize.make import Shown, batch_size
from skiagraph.tasks.synthesize.plan import Item, Plan
from skiagraph.tasks.synthesize.presets import filled, truncates
from skiagraph.tasks.synthesize.real import hardening_sources, read_real
from skiagraph.tasks.synthesize.recipe import Recipe
from skiagraph.tasks.synthesize.settings import SweepSettings
from skiagraph.tasks.synthesize.summary import HARD
from skiagraph.tasks.synthesize.sweep_page import sweep_page
from skiagraph.tasks.synthesize.verdicts import RealImages, ask

__all__ = ["ScaleFigures", "SweepResult", "propose", "sweep", "sweep_with"]


@dataclass(frozen=True)
class ScaleFigures:
    """What one scale does.

    Args:
        scale: gamma.
        hard: share of images with an entropy above 0.3 by the guiding classifier.
        entropy: mean entropy, nats, by the guiding classifier.
        kept: share of images whose label the judge (without one the guide) finds the likeliest.
        lost: of images whose label was the likeliest at scale 0, the share where it no longer is.
        moved: median root mean square of the difference to scale 0, black to white being 1.
        nearest: median distance to the nearest real image; None without.
        features: median distance of features to the nearest real image of the class; None without.
        limited: share of pushes that the trust region shortened.
        useful: share of images that are hard and show their label at once.
        network_calls: evaluations of the prior's network for each image, its first stage or inversion among them.
        classifier_calls: evaluations of the guiding classifier, with gradient, for each image.
    """

    scale: float
    hard: float
    entropy: float
    kept: float
    lost: float
    moved: float
    nearest: float | None
    features: float | None
    limited: float
    useful: float
    network_calls: int
    classifier_calls: int


@dataclass(frozen=True)
class SweepResult:
    """What a sweep left.

    Args:
        folder: the run folder.
        page: the page to look at.
        figures: one a scale, rising.
        knee: the largest scale within the budget, and where the budget is used up.
        by: "judge", or "guide" where no judge was given.
        warnings: what a reader must know.
    """

    folder: Path
    page: Path
    figures: tuple[ScaleFigures, ...]
    knee: Knee
    by: str
    warnings: tuple[str, ...]

    @property
    def proposed(self) -> float | None:
        """The largest scale tried within the budget; None where not even the smallest is."""
        return self.knee.largest

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            "proposed_scale": self.proposed,
            "budget_used_up_at_scale": self.knee.crossing if math.isfinite(self.knee.crossing) else None,
            "labels_judged_by": self.by,
            "scales": [vars(line) for line in self.figures],
            "warnings": list(self.warnings),
            "folder": self.folder,
            "page": self.page,
        }

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        grid = Table("scale", "hard", "entropy", "label kept", "labels lost", "hard and kept", "moved", "nearest real")
        for line in self.figures:
            near = "-" if line.nearest is None else f"{line.nearest:.3f}"
            shares = (f"{100 * value:.0f} %" for value in (line.kept, line.lost, line.useful))
            grid.add_row(
                *(
                    f"{line.scale:g}",
                    f"{100 * line.hard:.0f} %",
                    f"{line.entropy:.3f}",
                    *shares,
                    f"{line.moved:.3f}",
                    near,
                )
            )
        proposal = "No scale keeps the labels within the budget."
        if self.proposed is not None:
            proposal = f"Proposed: --guide.scale {self.proposed:g}"
            if math.isfinite(self.knee.crossing):
                proposal += f" (the budget is used up at about {self.knee.crossing:.3g})"
        told = [Text(f"Warning: {warning}") for warning in self.warnings]
        return Group(grid, Text(proposal), *told, Text(f"Page: {self.page}"))


def propose(figures: Sequence[ScaleFigures], budget: float) -> Knee:
    """The largest scale at which, and at all smaller ones, no more labels are lost than the budget."""
    ordered = sorted(figures, key=lambda line: line.scale)
    kept = [1 - line.lost for line in ordered]
    return find_knee([line.scale for line in ordered], kept, min(budget + 1e-9, 1 - 1e-9))


def sweep(settings: SweepSettings, on_progress: OnProgress = silent) -> SweepResult:
    """Try every scale on the same images and leave a run folder: figures, page."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    settings = filled(settings)
    check_writable(settings.output)
    if settings.output.exists() and any(settings.output.iterdir()):
        raise InputError(f"output: {settings.output} is not empty; nothing is overwritten. Give a new folder")
    kit = load_kit(settings)
    return sweep_with(kit, settings, read_real(settings, kit), on_progress)


def sweep_with(
    kit: Kit, settings: SweepSettings, real: LabelledImages | None, on_progress: OnProgress = silent
) -> SweepResult:
    """As `sweep`, with networks that are loaded, or are none (an oracle).

    Args:
        kit: what is loaded.
        settings: filled settings.
        real: labelled real images in the kit's order of classes, or None.
        on_progress: told of scales done.
    """
    started = time.perf_counter()
    items, sources = _items(kit, settings, real)
    distances = None if real is None else RealImages(real, settings.filter)
    scales = sorted({0.0, *settings.scales})
    shown: dict[float, Shown] = {}
    lines: list[ScaleFigures] = []
    starts = _lead(Recipe(kit, _at(settings, 0.0)), items, sources, batch_size(kit, settings.batch))
    for number, scale in enumerate(scales):
        drawn = [Recipe(kit, _at(settings, scale)).push(items[part], start) for part, start in starts]
        shown[scale] = Shown.of(torch.cat([each.images for each in drawn]), truncates(settings))
        lines.append(_figures(kit, scale, shown[scale], shown[0.0], items, distances, drawn))
        on_progress("scales", number + 1, len(scales))
    by = "judge" if kit.judge is not None else "guide"
    told = [*Recipe(kit, _at(settings, max(scales))).risks()]
    if by == "guide":
        told.append("No judge was given: labels are judged by the very classifier that guides. Give `judge`.")
    page = settings.output / "report.html"
    result = SweepResult(settings.output, page, tuple(lines), propose(lines, settings.flip_budget), by, tuple(told))
    facts = {**run_record(), "seconds": round(time.perf_counter() - started, 1)}
    with run_folder(settings.output) as staged:
        write_text(staged / "config.yaml", dump_yaml(settings))
        write_text(staged / "run.json", json.dumps({**facts, **_plain(result.record())}, indent=2))
        write_page(sweep_page(kit, settings, result, items, shown, facts), staged / "report.html")
    return result


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in record.items()}


def _at(settings: SweepSettings, scale: float) -> SweepSettings:
    return settings.model_copy(update={"guide": settings.guide.model_copy(update={"scale": scale})})


def _items(kit: Kit, settings: SweepSettings, real: LabelledImages | None) -> tuple[list[Item], Tensor | None]:
    """The same images for every scale, and their sources."""
    chosen = None
    wanted = [settings.images] * len(kit.classes)
    if settings.mode == "harden":
        if real is None:
            raise InputError("mode harden starts from real images; give `real`")
        chosen = hardening_sources(real, kit.classes, settings.class_map, settings.seed)
        wanted = [min(settings.images, len(places)) for places in chosen]
    plan = Plan(kit.classes, tuple(wanted), settings.seed, sources=chosen)
    items = plan.round({})
    if chosen is None or real is None:
        return items, None
    return items, torch.from_numpy(real.images[[int(item.source or 0) for item in items]])


def _lead(recipe: Recipe, items: Sequence[Item], sources: Tensor | None, batch: int) -> list[tuple[slice, Start]]:
    """Where the push of each batch begins, which every scale shares."""
    parts = [slice(at, at + batch) for at in range(0, len(items), batch)]
    return [(part, recipe.lead(items[part], None if sources is None else sources[part])) for part in parts]


def _figures(
    kit: Kit,
    scale: float,
    shown: Shown,
    base: Shown,
    items: Sequence[Item],
    distances: RealImages | None,
    drawn: Sequence[Drawn],
) -> ScaleFigures:
    labels = torch.tensor([item.label for item in items])
    judges = [kit.judge] if kit.judge is not None else list(kit.guides)
    guided, _ = ask(kit.guides, kit, shown.values, labels)
    after = ask(judges, kit, shown.values, labels)[0].ranks(labels.numpy()) == 1
    before = ask(judges, kit, base.values, labels)[0].ranks(labels.numpy()) == 1
    moved = (shown.values - base.values).double().flatten(1).square().mean(1).sqrt().numpy() / 2
    near = None if distances is None else distances.nearest(shown.values.numpy(), items)[1]
    features = None if distances is None else distances.feature_distances(shown.values.numpy(), items)
    return ScaleFigures(
        scale,
        float((guided.entropy > HARD).mean()),
        float(guided.entropy.mean()),
        float(after.mean()),
        float((before & ~after).sum() / max(int(before.sum()), 1)),
        float(np.median(moved)),
        None if near is None else float(np.median(near)),
        None if features is None else float(np.median(features)),
        float(torch.cat([each.limited for each in drawn]).mean()),
        float(((guided.entropy > HARD) & after).mean()),
        drawn[0].network_calls,
        drawn[0].classifier_calls,
    )
