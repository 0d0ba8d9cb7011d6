"""Writes RESULTS.md, figures.json and the pictures of the study from what its steps left."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from screen import SAID, described
from together import together

from skiagraph.data.labelled import read_labelled
from skiagraph.tasks.provenance import run_record

__all__ = ["collect"]


ABOUT = {
    "organs": "Crops of 28 x 28 pixels of one patient's CT, as in RESULTS.md, but every classifier learns from all 547 "
    "training crops, the same that generator, guide and judge learned from, and half a synthetic crop for each one; "
    "few networks and seeds.",
    "trunk-wall-few": "A second set, to see whether the first one's answer is its own: ten parts of the wall of the "
    "same patient's trunk, 28 x 28 pixels, split by slab. Generator, guide and judge, trained half as long as the "
    "organs', learn from all training crops; classifiers learn from one crop in five and as many synthetic ones. "
    "Scales are those of the first set. All sets are drawn with fresh noise at every step (`walk.eta` 1): without it a "
    "quarter of the unguided crops stayed noise, as this generator is trained less; nothing else was chosen here.",
    "coronal-few": "A third set: coronal crops of the eleven organs of the same patient, split by coronal slab, with a "
    "generator, guide and judge of its own. Every setting is the second set's, fixed before anything here was trained; "
    "only the arms of the claim are drawn, and `mined` after the claim was scored.",
}
"""What the other sets are, for the head of their results."""


def read(path: Path) -> dict[str, Any]:
    """A JSON file's content; empty where it is not there yet."""
    return json.loads(path.read_text()) if path.exists() else {}


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join(["---"] * len(heads)) + " |"]
    return [*lines, *["| " + " | ".join(row) + " |" for row in rows], ""]


def manifest(folder: Path) -> list[dict[str, str]]:
    """Rows of a synthetic set's manifest."""
    path = folder / "manifest.csv"
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def mean_of(rows: Sequence[dict[str, str]], column: str) -> str:
    """Mean of a column where it is a number."""
    values = [float(row[column]) for row in rows if row.get(column) not in (None, "", "nan")]
    return f"{np.mean(values):.3f}" if values else "–"


def share_unsure(rows: Sequence[dict[str, str]], column: str) -> str:
    """Share of images with an entropy above 0.3 nats."""
    values = [float(row[column]) for row in rows if row.get(column) not in (None, "", "nan")]
    return f"{np.mean(np.array(values) > 0.3):.3f}" if values else "–"


def swept(root: Path) -> list[str]:
    """What the push does at several scales, by walk, and what an image costs."""
    rows = []
    for place in sorted(root.glob("sweep-*")):
        name, found = place.name.removeprefix("sweep-"), read(place / "run.json")
        words = read(place / "command.json").get("words", [])
        images = words[words.index("--images") + 1] if "--images" in words else "–"
        for line in found.get("scales", []) if words else []:
            keys = ("hard", "entropy", "kept", "lost", "useful", "moved", "nearest")
            figures = [f"{line[key]:.3f}" for key in keys]
            calls = f"{line['network_calls']} + {line['classifier_calls']}"
            rows.append((name, images, f"{line['scale']:g}", calls, *figures))
    heads = ("walk", "images a class", "scale", "calls", "unsure by the guide", "entropy", "label kept", "lost")
    heads = (*heads, "unsure and kept", "moved", "nearest real")
    said = "Labels by the judge; unsure: entropy above 0.3 nats by the guide. Calls: prior + guide, an image."
    return ["## Scales and presets", "", said, "", *table(heads, rows)] if rows else []


def screened(folder: Path) -> list[str]:
    """The ideas that were tried on the validation crops, and the head of their table."""
    tables = folder / "downstream" / "tables.md"
    if not tables.exists():
        return []
    said = "Ideas how uncertain crops could be used better, scored by `screen.py` on the 105 validation crops, never"
    said += "\non the test crops; the named arms beside them. No figure here can be set beside one of the test crops."
    heads = [path.read_text().split("### Recall")[0] for path in sorted(folder.glob("downstream*/tables.md"))]
    return ["## Tried on the validation crops", "", said, "", *described(), "", *heads]


