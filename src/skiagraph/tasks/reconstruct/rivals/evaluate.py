"""The command `evaluate rivals`: every method on the same slices, one table with intervals, pictures, page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skiagraph.config import dump_yaml
from skiagraph.errors import InputError
from skiagraph.evaluation.fidelity import fit_scale
from skiagraph.report import Page, Picture, PictureRow, write_page
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.provenance import run_record
from skiagraph.tasks.reconstruct.acquire import centre_of
from skiagraph.tasks.reconstruct.outputs import check_writable, run_folder, write_text
from skiagraph.tasks.reconstruct.rivals.factory import load_rivals
from skiagraph.tasks.reconstruct.rivals.figures import Scores, all_scores
from skiagraph.tasks.reconstruct.rivals.interface import Measured, Rival, measure
from skiagraph.tasks.reconstruct.rivals.measured_prior import MeasuredPrior
from skiagraph.tasks.reconstruct.rivals.one_shot import OneShot
from skiagraph.tasks.reconstruct.rivals.parts import Parts
from skiagraph.tasks.reconstruct.rivals.plug_in import PlugIn
from skiagraph.tasks.reconstruct.rivals.settings import PlugInSettings, RivalsSettings
from skiagraph.tasks.reconstruct.rivals.slices import JudgedSlices, judged_slices, tuning_slices
from skiagraph.tasks.reconstruct.rivals.table import Comparison, make_rows, markdown, page_table
from skiagraph.tasks.reconstruct.rivals.tuner import tune_plug_in
from skiagraph.tasks.reconstruct.simulated import SimulatedSlices

__all__ = ["RivalsResult", "compare", "evaluate_rivals", "expectation", "tuned_rivals"]

SHOWN = 4


@dataclass(frozen=True, eq=False)
class RivalsResult:
    """What a comparison left.

    Args:
        folder: the run folder.
        page: the page to look at.
        comparisons: one table for each set of slices.
    """

    folder: Path
    page: Path
    comparisons: tuple[Comparison, ...]

    def record(self) -> dict[str, Any]:
        """Names and values."""
        tables = {
            found.title: [{k: v for k, v in row.record().items() if k != "slices"} for row in found.rows]
            for found in self.comparisons
        }
        return {"comparisons": tables, "folder": self.folder, "page": self.page}

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        parts: list[Any] = []
        for found in self.comparisons:
            grid = Table("method", "PSNR (dB)", "SSIM", f"minus {found.against}", "calls", "s/slice", title=found.title)
            for row in found.rows:
                gap = "" if row.difference is None else f"{row.difference.mean:+.2f}"
                figures = (f"{row.intervals['psnr_db'].mean:.2f}", f"{row.intervals['ssim'].mean:.3f}")
                grid.add_row(row.method, *figures, gap, str(row.evaluations), f"{row.seconds:.2f}")
            parts.append(grid)
        return Group(*parts, Text(f"Page: {self.page}"))


def expectation(settings: RivalsSettings) -> dict[str, Any]:
    """What a comparison costs, without starting it; tuning not counted."""
    rivals, _ = load_rivals(settings)
    slices = settings.slices * len(settings.accelerations)
    calls = sum(rival.evaluations for rival in rivals)
    gradients = sum(r.evaluations for r in rivals if isinstance(r, PlugIn) and r.method in ("dps", "pigdm"))
    return {
        "methods": [rival.name for rival in rivals],
        "slices": slices,
        "network_evaluations_per_slice": calls,
        "seconds_on_one_core": round(slices * (0.09 * calls + 0.12 * gradients + 2.0 * len(settings.baselines))),
        "writes": settings.output,
    }


def evaluate_rivals(settings: RivalsSettings, on_progress: OnProgress = silent) -> RivalsResult:
    """Run every method on every set of slices and leave a run folder."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    check_writable(settings.output)
    if settings.tune and settings.scans:
        raise InputError("tune: given with k-space files; tune on simulated slices first, then give the numbers.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rivals, records = load_rivals(settings, device)
    rates: Sequence[float | None] = [None] * len(settings.scans) if settings.scans else settings.accelerations
    comparisons, pictures, tuned = [], [], {}
    parts = Parts(settings.output / "parts")
    for slices, rate in zip(judged_slices(settings, on_progress), rates, strict=True):
        key = _key(settings, slices, rate, device)
        known = {method: prior["weights_sha256"] for prior in records.values() for method in prior["methods"]}
        chosen, tuned[slices.title] = tuned_rivals(
            rivals, settings, rate, parts, {**key, "weights": known}, on_progress
        )
        runs = {r.name: partial(parts.measured, {**key, **_identity(r, known, settings)}) for r in chosen}
        comparison, made = compare(chosen, slices, settings.against, runs, on_progress)
        comparisons.append(comparison)
        pictures += picture_rows(slices, comparison, made)
    extra = {"priors": records, "tuned": tuned, "seed": settings.seed, "acquisition_seed": settings.acquisition_seed}
    return _leave(settings, comparisons, pictures, extra, device)


def _key(settings: RivalsSettings, slices: JudgedSlices, rate: float | None, device: str) -> dict[str, Any]:
    """What every part on some slices depends on."""
    names = (
        "masks",
        "centre",
        "noise_fraction",
        "coils",
        "acquisition_seed",
        "seed",
        "samples",
        "mirrors",
        "precision",
    )
    values = settings.model_dump(mode="json", include=set(names))
    data = hashlib.sha256(slices.scan.kspace.cpu().numpy().tobytes()).hexdigest()
    return {**values, "data": data, "slices": slices.names, "rate": rate, "device": device}


def _identity(rival: Rival, weights: Mapping[str, str], settings: RivalsSettings) -> dict[str, Any]:
    """What tells one method from another: its name, its weights and its numbers."""
    numbers = (
        {**rival.settings.model_dump(), "image_noise": settings.image_noise} if isinstance(rival, PlugIn) else None
    )
    moved = {"shifts": settings.shifts} if settings.shifts > 1 and isinstance(rival, OneShot | MeasuredPrior) else {}
    return {"method": rival.name, "weights": weights.get(rival.name), "numbers": numbers, **moved}


def tuned_rivals(
    rivals: Sequence[Rival],
    settings: RivalsSettings,
    rate: float | None,
    parts: Parts,
    key: Mapping[str, Any],
    on_progress: OnProgress = silent,
) -> tuple[list[Rival], list[dict[str, Any]]]:
    """The rivals with the numbers of their samplers tuned on training heads, where `settings.tune` names some.

    Args:
        rivals: the methods.
        settings: the comparison.
        rate: nominal acceleration; None for measured scans, on which nothing is tuned.
        parts: where what was tuned before is kept.
        key: what the outcome depends on; its "weights" are those of every method by name.
        on_progress: told about every method.
    """
    samplers = [rival for rival in rivals if isinstance(rival, PlugIn)]
    if not settings.tune or rate is None or not samplers:
        return list(rivals), []
    slices = tuning_slices(settings, settings.tune_at or rate)
    records: dict[str, dict[str, Any]] = {}
    for done, rival in enumerate(samplers):
        on_progress(f"tuning {rival.name}", done, len(samplers))
        start = replace(rival, samples=min(2, rival.samples))
        identity = {**_tuning_key(key, settings), **_identity(rival, key["weights"], settings)}
        records[rival.name] = parts.numbers(identity, partial(_tune, start, slices))
    on_progress("tuning", len(samplers), len(samplers))
    found = [_renumbered(rival, records[rival.name]) if isinstance(rival, PlugIn) else rival for rival in rivals]
    return found, list(records.values())


def _tuning_key(key: Mapping[str, Any], settings: RivalsSettings) -> dict[str, Any]:
    """What the outcome of tuning depends on: nothing of the slices that are judged, where the rate is given."""
    known = {name: value for name, value in key.items() if name not in ("data", "slices", "weights")}
    return {**known, "tune": settings.tune, "rate": settings.tune_at or key.get("rate")}


def _tune(rival: PlugIn, slices: SimulatedSlices) -> dict[str, Any]:
    return tune_plug_in(rival, slices).record()


def _renumbered(rival: PlugIn, record: Mapping[str, Any]) -> PlugIn:
    return replace(rival, settings=PlugInSettings(**record["chosen"]))


def compare(
    rivals: Sequence[Rival],
    slices: JudgedSlices,
    against: str | None = None,
    runs: Mapping[str, Callable[[Callable[[], Measured]], Measured]] | None = None,
    on_progress: OnProgress = silent,
) -> tuple[Comparison, dict[str, Measured]]:
    """Run every method on one set of slices.

    Args:
        rivals: the methods.
        slices: the slices with their truth.
        against: the method all are compared to; None for the first one with a network.
        runs: by method, what is called with the run, so that it may hand back an earlier outcome (see `Parts`).
        on_progress: told about every method.
    """
    scores: dict[str, Scores] = {}
    made: dict[str, Measured] = {}
    facts = {}
    for done, rival in enumerate(rivals):
        on_progress(f"{slices.title}: {rival.name}", done, len(rivals))
        run = partial(measure, rival, slices.scan, slices.names)
        result = made[rival.name] = runs[rival.name](run) if runs is not None else run()
        scores[rival.name] = all_scores(result.estimates, slices.scan, slices.truth, slices.head)
        facts[rival.name] = (rival.trained_on, rival.evaluations, result.seconds, result.memory_gib)
    on_progress(f"{slices.title}: all methods", len(rivals), len(rivals))
    learned = [rival.name for rival in rivals if rival.evaluations]
    other = against or (learned or [rivals[-1].name])[0]
    rows = make_rows(scores, facts, slices.groups, other)
    return Comparison(slices.title, other, rows, len(slices.names), len(set(slices.groups))), made


def picture_rows(slices: JudgedSlices, comparison: Comparison, made: Mapping[str, Measured]) -> list[PictureRow]:
    """A few slices: truth, every method, errors under them."""
    count = len(slices.names)
    chosen = sorted({round(value) for value in np.linspace(0, count - 1, min(SHOWN, count) + 2)[1:-1]})
    return [_pictures(slices, comparison, made, index) for index in chosen]


def _pictures(slices: JudgedSlices, comparison: Comparison, made: Mapping[str, Measured], index: int) -> PictureRow:
    truth, inside = _array(slices.truth[index]), slices.head[index].cpu().numpy()
    upper: list[Picture] = [Picture(truth, "truth")]
    lower: list[Picture | None] = [None]
    for row in comparison.rows:
        image = _array(centre_of(made[row.method].estimates.images[index].abs(), (truth.shape[0], truth.shape[1])))
        image = image * fit_scale(image, truth, inside)
        caption = f"{row.scores['psnr_db'][index]:.1f} dB, SSIM {row.scores['ssim'][index]:.2f}"
        upper.append(Picture(image, row.method, caption))
        lower.append(Picture(np.abs(image - truth), f"error of {row.method}", kind="error"))
    return PictureRow(
        title=f"{slices.title}: {slices.names[index]}",
        pictures=tuple(upper),
        below=tuple(lower),
        window=(0.0, float(np.percentile(truth, 99.5))),
        error_factor=6.0,
        provenance=slices.provenance,
    )


def _array(values: Tensor) -> Any:
    return values.cpu().numpy().astype(np.float64)


def _leave(
    settings: RivalsSettings,
    comparisons: Sequence[Comparison],
    pictures: Sequence[PictureRow],
    extra: Mapping[str, Any],
    device: str,
) -> RivalsResult:
    """Write the run folder."""
    facts = {**run_record(), **extra, "computed_on": device}
    tables = {found.title: [row.record() for row in found.rows] for found in comparisons}
    page = Page(
        title="Ways to reconstruct the same scans",
        provenance="measured" if settings.scans else "simulated k-space",
        summary="Every method had the same k-space, masks and coil maps, and none saw these slices before.",
        tables=tuple(page_table(found) for found in comparisons),
        rows=tuple(pictures),
        footer=f"skiagraph {facts['skiagraph']}, commit {facts['commit'] or 'unknown'}",
    )
    with run_folder(settings.output) as staged:
        write_text(staged / "config.yaml", "task: rivals\n" + dump_yaml(settings))
        write_text(staged / "run.json", json.dumps(facts, indent=2))
        write_text(staged / "figures.json", json.dumps(tables, indent=2, allow_nan=False))
        write_text(staged / "table.md", "\n".join(markdown(found) for found in comparisons))
        write_page(page, staged / "report.html")
    return RivalsResult(settings.output, settings.output / "report.html", tuple(comparisons))
