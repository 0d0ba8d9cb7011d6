"""Curves as inline drawings that follow the page's text colour, light or dark."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Curve", "Line", "draw_curve"]

_INK = "#010203"  # replaced by the page's text colour
_COLOURS = ("#0e7c86", "#d1791f", "#7a5bb5", "#4f8a3c", "#c2476b", "#8a8f98")


@dataclass(frozen=True)
class Line:
    """One line of a curve.

    Args:
        x: values along the horizontal axis.
        y: as many values along the vertical axis.
        label: name in the legend.
        marker: draw the points too.
    """

    x: Sequence[float]
    y: Sequence[float]
    label: str = ""
    marker: bool = True

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y) or len(self.x) == 0:
            raise ValueError(f"line {self.label!r}: found {len(self.x)} x and {len(self.y)} y; give as many, not none.")


@dataclass(frozen=True)
class Curve:
    """A small plot.

    Args:
        title: what it shows.
        lines: at least one.
        x_label: quantity and unit.
        y_label: quantity and unit.
        diagonal: draw y = x, where perfection lies (reliability curves).
        logarithmic: axes that are logarithmic: any of "x", "y", "xy" or none, "".
        note: a sentence under the plot.
    """

    title: str
    lines: tuple[Line, ...]
    x_label: str
    y_label: str
    diagonal: bool = False
    logarithmic: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not self.lines:
            raise ValueError(f"lines of curve {self.title!r}: found none; give at least one.")
        if self.logarithmic not in ("", "x", "y", "xy"):
            raise ValueError(f"logarithmic: found {self.logarithmic!r}; allowed are '', 'x', 'y' and 'xy'.")


def draw_curve(curve: Curve) -> str:
    """The curve as an <svg> element with text in the page's font; the same input gives the same bytes."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": "skiagraph",
        "font.family": "sans-serif",
        "font.size": 11,
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), _INK),
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(4.6, 3.1), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        _draw(axes, curve)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().replace(_INK, "currentColor")
    return text[text.index("<svg") :].replace("font-family: sans-serif", "font-family: inherit")


def _draw(axes: Any, curve: Curve) -> None:
    for number, line in enumerate(curve.lines):
        axes.plot(
            np.asarray(line.x, dtype=float),
            np.asarray(line.y, dtype=float),
            color=_COLOURS[number % len(_COLOURS)],
            linewidth=1.8,
            marker="o" if line.marker else None,
            markersize=3.5,
            label=line.label or None,
        )
    for axis in curve.logarithmic:
        (axes.set_xscale if axis == "x" else axes.set_yscale)("log")
    if curve.diagonal:
        low = min(axes.get_xlim()[0], axes.get_ylim()[0])
        high = max(axes.get_xlim()[1], axes.get_ylim()[1])
        axes.plot([low, high], [low, high], color=_INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6, zorder=0)
        axes.set(xlim=(low, high), ylim=(low, high))
    if "x" not in curve.logarithmic and all(float(x).is_integer() for line in curve.lines for x in line.x):
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel=curve.x_label, ylabel=curve.y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=_INK, alpha=0.12, linewidth=0.6)
    if any(line.label for line in curve.lines):
        axes.legend(frameon=False, fontsize=10)