BESIDE = {
    "many": ("Four and ten times as many", "Larger sets, drawn and scored by `many.py`."),
    "walk": ("With fresh noise at every step", "One synthetic crop a real one, drawn with `walk.eta` 1 by `walk.py`."),
    "long": ("Trained four times as long", "The crops of the section before, by `walk.py --long`."),
}
"""Folders of further questions: title and what was done."""


def asked_beside(root: Path) -> list[str]:
    """Tables of the further questions that were asked on the test crops."""
    lines: list[str] = []
    for name, (title, said) in BESIDE.items():
        found = read(root / name / "downstream" / "results.json")
        if found:
            main = found["main"]
            tables = (root / name / "downstream" / "tables.md").read_text().split("### The sets against")[0]
            said = f"{said} {len(main['runs'])} of {main['wanted_runs']} runs (network and seed)."
            lines += [f"## {title}", "", said, "", tables, ""]
    return lines


def synthesised(places: Mapping[str, Path]) -> list[str]:
    """What was drawn, kept and rejected."""
    rows = []
    for name, folder in places.items():
        note, images = read(folder / "command.json"), manifest(folder)
        if not images:
            continue
        kept = [row for row in images if row["kept"].lower() in ("1", "true", "yes")]
        words = list(note.get("words", []))
        if "--per-class" in words:
            how = f"`{' '.join(words[words.index('--per-class') + 2 : words.index('--threads')])}`"
        else:
            how, note = SAID.get(name, ""), read(folder / "run.json")
        first = sum(row["judge_rank"] == "1" for row in kept) / max(1, len(kept))
        unsure = (share_unsure(kept, "entropy_after"), share_unsure(kept, "judge_entropy"))
        figures = (*unsure, f"{first:.3f}", mean_of(kept, "log_odds_after"))
        calls = " + ".join(mean_of(images, f"{name}_calls").removesuffix(".000") for name in ("network", "classifier"))
        rows.append((name, how, f"{len(images)}", f"{len(kept)}", *figures, calls, f"{note.get('seconds', '–')}"))
    heads = (
        "set",
        "options",
        "drawn",
        "kept",
        "guide unsure",
        "judge unsure",
        "judge agrees",
        "guide's log-odds",
        "calls",
        "seconds",
    )
    return (
        [
            "## Synthetic sets",
            "",
            "Unsure: entropy above 0.3 nats. Calls: prior + guide, an image.",
            "",
            *table(heads, rows),
        ]
        if rows
        else []
    )


def audited(root: Path, names: Sequence[str]) -> list[str]:
    """Copies in every set."""
    rows = []
    for name in names:
        found = read(root / "audit" / name / "audit.json")
        for space in found.get("spaces", []):
            low, high = space["near_copy_rate_95_percent_wilson"]
            area, near, far = space["membership_auroc"], *space["membership_auroc_95_percent"]
            rows.append(
                (
                    *(name, "passed" if found["passed"] else "failed", space["space"], f"{space['copies']}"),
                    *(f"{space['near_copy_rate']:.3f} [{low:.3f}, {high:.3f}]", f"{space['expected_rate']:g}"),
                    *(f"{space['probability_closer_than_unseen']:.3f}", f"{area:.3f} [{near:.3f}, {far:.3f}]"),
                    f"{space['duplicate_rate']:.3f}",
                )
            )
    heads = ("set", "audit", "compared in", "copies", "near-copies", "expected", "nearer than unseen", "membership")
    return ["## Memorisation audit", "", *table((*heads, "duplicates"), rows)] if rows else []


def trained(root: Path) -> list[str]:
    """The networks behind the sets."""
    rows = []
    for name, record in (
        ("prior", "prior.json"),
        ("noisy-classifier", "classifier.json"),
        ("judge", "classifier.json"),
    ):
        found = read(root / name / record)
        if found:
            figures = ", ".join(f"{key}: {_plain(value)}" for key, value in found.get("figures", {}).items())
            rows.append((name, f"{found.get('training', {}).get('images_seen', '–')}", figures or "–"))
    return ["## Networks", "", *table(("network", "images seen", "figures in its record"), rows)] if rows else []


