"""The command `evaluate downstream`: trains what is not there yet, scores what is, leaves a run folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skiagraph.config import dump_yaml
from skiagraph.data.files import write_whole
from skiagraph.evaluation.classification import SCORES
from skiagraph.evaluation.downstream import ArmScores
from skiagraph.report import write_page
from skiagraph.tasks.downstream.arms import Arm, cells, require_enough
from skiagraph.tasks.downstream.figures import set_figures
from skiagraph.tasks.downstream.networks import NETWORKS, scaled_seconds
from skiagraph.tasks.downstream.page import markdown, study_page, study_tables, study_warnings
from skiagraph.tasks.downstream.sets import read_study_sets
from skiagraph.tasks.downstream.settings import DownstreamSettings
from skiagraph.tasks.downstream.study import Scored, Study
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.provenance import run_record
from skiagraph.tasks.reconstruct.outputs import check_writable, run_folder, write_text

__all__ = ["DownstreamResult", "evaluate_downstream", "expectation"]

FIGURES = 2  # of what is computed of the sets; a change makes sets.json void


@dataclass(frozen=True)
class DownstreamResult:
    """What a study found and left.

    Args:
        folder: the run folder.
        page: the page to look at.
        main: scores at the main ratio; None where no run has all arms yet.
        sweep: scores of all ratios; None without a sweep.
        figures: of the sets.
        missing: trainings that are not there yet.
        warnings: what a reader must know.
    """

    folder: Path
    page: Path
    main: Scored | None
    sweep: Scored | None
    figures: list[dict[str, Any]]
    missing: int
    warnings: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            "main": None if self.main is None else _record(self.main),
            "sweep": None if self.sweep is None else _record(self.sweep),
            "sets": self.figures,
            "missing_trainings": self.missing,
            "warnings": list(self.warnings),
            "folder": self.folder,
            "page": self.page,
        }

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        grid = Table("trained on", *(score.replace("_", " ") for score in SCORES), "balanced accuracy minus real")
        if self.main is not None:
            real = next(iter(self.main.arms))
            for arm, scores in self.main.arms.items():
                gap = "-" if arm == real else str(scores.difference(self.main.arms[real], "balanced_accuracy"))
                grid.add_row(arm.title, *(str(scores.estimate(score)) for score in SCORES), gap)
        told = [Text(f"Warning: {warning}") for warning in self.warnings]
        left = [Text(f"{self.missing} trainings are still missing; the same command goes on.")] if self.missing else []
        return Group(grid, *told, *left, Text(f"Page: {self.page}"))


def _record(scored: Scored) -> dict[str, Any]:
    """Every estimate and difference as numbers."""
    record = {"runs": [list(run) for run in scored.runs], "wanted_runs": scored.wanted, "arms": _arms(scored.arms)}
    apart = {value: _arms(arms) for value, arms in scored.subgroups.items()}
    return {**record, "subgroups": apart} if apart else record


def _arms(arms: Mapping[Arm, ArmScores]) -> list[dict[str, Any]]:
    real, names = next(iter(arms)), (*SCORES, "sensitivity")
    rows = []
    for arm, scores in arms.items():
        row: dict[str, Any] = {"arm": arm.name, "ratio": arm.ratio, "title": arm.title}
        for score in names:
            found = scores.estimate(score)
            row[score] = _known([found.value, found.low, found.high])
            row[f"{score}_by_run"] = _known(scores.scores[score][0])
        row["recall_by_class"] = _known(scores.recalls.mean(0))
        row["sensitivity_by_class"] = _known(scores.sensitivities.mean(0))
        row["minus"] = {
            other.title: {
                score: _known([gap.value, gap.low, gap.high])
                for score in names
                for gap in [scores.difference(arms[other], score)]
            }
            for other in arms
            if other != arm and (other == real or other.ratio == arm.ratio)
        }
        rows.append(row)
    return rows


def _known(values: ArrayLike) -> list[float | None]:
    """Numbers for JSON; None for what is not known."""
    return [None if value != value else value for value in np.asarray(values, np.float64).tolist()]


def expectation(settings: DownstreamSettings) -> dict[str, Any]:
    """What a study takes, without starting it."""
    places = [settings.real, *settings.synthetic.values(), *([settings.test] if settings.test else [])]
    missing = [str(place) for place in places if not place.exists()]
    todo = list(cells(settings))
    size = settings.shape or (28, 28)
    rules = settings.training
    seconds = sum(scaled_seconds(cell.network, rules.steps, rules.batch, size) for cell in todo)
    facts: dict[str, Any] = {"missing": f"not there yet: {', '.join(missing)}"} if missing else {}
    return {
        **facts,
        "trainings": len(todo),
        "hours_on_one_core": round(seconds / 3600, 2),
        "assumed_size": f"{size[0]} x {size[1]}",
        "seconds_of_a_training": {
            name: round(scaled_seconds(name, rules.steps, rules.batch, size), 1)
            for name in NETWORKS
            if name in settings.networks
        },
    }


def evaluate_downstream(settings: DownstreamSettings, on_progress: OnProgress = silent) -> DownstreamResult:
    """Train what is not there, score the runs that all arms have, and leave tables, figures and the page."""
    import torch

    torch.set_num_threads(settings.threads or torch.get_num_threads())
    folder = settings.output
    check_writable(folder)
    sets = read_study_sets(settings)
    require_enough(sets, settings)
    study = Study(folder, sets, settings)
    study.train(on_progress)
    main, sweep = study.main(), study.sweep()
    figures = _kept_figures(folder, study, settings, on_progress)
    missing = sum(study.read(cell) is None for cell in study.cells)
    warnings = study_warnings(sets, main, settings)
    result = DownstreamResult(folder, folder / "report.html", main, sweep, figures, missing, warnings)
    facts = {**run_record(), "seed": settings.seed, "seconds_by_network": study.times()}
    facts |= {"real": sets.real.counts, "test": sets.test.counts}
    facts |= {"synthetic": {name: part.counts for name, part in sets.synthetic.items()}}
    record = {name: value for name, value in result.record().items() if name not in ("folder", "page")}
    tables = study_tables(sets, main, sweep, figures, settings)
    with run_folder(folder) as staged:
        write_text(staged / "config.yaml", dump_yaml(settings))
        write_text(staged / "run.json", json.dumps(facts, indent=2))
        write_text(staged / "results.json", json.dumps(record, indent=1))
        write_text(staged / "tables.md", markdown(tables))
        write_page(study_page(sets, main, sweep, figures, settings, facts), staged / "report.html")
    return result


def _kept_figures(
    folder: Path, study: Study, settings: DownstreamSettings, on_progress: OnProgress
) -> list[dict[str, Any]]:
    """Figures of the sets, computed once for the same images and settings."""
    if not study.sets.synthetic:
        return []
    facts = [
        FIGURES,
        study.data,
        settings.features,
        settings.figure_network,
        settings.training.model_dump(mode="json"),
        settings.neighbours,
    ]
    identity = hashlib.sha256(json.dumps([*facts, settings.seed], sort_keys=True).encode()).hexdigest()
    path = folder / "sets.json"
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["identity"] == identity:
            return list(kept["figures"])
    figures = set_figures(study.sets, settings, on_progress)
    write_whole(path, json.dumps({"identity": identity, "figures": figures}, indent=1).encode())
    return figures
