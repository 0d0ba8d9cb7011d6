"""RESULTS.md from results.json: the tables, and the orderings that the toys are held to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["write_results"]

RAW = "raw intensity"
Ordering = tuple[str, list[str], Callable[[dict[str, float]], bool]]
"""(what is claimed, settings that it needs, whether it holds for their AP)."""


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
    if "iso" not in results:
        lines += ["", "The iso-intense toy was not trained for this page."]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _orderings(kind: str, ap: dict[str, float], chance: float) -> list[str]:
    """One line an ordering; what was not measured is said."""
    lines = ["Orderings:", ""]
    for name, needed, holds in _bright() if kind == "bright" else _iso(chance):
        missing = [setting for setting in needed if setting not in ap]
        told = "not measured" if missing else "holds" if holds(ap) else "does NOT hold"
        lines.append(f"- {name}: {told}")
    return lines


def _bright() -> list[Ordering]:
    levels, few = (20, 50, 100, 200, 400), [f"walk Q=200 R={r}" for r in (1, 5, 20)]
    one, four, eight = "walk Q=200", "walk Q=200 seeds=4", "walk Q=200 seeds=8"
    pairs = [(f"walk Q={q}", f"walk Q={q} absolute") for q in levels]
    spread = "walk 6 levels x 4 seeds R=1"
    native, contrast = "jvp 6 levels x 4 seeds, native", "difference tau=0, native"
    evidence = "difference tau=0, evidence, uniform"
    return [
        (
            "signed above absolute at every level",
            [n for pair in pairs for n in pair],
            lambda ap: all(ap[s] > ap[a] for s, a in pairs),
        ),
        (
            "flipped sign at or below chance (0.06)",
            ["walk Q=50 flipped sign"],
            lambda ap: ap["walk Q=50 flipped sign"] <= 0.06,
        ),
        (
            "R in {1, 5, 10, 20} within 0.03",
            [one, *few],
            lambda ap: max(ap[n] for n in (one, *few)) - min(ap[n] for n in (one, *few)) <= 0.03,
        ),
        ("8 seeds above 4 above 1", [one, four, eight], lambda ap: ap[eight] > ap[four] > ap[one]),
        (
            "24 spread pairs above 80 clustered above 10 adjacent",
            [one, eight, spread],
            lambda ap: ap[spread] > ap[eight] > ap[one],
        ),
        ("full contrast above the derivative at present", [native, contrast], lambda ap: ap[contrast] > ap[native]),
        (
            "evidence, which knows no sign, at least as good as intensity",
            [evidence, RAW],
            lambda ap: ap[evidence] >= ap[RAW],
        ),
    ]


def _iso(chance: float) -> list[Ordering]:
    evidence = [f"difference tau=0, evidence, {name}" for name in ("snr", "uniform")]
    return [
        ("raw intensity within 2 x chance", [RAW], lambda ap: ap[RAW] <= 2 * chance),
        (
            "best map by evidence at least 5 x chance",
            evidence,
            lambda ap: max(ap[name] for name in evidence) >= 5 * chance,
        ),
    ]
