"""The page of a segmentation: image, map, spread and mask of every case, and how they came about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.config import resolved
from skiagraph.report import Highlight, Page, Picture, PictureRow, Table, write_page
from skiagraph.tasks.segment.command_settings import SegmentSettings

if TYPE_CHECKING:
    from skiagraph.tasks.segment.result import SegmentResult
    from skiagraph.tasks.segment.run import Shown

__all__ = ["coloured", "overlay", "segment_page"]

MOST = 24


def overlay(image: NDArray[np.floating[Any]], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """A slice in grey, (H, W, 3) in [0, 1], with the mask's outline in colour."""
    from scipy.ndimage import binary_erosion

    grey = np.clip((image.astype(np.float64) + 1) / 2, 0, 1)
    shown = np.repeat(grey[..., None], 3, axis=2)
    edge = mask & ~binary_erosion(mask)
    shown[edge] = (1.0, 0.35, 0.1)
    return shown


def coloured(values: NDArray[np.floating[Any]], largest: float) -> NDArray[np.float64]:
    """A map in colours, (H, W, 3) in [0, 1], black at 0 and below and brightest at `largest`."""
    from matplotlib import colormaps

    found: NDArray[np.float64] = colormaps["inferno"](np.clip(values.astype(np.float64) / largest, 0, 1))[..., :3]
    return found


def segment_page(result: SegmentResult, settings: SegmentSettings, shown: Sequence[Shown], path: Path) -> Path:
    """Write the page.

    Args:
        result: of the run.
        settings: of the run.
        shown: the cases, in their order.
        path: of the page.
    """
    positive = sum(bool(row["positive"]) for row in result.rows)
    facts = tuple((name, str(value)) for name, value in result.facts.items() if value not in (None, ""))
    cells = tuple((name, str(value)) for name, value in resolved(settings).items() if value is not None)
    page = Page(
        title="Lesion masks from yes/no labels",
        provenance="computed from the input; not for diagnosis",
        summary=f"{positive} of {len(result.rows)} cases have a mask. No mask was used to find thresholds.",
        highlights=(
            Highlight(str(len(result.rows)), "cases"),
            Highlight(str(positive), "with a mask"),
            Highlight(str(result.facts.get("network_evaluations_per_window", 0)), "network evaluations a window"),
        ),
        warnings=_warnings(result, settings),
        tables=(
            _cases(result),
            Table("How the masks were made", ("what", "value"), facts),
            Table("What was run", ("setting", "value"), cells, folded=True),
        ),
        rows=tuple(_picture_row(one) for one in shown[:MOST]),
    )
    return write_page(page, path)


def _warnings(result: SegmentResult, settings: SegmentSettings) -> tuple[str, ...]:
    found = []
    if settings.mask.threshold == "otsu":
        found.append("Otsu's threshold marks something on every image, lesion or not.")
    if settings.mask.gate == "none":
        found.append("No gate: every case gets a mask, normal ones too.")
    if result.facts.get("message"):
        found.append(str(result.facts["message"]))
    if len(result.rows) > MOST:
        found.append(f"{MOST} of {len(result.rows)} cases are shown.")
    return tuple(found)


def _cases(result: SegmentResult) -> Table:
    heads = ("case", "lesion", "volume (ml)", "score", "needed", "threshold", "intensity baseline (ml)")
    names = ("name", "positive", "volume_ml", "score", "needed", "threshold", "intensity_ml")
    rows = tuple(
        tuple(("yes" if row[name] else "no") if name == "positive" else row[name] for name in names)
        for row in result.rows
    )
    note = (
        "Score: mass of the heaviest part above the threshold, or the classifier's probability; needed: what "
        "normal cases reach. Intensity baseline: the image itself as map, calibrated by the same rules (without "
        "normal cases: Otsu inside the foreground)."
    )
    return Table("Cases", heads, rows, formats=("", "", ".2f", ".3g", ".3g", ".3g", ".2f"), note=note)


def _picture_row(one: Shown) -> PictureRow:
    largest = float(np.abs(one.maps).max()) or 1.0
    grey = np.clip((one.image.astype(np.float64) + 1) / 2, 0, 1)
    pictures = (
        Picture(grey, "image", one.caption, provenance="as given"),
        Picture(coloured(one.maps, largest), "map", f"black to yellow: 0 to {largest:.3g}"),
        Picture(coloured(one.spread, largest), "spread over draws", "on the map's scale"),
        Picture(overlay(one.image, one.mask), "mask", one.caption),
        Picture(overlay(one.image, one.intensity), "intensity baseline"),
    )
    return PictureRow(one.name, pictures, window=(0.0, 1.0), spacing=one.spacing_mm)
