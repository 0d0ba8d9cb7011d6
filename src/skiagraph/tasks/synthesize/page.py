"""The page of a run: pairs before and after by class, hardness, distances, counts, what was rejected and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.report import Curve, Highlight, Line, Page, Picture, PictureRow, Table
from skiagraph.tasks.synthesize.folder import PROVENANCE
from skiagraph.tasks.synthesize.summary import HARD, Row, column

if TYPE_CHECKING:
    from skiagraph.tasks.synthesize.make import Maker

__all__ = ["synthesize_page"]

ACROSS = 6
CLASSES = 16
REJECTED = 12


def synthesize_page(
    maker: Maker,
    rows: Sequence[Row],
    figures: dict[str, Any],
    classes: Sequence[dict[str, Any]],
    warnings: Sequence[str],
    failures: Sequence[str],
    facts: dict[str, Any],
) -> Page:
    """The page of a finished run."""
    settings = maker.settings
    push = "unpushed" if not maker.recipe.pushes else f"{settings.guide.measure}, scale {settings.guide.scale:g}"
    if settings.candidates > 1:
        push += f", the hardest of {settings.candidates} draws by {settings.guide.measure}"
    return Page(
        title=f"Synthetic images from {maker.kit.name}",
        provenance=PROVENANCE,
        summary=(
            f"{figures['kept']} images kept of {figures['drawn']} drawn (mode {settings.mode}, {push}, preset "
            f"{settings.preset}). They show nobody: drawn from a diffusion prior to train classifiers, never for "
            "diagnosis. Labels of hard images are doubtful by intention."
        ),
        highlights=tuple(_highlights(figures)),
        warnings=(*(f"FAILED. {failure}" for failure in failures), *warnings),
        tables=(_class_table(classes), _figure_table(figures), _settings_table(maker)),
        rows=(*_pairs(maker, rows), *_rejected(maker, rows)),
        curves=tuple(_curves(maker, rows)),
        footer=f"skiagraph {facts['skiagraph']}, commit {facts['commit'] or 'unknown'}",
    )


def _settings_table(maker: Maker) -> Table:
    values = maker.settings.model_dump(mode="json", exclude_none=True)
    cells = [
        (f"{name}.{inner}" if inner else name, str(value))
        for name, whole in values.items()
        for inner, value in (whole.items() if isinstance(whole, dict) else [("", whole)])
    ]
    return Table("What was run", ("setting", "value"), tuple(cells), folded=True)


def _highlights(figures: dict[str, Any]) -> list[Highlight]:
    found = [Highlight(f"{figures['kept']} of {figures['drawn']}", "images kept", "of those drawn")]
    if figures["hard_share_after"] is not None:
        before = figures["hard_share_before"]
        note = "before: not known" if before is None else f"before: {100 * before:.0f} %"
        found.append(Highlight(f"{100 * figures['hard_share_after']:.0f} %", f"hard (entropy above {HARD})", note))
    if figures["label_flip_rate"] is not None:
        found.append(Highlight(f"{100 * figures['label_flip_rate']:.1f} %", "labels lost", str(figures["label_flips"])))
    calls = f"{figures['network_calls_per_image'] or 0:g} + {figures['classifier_calls_per_image'] or 0:g}"
    return [*found, Highlight(calls, "evaluations an image", "network + classifier")]


def _class_table(classes: Sequence[dict[str, Any]]) -> Table:
    heads = tuple(classes[0])
    note = "Images drawn until the quota is filled; rejected ones lie in rejected/, the reason stands in manifest.csv."
    return Table("By class", heads, tuple(tuple(line.values()) for line in classes), note=note)


def _figure_table(figures: dict[str, Any]) -> Table:
    cells = [
        (name.replace("_", " "), value if isinstance(value, int | float | str) else None)
        for name, value in figures.items()
        if not isinstance(value, dict)
    ]
    note = (
        "Measured on the pictures as written. Distances in pixels: root mean square, black to white being 1. Hard and "
        "measure: by the guiding classifier at the clean level; labels lost as stated."
    )
    return Table("Figures", ("figure", "value"), tuple(cells), note=note)


def _pairs(maker: Maker, rows: Sequence[Row]) -> list[PictureRow]:
    """The first kept images of each class, what they were above them; pairs first."""
    found = []
    for name in maker.kit.classes[:CLASSES]:
        own = [row for row in rows if row["label"] == name and row["kept"] == "yes"]
        own = sorted(own, key=lambda row: not (row["before_file"] or row["source"]))[:ACROSS]
        if not own:
            continue
        after = [Picture(maker.folder.read(row["file"]), row["id"], _caption(row)) for row in own]
        before = [_before(maker, row) for row in own]
        if any(picture is not None for picture in before):
            upper = tuple(picture or Picture(np.zeros_like(after[0].array), "no twin drawn") for picture in before)
            found.append(PictureRow(f"{name}: before, and after the push", upper, tuple(after), window=(0.0, 1.0)))
        else:
            found.append(PictureRow(name, tuple(after), window=(0.0, 1.0)))
    return found


def _before(maker: Maker, row: Row) -> Picture | None:
    odds = f"log-odds {float(row['log_odds_before']):.1f}" if row["log_odds_before"] else ""
    if row["before_file"]:
        return Picture(maker.folder.read(row["before_file"]), "before", odds)
    if not row["source"] or maker.real is None:
        return None
    image = maker.real.images[maker.real.names.index(row["source"])]
    shown: NDArray[np.float32] = np.clip((np.moveaxis(image, 0, 2) + 1) / 2, 0, 1)
    return Picture(shown[..., 0] if shown.shape[2] == 1 else shown, "real", odds, provenance="real image")


def _caption(row: Row) -> str:
    parts = []
    if row["log_odds_after"]:
        parts.append(f"log-odds {float(row['log_odds_after']):.1f}")
    if row["judge_label"]:
        parts.append(f"judge: {row['judge_label']} ({float(row['judge_p_' + row['judge_label']]):.2f})")
    if row["nearest_distance"]:
        parts.append(f"nearest real {float(row['nearest_distance']):.3f}")
    return ", ".join(parts)


def _rejected(maker: Maker, rows: Sequence[Row]) -> list[PictureRow]:
    found = []
    for reason in ("label lost", "near-copy", "outlier", "unchanged"):
        own = [row for row in rows if row["reason"] == reason][:REJECTED]
        if own:
            pictures = tuple(
                Picture(maker.folder.read(row["file"]), row["label"], _caption(row) or row["id"]) for row in own
            )
            found.append(PictureRow(f"Rejected: {reason}", pictures, window=(0.0, 1.0)))
    return found


def _curves(maker: Maker, rows: Sequence[Row]) -> list[Curve]:
    curves = []
    lines = [_quantiles(column(rows, f"{name}_{when}"), when) for name in ("entropy",) for when in ("before", "after")]
    judged = _quantiles(column(rows, "judge_entropy"), "after, by the judge")
    kept = tuple(line for line in (*lines, judged) if line is not None)
    if kept:
        note = "Images in the order of their entropy; the guiding classifier's, and the judge's where there is one."
        curves.append(Curve("How unsure classifiers are", kept, "share of images", "entropy (nats)", note=note))
    near = _quantiles(column(rows, "nearest_distance"), "drawn")
    if near is not None and maker.distances is not None:
        limit = maker.distances.copy_distance
        bound = Line((0.0, 1.0), (limit, limit), "near-copies lie below", marker=False)
        curves.append(Curve("Nearest real image", (near, bound), "share of images", "distance in pixels"))
    odds = [_quantiles(column(rows, f"log_odds_{when}"), when) for when in ("before", "after")]
    known = tuple(line for line in odds if line is not None)
    if known:
        curves.append(
            Curve("Log-odds of the label", known, "share of images", "log-odds", note="Below 0 the label is lost.")
        )
    return curves


def _quantiles(values: NDArray[np.float64], label: str) -> Line | None:
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return None
    shares = np.linspace(0, 1, min(len(known), 101)) if len(known) > 1 else np.array([0.5])
    return Line(tuple(shares.tolist()), tuple(np.quantile(known, shares).tolist()), label, marker=False)
