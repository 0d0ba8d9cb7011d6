"""How a study is shown: scores with intervals, differences, classes, networks, ratios, what the sets are like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from skiagraph.evaluation.classification import SCORES
from skiagraph.evaluation.downstream import Estimate
from skiagraph.report import Curve, Highlight, Line, Page, Picture, PictureRow, Table
from skiagraph.report.page import Cell
from skiagraph.tasks.downstream.arms import Arm
from skiagraph.tasks.downstream.sets import StudySets, shared_patients
from skiagraph.tasks.downstream.settings import DownstreamSettings
from skiagraph.tasks.downstream.study import Scored

__all__ = ["markdown", "study_page", "study_tables", "study_warnings"]

LEADING = "balanced_accuracy"
WORDS = {
    "balanced_accuracy": "balanced accuracy",
    "macro_auroc": "macro-AUROC",
    "quadratic_kappa": "quadratic kappa",
    "ece": "ECE",
    "brier": "Brier",
}


def study_warnings(sets: StudySets, main: Scored | None, settings: DownstreamSettings) -> tuple[str, ...]:
    """What a reader must know before believing the figures."""
    told = [*shared_patients(sets)]
    if main is None or len(main.runs) < main.wanted:
        done = 0 if main is None else len(main.runs)
        told.append(
            f"{done} of {settings.seeds * len(settings.networks)} runs (network and seed) have all arms so far."
        )
    if settings.seeds < 5:
        told.append(f"{settings.seeds} seeds: fewer than 5 say little about the spread between seeds.")
    if sets.test.patients is None:
        told.append(
            "No patients are known: every test image counts as independent, and intervals are too narrow where images "
            "of one patient are."
        )
    few = {name: count for name, count in sets.test.counts.items() if count < 20}
    if few:
        told.append(f"Few test images: {', '.join(f'{name} {count}' for name, count in few.items())}.")
    told.append(
        "Each synthetic set was drawn once; intervals hold the spread of test images, networks and seeds, not that of "
        "another generator or another draw of it."
    )
    return tuple(told)


def _rival(main: Scored, settings: DownstreamSettings) -> Arm | None:
    return next((arm for arm in main.arms if arm.name == settings.rival), None)


def _main_table(main: Scored, settings: DownstreamSettings) -> Table:
    real, rival = next(iter(main.arms)), _rival(main, settings)
    rows: list[tuple[Cell, ...]] = []
    for arm, scores in main.arms.items():
        row: list[Cell] = [arm.title, *(str(scores.estimate(score)) for score in SCORES)]
        row.append(None if arm == real else str(scores.difference(main.arms[real], LEADING)))
        if rival is not None:
            row.append(None if arm == rival else str(scores.difference(main.arms[rival], LEADING)))
        rows.append(tuple(row))
    heads = ["trained on", *WORDS.values(), "balanced accuracy minus real"]
    heads += [f"minus {rival.title}"] if rival is not None else []
    networks = len({network for network, _ in main.runs})
    note = (
        f"Means over {len(main.runs)} runs ({networks} networks) of {settings.training.steps} steps each, in brackets "
        f"95 % intervals of a bootstrap over test {settings.draw.replace('-', ' ')}, networks and seeds "
        f"({settings.resamples} draws, the same for all arms: differences are paired). ECE and Brier: lower is better."
    )
    return Table(f"Trained {settings.training.steps} steps on ...", tuple(heads), tuple(rows), note=note)


def _highest(columns: int) -> tuple[Literal["higher", "lower", ""], ...]:
    """The first column is a name, in all others the highest number is the best."""
    highest: Literal["higher"] = "higher"
    return ("", *[highest for _ in range(columns)])


def _class_table(main: Scored, classes: Sequence[str]) -> Table:
    rows = [(arm.title, *np.nanmean(scores.recalls, axis=0).tolist()) for arm, scores in main.arms.items()]
    formats = ("", *[".3f"] * len(classes))
    return Table("Recall of each class", ("trained on", *classes), tuple(rows), formats, _highest(len(classes)))


def _sensitivity_table(main: Scored, classes: Sequence[str], settings: DownstreamSettings) -> Table:
    real, level = next(iter(main.arms)), f"{100 * settings.specificity:g} %"
    rows: list[tuple[Cell, ...]] = []
    for arm, scores in main.arms.items():
        gap = None if arm == real else str(scores.difference(main.arms[real], "sensitivity"))
        rows.append((arm.title, str(scores.estimate("sensitivity")), gap, *scores.sensitivities.mean(0).tolist()))
    heads = ("trained on", "mean of classes", "minus real", *classes)
    formats = ("", "", "", *[".3f"] * len(classes))
    note = (
        f"Each class against all others, at the best threshold that leaves {level} of the others negative on these "
        "test images; below 1 / (1 - specificity) images of other classes it allows no false alarm at all."
    )
    return Table(f"Sensitivity at {level} specificity", heads, tuple(rows), formats, note=note, folded=True)


def _subgroup_table(main: Scored, sets: StudySets, settings: DownstreamSettings) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for arm in main.arms:
        found = [scores[arm].estimate(LEADING) for scores in main.subgroups.values()]
        rows.append((arm.title, *map(str, found), max(found, key=_value).value - min(found, key=_value).value))
    counts = {value: int(inside.sum()) for value, inside in sets.subgroups.items()}
    heads = ("trained on", *(f"{value} ({counts[value]} images)" for value in main.subgroups), "best minus worst")
    note = (
        f"Test images by `{settings.subgroup}`, on the draws of the main table; mean recall over the classes that "
        "occur among them. Subgroups that hold other classes are not comparable with one another."
    )
    formats = ("", *[""] * len(main.subgroups), ".3f")
    return Table(f"Balanced accuracy by {settings.subgroup}", heads, tuple(rows), formats, note=note)


def _value(found: Estimate) -> float:
    return found.value


def _network_table(main: Scored) -> Table:
    networks = list(dict.fromkeys(network for network, _ in main.runs))
    names = np.array([network for network, _ in main.runs])
    rows: list[tuple[Cell, ...]] = []
    for arm, scores in main.arms.items():
        plain = scores.scores[LEADING][0]
        rows.append((arm.title, *(float(plain[names == network].mean()) for network in networks)))
    formats = ("", *[".3f"] * len(networks))
    title = "Balanced accuracy of each network"
    return Table(title, ("trained on", *networks), tuple(rows), formats, _highest(len(networks)))


def _ratio_table(sweep: Scored) -> Table:
    real = next(iter(sweep.arms))
    rows = []
    for arm, scores in sweep.arms.items():
        gap = None if arm == real else str(scores.difference(sweep.arms[real], LEADING))
        rows.append((arm.title, arm.ratio, str(scores.estimate(LEADING)), str(scores.estimate("macro_auroc")), gap))
    heads = ("trained on", "ratio", "balanced accuracy", "macro-AUROC", "balanced accuracy minus real")
    networks = ", ".join(dict.fromkeys(network for network, _ in sweep.runs))
    return Table("Ratio of synthetic to real images", heads, tuple(rows), note=f"{len(sweep.runs)} runs: {networks}.")


def _figure_tables(figures: Sequence[dict[str, Any]]) -> list[Table]:
    """One table for each kind of features, and one of class score and labels."""
    tables = []
    kinds = [key.removeprefix("KD-") for key in figures[0] if key.startswith("KD-") and not key.endswith("_deviation")]
    for kind in kinds:
        keys: tuple[str, ...] = (f"KD-{kind}", f"KD-{kind}_deviation", f"FD-{kind}")
        keys += tuple(f"{key}-{kind}" for key in ("precision", "recall", "density", "coverage"))
        heads = ("set", "images / real", f"KD-{kind}", "± of subsets", f"FD-{kind}")
        rows = tuple(
            (row["set"], f"{row['images']} / {row['real_images']}", *(row.get(key) for key in keys)) for row in figures
        )
        formats = ("", "", ".4g", ".2g", ".4g", ".3f", ".3f", ".3f", ".3f")
        title = f"The sets against the real training images, on {kind}"
        note = "Kernel and Frechet distance on the named features; compare sets of equal number."
        tables.append(
            Table(title, (*heads, "precision", "recall", "density", "coverage"), rows, formats, note=note, folded=True)
        )
        tables += _by_class_table(kind, figures)
    words = [key for key in figures[0] if key.startswith(("class_score", "label_agreement", "mean_entropy"))]
    rows = tuple((row["set"], row["images"], *(row.get(key) for key in words)) for row in figures)
    titles = ("set", "images", *(key.replace("_", " ") for key in words))
    note = (
        "By one network trained on the real images. Class score: the inception score's formula with this network, "
        "comparable only between these sets. Label agreement: share of images that it gives their intended class."
    )
    return [*tables, Table("What a network trained on real images says of the sets", titles, rows, note=note)]


def _by_class_table(kind: str, figures: Sequence[dict[str, Any]]) -> list[Table]:
    """Precision, recall, density and coverage of every class, where they were computed."""
    key = f"by_class-{kind}"
    shown = [row for row in figures if key in row]
    if not shown:
        return []
    classes = list(shown[0][key])
    rows = tuple(
        (row["set"], *(values and " / ".join(f"{value:.2f}" for value in values) for values in row[key].values()))
        for row in shown
    )
    note = (
        "Precision / recall / density / coverage against the real training images of the class; few images say little."
    )
    return [Table(f"Class by class, on {kind}", ("set", *classes), rows, note=note, folded=True)]


def study_tables(
    sets: StudySets,
    main: Scored | None,
    sweep: Scored | None,
    figures: Sequence[dict[str, Any]],
    settings: DownstreamSettings,
) -> list[Table]:
    """All tables that there is something for."""
    tables = []
    if main is not None:
        tables.append(_main_table(main, settings))
        tables += [_subgroup_table(main, sets, settings)] if main.subgroups else []
        tables += [_class_table(main, sets.classes), _sensitivity_table(main, sets.classes, settings)]
        tables.append(_network_table(main))
    if sweep is not None:
        tables.append(_ratio_table(sweep))
    return [*tables, *(_figure_tables(figures) if figures else [])]


def _curves(sweep: Scored | None) -> tuple[Curve, ...]:
    if sweep is None:
        return ()
    real, lines = next(iter(sweep.arms)), []
    for name in dict.fromkeys(arm.name for arm in sweep.arms if arm.ratio):
        arms = [arm for arm in sweep.arms if arm.name == name]
        values = [sweep.arms[arm].estimate(LEADING).value for arm in arms]
        lines.append(Line([arm.ratio for arm in arms], values, name))
    ratios = sorted({arm.ratio for arm in sweep.arms if arm.ratio})
    base = sweep.arms[real].estimate(LEADING).value
    lines.append(Line(ratios, [base] * len(ratios), "real alone", marker=False))
    return (Curve("Synthetic images for each real one", tuple(lines), "ratio", "balanced accuracy", logarithmic="x"),)


def _pictures(sets: StudySets, shown: int = 8) -> tuple[PictureRow, ...]:
    """The first images of every class, of the real images and of each set; nothing chosen."""
    rows = []
    for title, part in (("real", sets.real), *sets.synthetic.items()):
        pictures = []
        for label, name in enumerate(sets.classes[:shown]):
            places = np.flatnonzero(part.labels == label)
            if len(places):
                image = (np.moveaxis(part.images[places[0]], 0, 2) + 1) / 2
                array = image[..., 0] if image.shape[2] == 1 else image
                pictures.append(Picture(array, name, provenance="" if title == "real" else "synthetic"))
        if pictures:
            rows.append(PictureRow(f"{title}: the first of each class", tuple(pictures), window=(0.0, 1.0)))
    return tuple(rows)


def study_page(
    sets: StudySets,
    main: Scored | None,
    sweep: Scored | None,
    figures: Sequence[dict[str, Any]],
    settings: DownstreamSettings,
    facts: dict[str, Any],
) -> Page:
    """The page of a study."""
    cells = [(name, str(value)) for name, value in settings.model_dump(mode="json", exclude_none=True).items()]
    highlights = []
    if main is not None:
        real, rival = next(iter(main.arms)), _rival(main, settings)
        highlights.append(Highlight(str(main.arms[real].estimate(LEADING)), "balanced accuracy, real images alone"))
        if rival is not None:
            gap = main.arms[rival].difference(main.arms[real], LEADING)
            told = "the interval excludes 0" if gap.excludes_zero else "the interval holds 0"
            highlights.append(Highlight(f"{gap.value:+.3f}", f"{rival.title} minus real", f"{gap}; {told}"))
    return Page(
        title="Do synthetic images help?",
        provenance="real images as given",
        summary=f"{len(sets.real)} real images to train on, {len(sets.test)} to test on, {len(sets.classes)} classes; "
        f"{len(sets.synthetic)} synthetic sets.",
        highlights=tuple(highlights),
        warnings=study_warnings(sets, main, settings),
        tables=(
            *study_tables(sets, main, sweep, figures, settings),
            Table("What was run", ("setting", "value"), tuple(cells), folded=True),
        ),
        rows=_pictures(sets),
        curves=_curves(sweep),
        footer=f"skiagraph {facts['skiagraph']}, commit {facts['commit'] or 'unknown'}",
    )


def markdown(tables: Sequence[Table]) -> str:
    """Tables as Markdown."""
    parts = []
    for table in tables:
        formats = (*table.formats, *[""] * (len(table.columns) - len(table.formats)))
        parts += [f"### {table.title}", "", "| " + " | ".join(table.columns) + " |"]
        parts.append("| " + " | ".join(["---"] * len(table.columns)) + " |")
        for row in table.rows:
            texts = [_text(cell, form) for cell, form in zip(row, formats, strict=True)]
            parts.append("| " + " | ".join(texts) + " |")
        parts += ["", *([table.note, ""] if table.note else [])]
    return "\n".join(parts)


def _text(cell: Cell, form: str) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return format(cell, form or ".4g")
    return str(cell)
