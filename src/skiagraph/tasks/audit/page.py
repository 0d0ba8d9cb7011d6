"""How an audit is shown: the table, the closest pairs side by side, the section of a model card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skiagraph.evaluation.memorisation import SpaceAudit
from skiagraph.report import Curve, Highlight, Line, Page, Picture, PictureRow, Table
from skiagraph.tasks.audit.sets import AuditSets
from skiagraph.tasks.audit.settings import AuditSettings

__all__ = ["audit_page", "audit_warnings", "card_section", "card_sentence", "verdict"]

HEADS = (
    *("compared in", "smallest", "median", "unseen: smallest", "unseen: median", "copies", "near-copies", "rate"),
    *("Wilson 95 %", "exact 95 %", "bootstrap 95 %", "expected", "nearer than unseen", "membership", "duplicates"),
)


def _span(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


def _cells(audit: SpaceAudit) -> tuple[str | float | int, ...]:
    rate, own, unseen = audit.rate, audit.distances, audit.baseline
    area, low, high = audit.membership
    return (
        *(audit.space, float(own.min()), float(np.median(own)), float(unseen.min()), float(np.median(unseen))),
        *(len(audit.copies) if audit.of_images else "-", rate.count, rate.value),
        *(_span(rate.wilson), _span(rate.exact), _span(rate.bootstrap), audit.rules.share, audit.closer),
        *(f"{area:.3f} ({low:.3f} to {high:.3f})", audit.duplicates.rate.count),
    )


def audit_warnings(sets: AuditSets, audits: Sequence[SpaceAudit]) -> tuple[str, ...]:
    """What a reader must know before believing the figures."""
    told = []
    if len(sets.held_out) < len(sets.synthetic):
        told.append(
            f"{len(sets.held_out)} held-out images for {len(sets.synthetic)} synthetic ones: the distance that "
            "separates near-copies rests on few images, which the bootstrap interval accounts for."
        )
    if sets.seen:
        told.append(
            f"{sets.seen} held-out images equal a training image: the split leaks. They are left out of the baseline; "
            "similar ones of the same patients may remain in it."
        )
    leaked = int((audits[0].baseline == 0).sum())
    if leaked:
        told.append(
            f"{leaked} held-out images equal a training image, moved or flipped: they were seen, or the split leaks. "
            "The baseline is too near for all figures."
        )
    expected = 1 / audits[0].rules.share
    if len(sets.held_out) < expected:
        told.append(
            f"A share of {audits[0].rules.share:g} of {len(sets.held_out)} held-out images is less than one image: the "
            f"nearest of them decides alone. Give {expected:.0f} or more, or raise `share`."
        )
    return tuple(told)


def verdict(audits: Sequence[SpaceAudit]) -> str:
    """The result in one sentence."""
    reasons = [reason for audit in audits for reason in audit.reasons]
    return "Failed. " + "; ".join(reasons) + "." if reasons else "Passed: no more copies than unseen real images show."


def card_sentence(sets: AuditSets, audits: Sequence[SpaceAudit]) -> str:
    """The result as one paragraph, for the record of a prior."""
    first = audits[0]
    figures = "; ".join(
        f"{audit.space}: near-copies {audit.rate.count} ({audit.rate.value:.3f}, 95 % {_span(audit.rate.wilson)}), "
        f"membership {audit.membership[0]:.3f}"
        for audit in audits
    )
    return (
        f"{verdict(audits)} {len(sets.synthetic)} synthetic images against {len(sets.training)} training images, "
        f"beside {len(sets.held_out)} unseen real ones, {len(first.variants)} variants each (flips, shifts); expected "
        f"near-copy rate {first.rules.share:g}, allowed {first.rules.maximum_rate:g}. {figures}."
    )


def card_section(sets: AuditSets, audits: Sequence[SpaceAudit]) -> str:
    """The section of a model card, Markdown."""
    lines = ["| " + " | ".join(HEADS) + " |", "| " + " | ".join(["---"] * len(HEADS)) + " |"]
    for audit in audits:
        cells = [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in _cells(audit)]
        lines.append("| " + " | ".join(cells) + " |")
    notes = [f"- Warning: {warning}" for warning in audit_warnings(sets, audits)]
    parts = [
        "## Memorisation audit",
        "",
        card_sentence(sets, audits),
        "",
        *lines,
        "",
        NOTE,
        *(["", *notes] if notes else []),
    ]
    return "\n".join(parts) + "\n"


NOTE = (
    "Distance of each image to its nearest training image. Pixels: root mean square difference, black to white "
    "being 1; SSIM: 1 - SSIM. Near-copies lie nearer than the expected share of unseen images does; copies, counted in "
    "pixels and by SSIM, far nearer (half that distance unless stated otherwise). Nearer than unseen: probability, 0.5 "
    "where neither is. Membership: area under the curve of telling training images from unseen ones by their distance "
    "to the synthetic set, 0.5 where nothing leaks. Duplicates: synthetic images nearer to another one than the "
    "expected share of real images is to another real one."
)


def _closest(audits: Sequence[SpaceAudit], shown: int) -> list[int]:
    """Synthetic images nearest to training, relative to each space's threshold, nearest first."""
    relative = np.min([audit.distances / max(audit.threshold, 1e-12) for audit in audits if audit.of_images], axis=0)
    return [int(index) for index in np.argsort(relative, kind="stable")[:shown]]


