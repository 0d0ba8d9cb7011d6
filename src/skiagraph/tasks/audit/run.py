"""The command `audit`: reads the sets, looks for copies, leaves a run folder, and fails where there are too many."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skiagraph.config import dump_yaml
from skiagraph.data.pictures import find_files
from skiagraph.errors import DataError, InputError
from skiagraph.evaluation.features import fit_features
from skiagraph.evaluation.memorisation import SpaceAudit, audit_space
from skiagraph.evaluation.memorisation_rates import MemorisationRules
from skiagraph.evaluation.memorisation_spaces import (
    FeatureSpace,
    PixelSpace,
    SimilaritySpace,
    Space,
    image_variants,
    reduced,
)
from skiagraph.report import write_page
from skiagraph.tasks.audit.page import audit_page, audit_warnings, card_section, card_sentence, verdict
from skiagraph.tasks.audit.sets import AuditSets, read_audit_sets
from skiagraph.tasks.audit.settings import AuditSettings
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.provenance import run_record
from skiagraph.tasks.reconstruct.outputs import check_writable, run_folder, write_text

__all__ = ["FAILED", "AuditResult", "audit", "audit_sets", "expectation"]

FAILED = 5
"""Exit code of an audit that found more than it allows."""


@dataclass(frozen=True)
class AuditResult:
    """What an audit found and left.

    Args:
        folder: the run folder.
        page: the page to look at.
        audits: one for each space.
        warnings: what a reader must know.
    """

    folder: Path
    page: Path
    audits: tuple[SpaceAudit, ...]
    warnings: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the set."""
        return not any(audit.reasons for audit in self.audits)

    @property
    def exit_code(self) -> int:
        """0, or 5 where the audit fails."""
        return 0 if self.passed else FAILED

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            "passed": self.passed,
            "verdict": verdict(self.audits),
            "spaces": [audit.record() for audit in self.audits],
            "warnings": list(self.warnings),
            "folder": self.folder,
            "page": self.page,
        }

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        grid = Table(
            "compared in", "copies", "near-copies", "rate (95 %)", "expected", "nearer than unseen", "membership"
        )
        for audit in self.audits:
            rate, (low, high) = audit.rate, audit.rate.wilson
            copies = f"{len(audit.copies)}" if audit.of_images else "-"
            shares = (f"{audit.rules.share:g}", f"{audit.closer:.3f}", f"{audit.membership[0]:.3f}")
            grid.add_row(audit.space, copies, f"{rate.count}", f"{rate.value:.3f} ({low:.3f} to {high:.3f})", *shares)
        told = [Text(f"Warning: {warning}") for warning in self.warnings]
        return Group(grid, Text(verdict(self.audits)), *told, Text(f"Page: {self.page}"))


def expectation(settings: AuditSettings) -> dict[str, Any]:
    """What an audit takes, without starting it."""
    places = {"synthetic": settings.synthetic, "training": settings.training, "held_out": settings.held_out}
    missing = [str(place) for place in places.values() if not place.exists()]
    if missing:
        return {"missing": f"not there yet: {', '.join(missing)}"}
    files = {f"{name}_files": len(find_files([_images_of(place)])) for name, place in places.items()}
    count = len(image_variants(flips=settings.flips, shift=settings.shift))
    pairs = (files["synthetic_files"] + files["held_out_files"]) * files["training_files"] * count
    return {**files, "variants": count, "comparisons": pairs, "seconds_about": round(6e-6 * pairs + 2)}


def _images_of(place: Path) -> Path:
    """`images` of a folder that the program wrote, without what was rejected."""
    return place / "images" if (place / "images").is_dir() else place


def audit_sets(sets: AuditSets, settings: AuditSettings, on_progress: OnProgress = silent) -> tuple[SpaceAudit, ...]:
    """Compare in pixels, by SSIM where images are large enough, and on every kind of features.

    Args:
        sets: the images.
        settings: variants, features, thresholds.
        on_progress: told about every space.
    """
    synthetic, training, unseen = (
        reduced(part.images, settings.largest) for part in (sets.synthetic, sets.training, sets.held_out)
    )
    rules = MemorisationRules(
        share=settings.share,
        copy_fraction=settings.copy_fraction,
        maximum_rate=settings.maximum_rate,
        maximum_copies=settings.maximum_copies,
        resamples=settings.resamples,
        seed=settings.seed,
    )
    variants = image_variants(flips=settings.flips, shift=settings.shift)
    try:
        spaces: list[Space] = [PixelSpace()]
        if min(synthetic.shape[2:]) >= 11:
            spaces.append(SimilaritySpace())
        spaces += [FeatureSpace.of(fit_features(name, training), training) for name in settings.features]
    except ValueError as error:
        raise DataError(f"training: {error}") from error
    found = []
    for done, space in enumerate(spaces):
        on_progress("spaces", done, len(spaces))
        found.append(audit_space(space, synthetic, training, unseen, variants, rules))
    on_progress("spaces", len(spaces), len(spaces))
    return tuple(found)


def audit(settings: AuditSettings, on_progress: OnProgress = silent) -> AuditResult:
    """Audit a set and leave a run folder: figures, nearest pairs, a section for the model card, the page.

    Everything is written whether the audit passes or fails; the result's exit code tells which.
    """
    import torch

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    folder = settings.output or Path("runs") / f"audit-{settings.synthetic.name.split('.')[0]}"
    check_writable(folder)
    if settings.prior is not None and not (settings.prior / "prior.json").is_file():
        raise InputError(f"prior: {settings.prior} holds no prior.json; give a prior folder, or leave it out")
    sets = read_audit_sets(settings)
    audits = audit_sets(sets, settings, on_progress)
    result = AuditResult(folder, folder / "report.html", audits, audit_warnings(sets, audits))
    facts = {**run_record(), "seed": settings.seed, "passed": result.passed}
    figures = {name: value for name, value in result.record().items() if name not in ("folder", "page")}
    with run_folder(folder) as staged:
        write_text(staged / "config.yaml", dump_yaml(settings))
        write_text(staged / "run.json", json.dumps(facts, indent=2))
        write_text(staged / "audit.json", json.dumps({**figures, "images": _images(sets, audits)}, indent=1))
        write_text(staged / "card.md", card_section(sets, audits))
        write_page(audit_page(sets, audits, settings, facts), staged / "report.html")
    if settings.prior is not None:
        _into_card(settings.prior, card_sentence(sets, audits))
    return result


def _into_card(folder: Path, sentence: str) -> None:
    """Write the result into a prior's record and model card."""
    from skiagraph.training.prior import Prior

    prior = Prior.load(folder)
    record = prior.record.model_copy(update={"audit": sentence})
    dataclasses.replace(prior, record=record).save(folder, weights=record.weights)


def _images(sets: AuditSets, audits: tuple[SpaceAudit, ...]) -> list[dict[str, Any]]:
    """The nearest training image of every synthetic one, by space."""
    marked = {audit.space: (set(audit.near.tolist()), set(audit.copies.tolist())) for audit in audits}
    return [
        {
            "name": name,
            "nearest": {
                audit.space: {
                    "training": sets.training.names[int(audit.matches.indices[index, 0])],
                    "distance": round(float(audit.distances[index]), 6),
                    "variant": audit.variants[int(audit.matches.variants[index])],
                    "near_copy": index in marked[audit.space][0],
                    "copy": audit.of_images and index in marked[audit.space][1],
                }
                for audit in audits
            },
        }
        for index, name in enumerate(sets.synthetic.names)
    ]
