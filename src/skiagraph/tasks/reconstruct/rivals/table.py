"""The table that compares methods: means with bootstrap intervals, what each took; as Markdown and on a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skiagraph.evaluation.intervals import Interval, mean_interval, paired_difference
from skiagraph.report import Table
from skiagraph.tasks.reconstruct.rivals.figures import Scores
from skiagraph.tasks.reconstruct.rivals.interface import TrainedOn

__all__ = ["Comparison", "Row", "make_rows", "markdown", "page_table"]

FIGURES = ("psnr_db", "ssim", "nmse", "chi_squared", "sample_psnr_db", "coverage")
_HEADS = ("PSNR (dB)", "SSIM", "NMSE", "chi^2 of the data", "PSNR of one sample", "90 % interval holds")
_FORMATS = (".2f", ".3f", ".4f", ".2f", ".2f", ".2f")


@dataclass(frozen=True)
class Row:
    """One method.

    Args:
        method: its name.
        trained_on: what kind of scans it learned from.
        intervals: mean and 95 % interval over slabs by figure; figures that do not apply are absent.
        difference: PSNR of this method minus that of the method all are compared to; None for that one itself.
        evaluations: images through a network for one slice.
        seconds: seconds per slice.
        memory_gib: peak memory beyond program and scan.
        scores: the figures of every slice.
    """

    method: str
    trained_on: TrainedOn
    intervals: Mapping[str, Interval]
    difference: Interval | None
    evaluations: int
    seconds: float
    memory_gib: float
    scores: Scores

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            "method": self.method,
            "trained_on": self.trained_on,
            **{name: _numbers(found) for name, found in self.intervals.items()},
            "psnr_db_minus_compared": None if self.difference is None else _numbers(self.difference),
            "network_evaluations_per_slice": self.evaluations,
            "seconds_per_slice": round(self.seconds, 4),
            "memory_gib": None if math.isnan(self.memory_gib) else round(self.memory_gib, 4),
            "slices": {name: [_plain(value) for value in values] for name, values in self.scores.items()},
        }


@dataclass(frozen=True)
class Comparison:
    """All methods on one set of slices.

    Args:
        title: what the slices are.
        against: the method all are compared to.
        rows: one a method.
        slices, slabs: how many there are.
    """

    title: str
    against: str
    rows: tuple[Row, ...]
    slices: int
    slabs: int


def make_rows(
    scores: Mapping[str, Scores],
    facts: Mapping[str, tuple[TrainedOn, int, float, float]],
    groups: Sequence[str],
    against: str,
) -> tuple[Row, ...]:
    """Means, intervals and paired differences of every method.

    Args:
        scores: figures of every slice, by method.
        facts: (trained on, evaluations, seconds, memory) by method.
        groups: slab of each slice.
        against: the method that all are compared to.
    """
    rows = []
    for name, values in scores.items():
        whole = {figure: found for figure, found in values.items() if np.isfinite(found).all()}
        intervals = {figure: mean_interval(found, groups=groups) for figure, found in whole.items()}
        difference = None
        if name != against:
            difference = paired_difference(values["psnr_db"], scores[against]["psnr_db"], groups=groups)
        rows.append(Row(name, facts[name][0], intervals, difference, *facts[name][1:], values))
    return tuple(rows)


def markdown(comparison: Comparison) -> str:
    """The comparison as Markdown."""
    heads = ["method", "trained on", *_HEADS, f"PSNR minus {comparison.against}", "network calls", "s/slice", "GiB"]
    lines = [
        f"## {comparison.title}",
        "",
        f"{comparison.slices} slices; [95 % intervals] by bootstrap over {comparison.slabs} slabs of neighbouring "
        "slices. Magnitudes after one factor a slice; SSIM is 2-D; network calls, seconds and memory are per slice.",
        "",
        "| " + " | ".join(heads) + " |",
        "| " + " | ".join(["---"] * len(heads)) + " |",
    ]
    for row in comparison.rows:
        cells = [_cell(row.intervals.get(name), style) for name, style in zip(FIGURES, _FORMATS, strict=True)]
        gap = "" if row.difference is None else _cell(row.difference, "+.2f")
        memory = "" if math.isnan(row.memory_gib) else f"{row.memory_gib:.2f}"
        costs = [str(row.evaluations), f"{row.seconds:.2f}", memory]
        lines.append("| " + " | ".join([row.method, row.trained_on, *cells, gap, *costs]) + " |")
    return "\n".join(lines) + "\n"


def page_table(comparison: Comparison) -> Table:
    """The comparison for the page; intervals of PSNR and of the difference only."""
    rows = []
    for row in comparison.rows:
        values = [row.intervals[name].mean if name in row.intervals else None for name in FIGURES]
        gap = "" if row.difference is None else _cell(row.difference, "+.2f")
        interval = row.intervals.get("psnr_db")
        spread = "" if interval is None else f"{interval.low:.2f} to {interval.high:.2f}"
        costs = (row.evaluations, row.seconds, row.memory_gib)
        rows.append((row.method, row.trained_on, values[0], spread, *values[1:], gap, *costs))
    return Table(
        comparison.title,
        (
            *("method", "trained on", _HEADS[0], "its interval", *_HEADS[1:]),
            *(f"PSNR minus {comparison.against}", "network calls", "s/slice", "GiB"),
        ),
        tuple(rows),
        ("", "", _FORMATS[0], "", *_FORMATS[1:], "", "d", ".2f", ".2f"),
        ("", "", "higher", "", "higher", "lower"),
        note=f"Means over {comparison.slices} slices; 95 % intervals by bootstrap over {comparison.slabs} slabs of "
        "neighbouring slices. Magnitudes after one factor per slice fitted in the head; range: the largest value of "
        "the slice's truth. Network calls, seconds and memory are per slice, all samples counted.",
    )


def _cell(interval: Interval | None, style: str) -> str:
    if interval is None:
        return ""
    return f"{interval.mean:{style}} [{interval.low:{style}}, {interval.high:{style}}]"


def _numbers(interval: Interval) -> list[float]:
    return [round(value, 6) for value in (interval.mean, interval.low, interval.high)]


def _plain(value: float) -> float | None:
    return round(float(value), 5) if math.isfinite(value) else None