def _row(sets: AuditSets, audits: Sequence[SpaceAudit], index: int) -> PictureRow:
    """A synthetic image beside its nearest training image in every space."""
    image = sets.synthetic.picture(index)
    upper, lower = [Picture(image, "synthetic", provenance="synthetic")], [None]
    marks = []
    for audit in audits:
        place = int(audit.matches.indices[index, 0])
        near = sets.training.picture(place)
        how = audit.variants[int(audit.matches.variants[index])]
        caption = f"{sets.training.names[place]}, distance {audit.distances[index]:.3g}"
        caption += "" if how == audit.variants[0] else f", synthetic one {how}"
        upper.append(Picture(near, f"nearest in training, {audit.space}", caption))
        difference = np.abs(image - near)
        lower.append(Picture(difference if image.ndim == 2 else difference.mean(-1), "difference", kind="error"))  # type: ignore[arg-type]
        if audit.of_images and index in audit.copies:
            marks.append(f"COPY by {audit.space}")
        elif index in audit.near:
            marks.append(f"near-copy by {audit.space}")
    title = f"{sets.synthetic.names[index]}: {', '.join(marks) or 'no near-copy'}"
    return PictureRow(title, tuple(upper), tuple(lower), window=(0.0, 1.0), error_factor=3.0)


def _curve(audit: SpaceAudit) -> Curve:
    """Shares of images nearer to the training set than a distance."""

    def line(values: Any, label: str) -> Line:
        ordered = np.sort(values)
        kept = np.unique(np.linspace(0, len(ordered) - 1, min(200, len(ordered))).astype(int))
        return Line(ordered[kept].tolist(), ((kept + 1) / len(ordered)).tolist(), label, marker=False)

    lines = (line(audit.distances, "synthetic"), line(audit.baseline, "unseen real"))
    return Curve(
        f"Distance to the nearest training image, {audit.space}", lines, f"distance in {audit.space}", "share of images"
    )


def audit_page(sets: AuditSets, audits: Sequence[SpaceAudit], settings: AuditSettings, facts: dict[str, Any]) -> Page:
    """The page of an audit."""
    first, failed = audits[0], any(audit.reasons for audit in audits)
    formats = ("", *[".4g"] * 4, "d", "d", ".3f", "", "", "", "", ".3f", "", "d")
    copies = max(len(audit.copies) for audit in audits if audit.of_images)
    cells = [(name, str(value)) for name, value in settings.model_dump(mode="json", exclude_none=True).items()]
    return Page(
        title="Memorisation audit",
        provenance="training images as given",
        summary=card_sentence(sets, audits),
        highlights=(
            Highlight("failed" if failed else "passed", "verdict"),
            Highlight(str(copies), "copies of training images", f"of {first.rate.total} synthetic images"),
            Highlight(
                f"{100 * first.rate.value:.1f} %",
                f"near-copies in {first.space}",
                f"95 % {_span(first.rate.wilson)}; {100 * first.rules.share:g} % expected",
            ),
            Highlight(f"{first.membership[0]:.2f}", "membership score", "0.5: nothing leaks"),
        ),
        warnings=audit_warnings(sets, audits),
        tables=(
            Table("Nearest training images", HEADS, tuple(_cells(audit) for audit in audits), formats, note=NOTE),
            Table("What was run", ("setting", "value"), tuple(cells), folded=True),
        ),
        rows=tuple(_row(sets, audits, index) for index in _closest(audits, settings.shown)),
        curves=tuple(_curve(audit) for audit in audits),
        footer=f"skiagraph {facts['skiagraph']}, commit {facts['commit'] or 'unknown'}",
    )