def _plain(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def draw(root: Path, names: Sequence[str], path: Path) -> None:
    """The first image of every class, of the real crops and of every set; nothing chosen."""
    from matplotlib.figure import Figure

    parts = {"real": root / "crops", **{name: root / "synthetic" / name for name in names}}
    sets = {name: read_labelled(place, least=0, duplicates="allow") for name, place in parts.items()}
    classes = sets["real"].classes
    figure = Figure(figsize=(1.0 * len(classes), 1.15 * len(sets)), layout="constrained", facecolor="white")
    grid = figure.subplots(len(sets), len(classes), squeeze=False)
    for row, (name, images) in zip(grid, sets.items(), strict=True):
        for axes, label in zip(row, classes, strict=True):
            axes.axis("off")
            places = [k for k, at in enumerate(images.labels) if images.classes[at] == label]
            if places:
                axes.imshow(images.images[places[0], 0], cmap="gray", vmin=-1, vmax=1)
            axes.set_title(f"{name}\n{label}" if label == classes[0] else label, fontsize=6)
    figure.suptitle("First row measured (one patient's CT), all others synthetic; the first of each class", fontsize=7)
    figure.savefig(path, dpi=90)


def collect(root: Path, lender: Path, target: Path, suffix: str, about: str) -> None:
    """Write everything from the steps that are done.

    Args:
        root: folder of the runs.
        lender: folder of networks and synthetic sets, `root` itself or another study's.
        target: where RESULTS.md, figures.json and the pictures go.
        suffix: of their names, for the second set.
        about: what the study is, of which the last paragraph stands on top.
    """
    names = [place.name for place in sorted((lender / "synthetic").glob("*")) if (place / "command.json").exists()]
    order = ("unguided", "classifier", "cfg", "uncertainty", "uncertainty-strong", "hardened")
    names = [*(name for name in order if name in names), *(name for name in names if name not in order)]
    record, provenance = run_record(), read(root / "crops" / "provenance.json")
    run = read(root / "downstream" / "run.json")
    results = {name: read(root / "downstream" / f"{name}-results.json") for name in ("claim", "all")}
    results = {name: found for name, found in results.items() if found}
    said = ABOUT.get(suffix.removeprefix("-")) or about.strip().split("\n\n")[-1].replace("\n", " ")
    shown = "crops of the trunk's wall" if "trunk-wall" in suffix else "organ crops"
    lines = [f"# Synthetic {shown}: do they help?", "", said, ""]
    lines += [
        f"{provenance.get('set', '')}. Licence: {provenance.get('licence', '')}. Measured on torch {record['torch']},"
    ]
    lines += [f"{record['device']}, one thread.", ""]
    if results:
        counts = {key: sum(run[key].values()) for key in ("real", "test") if key in run}
        lines += [f"{counts.get('real')} training crops, {counts.get('test')} test crops.", ""]
    for name, found in results.items():
        main = found["main"]
        title = "The claim" if name == "claim" else "All arms and controls"
        done = f"{len(main['runs'])} of {main['wanted_runs']} runs (network and seed)."
        told = [f"- {warning}" for warning in found["warnings"]]
        tables = (root / "downstream" / f"{name}-tables.md").read_text()
        lines += ["", f"## {title}", "", done, "", *told, "", tables, ""]
    lines += [*asked_beside(root), *(together() if root.name == "organs-few" else []), *screened(root / "screen")]
    tried = sorted(place.parent.name for place in (lender / "audit").glob("*/audit.json"))
    further = [name for name in tried if name not in names and name in SAID]
    places = {name: lender / "synthetic" / name for name in names}
    places.update({name: root / "screen" / "sets" / name for name in further})
    lines += [*synthesised(places), *swept(lender), *audited(lender, list(places)), *trained(lender)]
    if names:
        draw(lender, names, target / f"sets{suffix}.png")
        lines += [f"![sets](sets{suffix}.png)", ""]
    findings = target / f"findings{suffix}.md"
    if findings.exists():
        lines[4:4] = [findings.read_text(), ""]
    audits = {name: read(lender / "audit" / name / "audit.json").get("spaces") for name in places}
    figures = {"downstream": results, "audit": audits, "run": record, "provenance": provenance}
    target.mkdir(parents=True, exist_ok=True)
    (target / f"figures{suffix}.json").write_text(json.dumps(figures, indent=1) + "\n")
    (target / f"RESULTS{suffix}.md").write_text("\n".join(lines) + "\n")
