"""How a comparison of sets is shown: tables, nearest training images, the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skiagraph.evaluation.copies import CopyAudit
from skiagraph.evaluation.distribution import FEW
from skiagraph.report import Curve, Highlight, Line, Page, Picture, PictureRow, Table
from skiagraph.tasks.distribution.compare import Audit, Compared, SetFigures
from skiagraph.tasks.distribution.sets import ImageSets
from skiagraph.tasks.distribution.settings import DistributionSettings

__all__ = ["distribution_page", "distribution_warnings", "markdown"]

HEADS = ("set", "images / training", "KD", "± of subsets", "FD", "precision", "recall", "density", "coverage")
COPY_HEADS = ("distance in", "baseline", "images", "smallest", "median", "baseline's median", "nearer than baseline")
RATE_HEADS = ("near-copies", "rate", "95 % interval", "expected")


def distribution_warnings(sets: ImageSets) -> tuple[str, ...]:
    """What a reader must know before believing the figures."""
    told = []
    few = min(len(sets.generated), len(sets.training))
    if few < FEW:
        told.append(
            f"With {few} images in a set the Frechet distance depends on their number: compare it with sets of the "
            "same number only, and read the kernel distance, which is unbiased, first."
        )
    if sets.held_out is None:
        told.append(
            "No held-out images were given: nothing says what real images would score, and training images among "
            "themselves are the only baseline for copies."
        )
    elif len(sets.held_out) != len(sets.generated):
        told.append(
            f"{len(sets.generated)} generated and {len(sets.held_out)} held-out images: their Frechet distances, "
            "precision, recall and coverage cannot be compared as they stand. Give sets of the same number."
        )
    return tuple(told)


def _cells(row: SetFigures) -> tuple[str | float, ...]:
    kernel, scores = row.kernel, row.scores
    figures = (scores.precision, scores.recall, scores.density)
    covered = f"{scores.coverage:.3f} (of {scores.expected_coverage:.3f})"
    return row.of, row.images, kernel.value, kernel.subset_deviation, row.frechet, *figures, covered


def _heads(rows: Sequence[SetFigures]) -> tuple[str, ...]:
    """Heads that name the features, so that no figure can be quoted without them."""
    name = rows[0].features
    return tuple(f"{head}-{name}" if head in ("KD", "FD") else head for head in HEADS)


def _note(rows: Sequence[SetFigures]) -> str:
    kernel, scores = rows[0].kernel, rows[0].scores
    return (
        f"KD: unbiased squared kernel distance, (a.b/d + 1)^3; its spread is over {kernel.subsets} subsets of "
        f"{kernel.subset_size} images. FD: squared Frechet distance. Precision, recall, density, coverage with "
        f"k = {scores.k} neighbours; in brackets the coverage that as many images of the same distribution would "
        f"have. Features {rows[0].features}, centred and divided by one number of the training images."
    )


def _by_features(compared: Compared) -> list[list[SetFigures]]:
    names = dict.fromkeys(row.features for row in compared.rows)
    return [[row for row in compared.rows if row.features == name] for name in names]


def _copy_cells(audit: Audit) -> tuple[str | float | int, ...]:
    found = audit.found
    low, high = found.interval
    kind = "held-out images" if found.baseline_kind == "held-out" else "training images among themselves"
    distances = (float(found.distances.min()), float(np.median(found.distances)), float(np.median(found.baseline)))
    rate = (len(found.near_copies), found.rate, f"{low:.3f} to {high:.3f}", found.share)
    return audit.space, kind, len(found.baseline), *distances, found.closer, *rate


def _copy_note(audit: CopyAudit) -> str:
    return (
        "Distance of each generated image to its nearest training image. Near-copies lie nearer than "
        f"{100 * audit.share:g} % of the baseline's images do. Pixels: root mean square difference, black to white "
        "being 1. Nearer than baseline: probability that a generated image is nearer than one of the baseline; 0.5 "
        "where neither is."
    )


def markdown(compared: Compared) -> str:
    """All tables as Markdown."""
    parts = []
    for rows in _by_features(compared):
        parts += [_markdown_table(_heads(rows), [_cells(row) for row in rows]), _note(rows), ""]
    rows_of_copies = [_copy_cells(audit) for audit in compared.audits]
    parts += [
        _markdown_table((*COPY_HEADS, *RATE_HEADS), rows_of_copies),
        _copy_note(compared.audits[0].found),
        "",
    ]
    return "\n".join(parts)


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str | float | int]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join(["---"] * len(heads)) + " |"]
    lines += [
        "| " + " | ".join(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row) + " |"
        for row in rows
    ]
    return "\n".join([*lines, ""])


def _curve(audits: Sequence[Audit]) -> Curve:
    """Shares of images nearer to the training set than a distance, in pixels."""
    pixels = [audit.found for audit in audits if audit.space == "pixels"]

    def line(values: Any, label: str) -> Line:
        ordered = np.sort(values)
        kept = np.unique(np.linspace(0, len(ordered) - 1, min(200, len(ordered))).astype(int))
        return Line(ordered[kept].tolist(), ((kept + 1) / len(ordered)).tolist(), label, marker=False)

    names = {"held-out": "held-out", "training": "training among themselves"}
    lines = [line(pixels[0].distances, "generated"), *(line(p.baseline, names[p.baseline_kind]) for p in pixels)]
    return Curve(
        "Distance to the nearest training image",
        tuple(lines),
        "root mean square difference of pixels",
        "share of images",
        note="A curve to the left of the others belongs to a set that lies nearer to the training images.",
    )


def _chosen(audit: CopyAudit, shown: int, seed: int) -> list[tuple[int, str]]:
    """The generated images most like one training image, then some at random."""
    alike = np.argsort(audit.distances, kind="stable")[: -(-shown // 2)].tolist()
    rest = [index for index in range(len(audit.distances)) if index not in alike]
    drawn = np.random.default_rng(seed).permutation(rest)[: shown - len(alike)].tolist()
    return [(index, "among the most alike") for index in alike] + [(index, "drawn at random") for index in drawn]


def _rows(sets: ImageSets, audits: Sequence[Audit], settings: DistributionSettings) -> list[PictureRow]:
    first = audits[0].found
    return [_neighbours(sets, audits, index, why) for index, why in _chosen(first, settings.shown, settings.seed)]


def _neighbours(sets: ImageSets, audits: Sequence[Audit], index: int, why: str) -> PictureRow:
    """A generated image, its nearest training images, and the differences below them."""
    image = sets.generated.picture(index)
    upper = [Picture(image, "generated", provenance="synthetic")]
    lower: list[Picture | None] = [None]
    for space in dict.fromkeys(audit.space for audit in audits):
        found = next(audit.found for audit in audits if audit.space == space)
        place = int(found.generated.indices[index, 0])
        near = sets.training.picture(place)
        caption = f"{sets.training.names[place]}, distance {found.distances[index]:.3g}"
        upper.append(Picture(near, f"nearest in training, {space}", caption))
        difference = np.abs(image - near)
        lower.append(Picture(difference if image.ndim == 2 else difference.mean(-1), "difference", kind="error"))
    title = f"{sets.generated.names[index]}: {why}"
    return PictureRow(title, tuple(upper), tuple(lower), window=(0.0, 1.0), error_factor=3.0)


def _tables(compared: Compared) -> list[Table]:
    formats = ("", "", ".4g", ".2g", ".4g", ".3f", ".3f", ".3f", "")
    tables = [
        Table(f"On {rows[0].features}", _heads(rows), tuple(_cells(row) for row in rows), formats, note=_note(rows))
        for rows in _by_features(compared)
    ]
    copies = tuple(_copy_cells(audit) for audit in compared.audits)
    copy_formats = ("", "", "d", ".4g", ".4g", ".4g", ".3f", "d", ".3f", "", ".3f")
    note = _copy_note(compared.audits[0].found)
    return [*tables, Table("Nearest training images", (*COPY_HEADS, *RATE_HEADS), copies, copy_formats, note=note)]


def distribution_page(
    sets: ImageSets, compared: Compared, settings: DistributionSettings, facts: dict[str, Any]
) -> Page:
    """The page of a comparison."""
    first, audit = compared.rows[0], compared.audits[0].found
    baseline = next((row for row in compared.rows[1:] if row.of == "held-out" and row.features == first.features), None)
    beside = f"held-out images: {baseline.kernel.value:.3g}" if baseline else f"± {first.kernel.subset_deviation:.2g}"
    cells = [(name, str(value)) for name, value in settings.model_dump(mode="json", exclude_none=True).items()]
    return Page(
        title="Generated images against the training images",
        provenance="training images as given",
        summary=f"{len(sets.generated)} generated images beside {len(sets.training)} training images.",
        highlights=(
            Highlight(f"{first.kernel.value:.3g}", f"KD-{first.features}, {first.images} images", beside),
            Highlight(f"{100 * audit.rate:.1f} %", "near-copies in pixels", f"{100 * audit.share:g} % are expected"),
        ),
        warnings=distribution_warnings(sets),
        tables=(*_tables(compared), Table("What was run", ("setting", "value"), tuple(cells), folded=True)),
        rows=tuple(_rows(sets, compared.audits, settings)),
        curves=(_curve(compared.audits),),
        footer=f"skiagraph {facts['skiagraph']}, commit {facts['commit'] or 'unknown'}",
    )
