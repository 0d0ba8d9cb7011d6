"""The page of a sweep: hardness, labels and distances against the scale, and the same images at every scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.report import Curve, Highlight, Line, Page, Picture, PictureRow, Table
from skiagraph.tasks.synthesize.folder import PROVENANCE
from skiagraph.tasks.synthesize.kit import Kit
from skiagraph.tasks.synthesize.make import Shown
from skiagraph.tasks.synthesize.plan import Item
from skiagraph.tasks.synthesize.settings import SweepSettings

if TYPE_CHECKING:
    from skiagraph.tasks.synthesize.sweep import SweepResult

__all__ = ["sweep_page"]

ROWS = 16


def sweep_page(
    kit: Kit,
    settings: SweepSettings,
    result: SweepResult,
    items: Sequence[Item],
    shown: Mapping[float, Shown],
    facts: Mapping[str, Any],
) -> Page:
    """The page of a finished sweep."""
    lines = result.figures
    heads = (
        "scale",
        "hard",
        "mean entropy",
        "label kept",
        "labels lost",
        "moved",
        "nearest real",
        "features",
        "limited",
        "hard and kept",
        "network calls",
        "classifier calls",
    )
    cells = tuple(tuple(vars(line).values()) for line in lines)
    formats = ("g", ".3f", ".3f", ".3f", ".3f", ".4f", ".4f", ".3f", ".3f", ".3f", "d", "d")
    note = (
        f"Labels by the {result.by}. Lost: of the images that show their label at scale 0. Moved, nearest real: median "
        "root mean square, black to white being 1."
    )
    values = settings.model_dump(mode="json", exclude_none=True)
    proposed = "none" if result.proposed is None else f"{result.proposed:g}"
    used = f"; used up at about {result.knee.crossing:.3g}" if math.isfinite(result.knee.crossing) else ""
    return Page(
        title=f"Scales of {settings.guide.measure} for {kit.name}",
        provenance=PROVENANCE,
        summary=f"{len(items)} images, the same at every scale (mode {settings.mode}, preset {settings.preset}).",
        highlights=(
            Highlight(
                proposed,
                "proposed scale",
                f"loses at most {100 * settings.flip_budget:g} % of labels{used}",
            ),
        ),
        warnings=result.warnings,
        tables=(
            Table("By scale", heads, cells, formats, note=note),
            Table("What was run", ("setting", "value"), tuple((n, str(v)) for n, v in values.items()), folded=True),
        ),
        rows=tuple(_rows(kit, items, shown)),
        curves=_curves(result),
        footer=f"skiagraph {facts['skiagraph']}, commit {facts['commit'] or 'unknown'}",
    )


def _curves(result: SweepResult) -> tuple[Curve, ...]:
    scales = tuple(line.scale for line in result.figures)
    shares = (
        Line(scales, tuple(line.hard for line in result.figures), "hard"),
        Line(scales, tuple(line.kept for line in result.figures), "label kept"),
        Line(scales, tuple(line.lost for line in result.figures), "labels lost"),
    )
    curves = [Curve("Hardness and labels", shares, "scale", "share of images")]
    moved = [Line(scales, tuple(line.moved for line in result.figures), "to scale 0")]
    near = [line.nearest for line in result.figures]
    if all(value is not None for value in near):
        moved.append(Line(scales, tuple(float(value or 0) for value in near), "to the nearest real image"))
    return (*curves, Curve("Distance in pixels", tuple(moved), "scale", "root mean square"))


def _rows(kit: Kit, items: Sequence[Item], shown: Mapping[float, Shown]) -> list[PictureRow]:
    found = []
    for label, name in enumerate(kit.classes[:ROWS]):
        place = next((number for number, item in enumerate(items) if item.label == label), None)
        if place is not None:
            pictures = tuple(Picture(_picture(each, place), f"scale {scale:g}") for scale, each in shown.items())
            found.append(PictureRow(name, pictures, window=(0.0, 1.0)))
    return found


def _picture(shown: Shown, place: int) -> NDArray[np.float32]:
    image: NDArray[np.float32] = shown.levels[place].numpy().astype(np.float32) / np.float32(255)
    return image[0] if image.shape[0] == 1 else np.moveaxis(image, 0, 2)
