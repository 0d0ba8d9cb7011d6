"""RESULTS.md from results.json: the tables, and the orderings that the toys are held to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["write_results"]


def write_results(results: dict[str, Any], path: Path) -> None:
    """Write the page of results."""
    lines = [
        "# Toys of the conditional difference",
        "",
        "Heads of 16 x 16 pixels, a prior trained for 3600 steps on yes/no labels (deliberately short, so limited",
        "evidence). AP: average precision over all pixels of 40 lesion images together. Oracle Dice: best of 60",
        "quantiles of each image, a diagnostic that no user has. Otsu painted: mean share that Otsu paints of all 80",
        "images, half of them normal. Normals over: share of normal heads with more than 1 % above the threshold",
        "calibrated on 20 others at delta = 0.1. Made by `train.py --kind bright|iso` and `evaluate.py` on one core.",
    ]
    words = {"bright": "Bright lesions", "iso": "Lesions that lose texture and keep the mean (iso-intense)"}
    for kind, found in results.items():
        lines += ["", f"## {words[kind]}", "", f"Chance (share of lesion pixels): {found['chance']:.3f}.", ""]
        lines += ["| setting | AP | oracle Dice | Otsu Dice | Otsu painted | normals over |", "| --- |" + " ---: |" * 5]
        for name, row in found["settings"].items():
            lines.append(f"| {name} | " + " | ".join(f"{value:.2f}" for value in row.values()) + " |")
        lines += ["", *_orderings(kind, {name: row["ap"] for name, row in found["settings"].items()}, found["chance"])]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _orderings(kind: str, ap: dict[str, float], chance: float) -> list[str]:
    spread = "walk 6 levels x 4 seeds R=1"
    if kind == "bright":
        steps = [ap["walk Q=200"], *(ap[f"walk Q=200 R={r}"] for r in (1, 5, 20))]
        checks = {
            "signed above absolute at every level": all(
                ap[f"walk Q={q}"] > ap[f"walk Q={q} absolute"] for q in (20, 50, 100, 200, 400)
            ),
            "flipped sign at or below chance": ap["walk Q=50 flipped sign"] <= chance,
            "R in {1, 5, 10, 20} within 0.03": max(steps) - min(steps) <= 0.03,
            "8 seeds above 4 above 1": ap["walk Q=200 seeds=8"] > ap["walk Q=200 seeds=4"] > ap["walk Q=200"],
            "24 spread pairs above 80 clustered above 10 adjacent": ap[spread]
            > ap["walk Q=200 seeds=8"]
            > ap["walk Q=200"],
        }
    else:
        best = max(value for name, value in ap.items() if "evidence" in name)
        checks = {
            "raw intensity within 2 x chance": ap["raw intensity"] <= 2 * chance,
            "best map by evidence at least 5 x chance": best >= 5 * chance,
        }
    return ["Orderings:", "", *(f"- {name}: {'holds' if holds else 'does NOT hold'}" for name, holds in checks.items())]
