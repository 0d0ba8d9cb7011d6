"""The command `evaluate distribution`: reads the sets, compares them, leaves a run folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skiagraph.config import dump_yaml
from skiagraph.data.pictures import find_files
from skiagraph.report import write_page
from skiagraph.tasks.distribution.compare import Compared, compare_sets
from skiagraph.tasks.distribution.page import distribution_page, distribution_warnings, markdown
from skiagraph.tasks.distribution.sets import ImageSets, read_sets
from skiagraph.tasks.distribution.settings import DistributionSettings
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.provenance import run_record
from skiagraph.tasks.reconstruct.outputs import check_writable, run_folder, write_text

__all__ = ["DistributionResult", "evaluate_distribution", "expectation"]


@dataclass(frozen=True)
class DistributionResult:
    """What a comparison left.

    Args:
        folder: the run folder.
        page: the page to look at.
        compared: the figures.
        warnings: what a reader must know.
    """

    folder: Path
    page: Path
    compared: Compared
    warnings: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            "sets": [row.record() for row in self.compared.rows],
            "copies": [{"space": audit.space, **audit.found.record()} for audit in self.compared.audits],
            "warnings": list(self.warnings),
            "folder": self.folder,
            "page": self.page,
        }

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        grid = Table("features", "set", "images / training", "KD", "FD", "precision", "recall", "density", "coverage")
        for row in self.compared.rows:
            scores = row.scores
            shares = (scores.precision, scores.recall, scores.density, scores.coverage)
            figures = (f"{row.kernel.value:.4g} ± {row.kernel.subset_deviation:.2g}", f"{row.frechet:.4g}")
            grid.add_row(row.features, row.of, row.images, *figures, *(f"{value:.3f}" for value in shares))
        audit = self.compared.audits[0].found
        copies = (
            f"Near-copies in pixels: {len(audit.near_copies)} of {len(audit.distances)} "
            f"({100 * audit.rate:.1f} %; {100 * audit.share:g} % expected)"
        )
        told = [Text(f"Warning: {warning}") for warning in self.warnings]
        return Group(grid, Text(copies), *told, Text(f"Page: {self.page}"))


def expectation(settings: DistributionSettings) -> dict[str, Any]:
    """What a comparison takes, without starting it."""
    missing = [place for place in (*settings.generated, *settings.training, *settings.held_out) if not place.exists()]
    if missing:
        return {"missing": f"not there yet: {', '.join(map(str, missing))}"}
    names = {"generated": settings.generated, "training": settings.training, "held_out": settings.held_out}
    files = {f"{name}_files": len(find_files(places)) for name, places in names.items() if places}
    return {**files, "features": [*settings.features, *([str(settings.encoder)] if settings.encoder else [])]}


def evaluate_distribution(settings: DistributionSettings, on_progress: OnProgress = silent) -> DistributionResult:
    """Compare sets of images and leave a run folder: tables, figures of every image, record, page."""
    import torch

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    folder = settings.output or Path("runs") / f"distribution-{settings.generated[0].name.split('.')[0]}"
    check_writable(folder)
    sets = read_sets(settings)
    compared = compare_sets(sets, settings, on_progress)
    result = DistributionResult(folder, folder / "report.html", compared, distribution_warnings(sets))
    facts = {**run_record(), "features": list(compared.features), "seed": settings.seed}
    figures = {
        **{name: value for name, value in result.record().items() if name not in ("folder", "page")},
        "images": _images(sets, compared),
    }
    with run_folder(folder) as staged:
        write_text(staged / "config.yaml", dump_yaml(settings))
        write_text(staged / "run.json", json.dumps(facts, indent=2))
        write_text(staged / "figures.json", json.dumps(figures, indent=2, allow_nan=False))
        write_text(staged / "table.md", markdown(compared))
        write_page(distribution_page(sets, compared, settings, facts), staged / "report.html")
    return result


def _images(sets: ImageSets, compared: Compared) -> list[dict[str, Any]]:
    """The nearest training image of every generated one, by space."""
    spaces = {audit.space: audit.found for audit in reversed(compared.audits)}
    return [
        {
            "name": name,
            "nearest": {
                space: {
                    "training": sets.training.names[int(found.generated.indices[index, 0])],
                    "distance": round(float(found.distances[index]), 6),
                    "ratio_to_mean_of_neighbours": round(float(found.ratios[index]), 4),
                }
                for space, found in spaces.items()
            },
        }
        for index, name in enumerate(sets.generated.names)
    ]
