"""The page of a restoration."""

from __future__ import annotations

from typing import Any

import numpy as np

from skiagraph.report import Highlight, Page, Picture, PictureRow, Table
from skiagraph.report.page import Cell
from skiagraph.tasks.measurement.outputs import as_pictures
from skiagraph.tasks.measurement.restored import Restored
from skiagraph.tasks.measurement.sampling_settings import RestoreSettings

__all__ = ["restore_page"]

LARGEST_PAGE = 12


def restore_page(settings: RestoreSettings, restored: Restored, shown: Any, summary: dict[str, Any]) -> Page:
    """The page: figures, pictures of at most 12 items, settings.

    Args:
        settings: of the run.
        restored: samples and what they were made from.
        shown: (N, H, W) or (N, H, W, 3) means as values from 0 to 1.
        summary: what run.json says.
    """
    figures = summary["figures"]
    tables = [_figures(figures)] if figures else []
    cells = [(name, str(value)) for name, value in settings.model_dump(mode="json", exclude_none=True).items()]
    tables.append(Table("What was run", ("setting", "value"), tuple(cells), folded=True))
    highlights = [Highlight(str(summary["network_evaluations_per_image"]), "network evaluations an image")]
    if figures:
        gain = float(np.mean([row["restored_psnr_db"] - row["input_psnr_db"] for row in figures]))
        highlights.insert(0, Highlight(f"{gain:+.1f} dB", "PSNR over the degraded input"))
    return Page(
        title=f"{settings.problem} of {settings.input.name}",
        provenance=restored.data.provenance,
        summary="Images restored with a diffusion prior. They are estimates, not measurements.",
        highlights=tuple(highlights),
        warnings=tuple(summary["warnings"]),
        tables=tuple(tables),
        rows=tuple(_rows(restored, shown, figures)),
        footer=f"skiagraph {summary['skiagraph']}, commit {summary['commit'] or 'unknown'}",
    )


def _figures(figures: list[dict[str, Any]]) -> Table:
    names = [name for name in figures[0] if name != "name"]
    rows: list[tuple[Cell, ...]] = [(str(row["name"]), *(float(row[name]) for name in names)) for row in figures]
    mean: tuple[Cell, ...] = ("mean", *(float(np.mean([row[name] for row in figures])) for name in names))
    return Table(
        "Figures",
        ("image", *(name.replace("_", " ") for name in names)),
        (mean, *rows),
        ("", *(".2f" if name.endswith("db") else ".3f" for name in names)),
        note="PSNR and 2-D SSIM without rescaling; range: 2 (from -1 to 1), for k-space the largest true magnitude.",
    )


def _rows(restored: Restored, shown: Any, figures: list[dict[str, Any]]) -> list[PictureRow]:
    data, complex_images = restored.data, restored.complex_images
    reference = data.truth if data.truth is not None else restored.mean
    top = float(reference.square().sum(1).sqrt().max()) if complex_images else None
    before = as_pictures(data.degraded(), complex_images=complex_images, brightest=top)
    truth = None if data.truth is None else as_pictures(data.truth, complex_images=complex_images, brightest=top)
    deviation = restored.deviation
    rows = []
    for index, name in enumerate(data.names[:LARGEST_PAGE]):
        caption = f"{figures[index]['restored_psnr_db']:.1f} dB" if figures else ""
        upper = [] if truth is None else [Picture(truth[index], "truth")]
        upper += [Picture(before[index], "input"), Picture(shown[index], "restored", caption)]
        if deviation is not None:
            scale = 1 / (top or 2.0)
            upper.append(Picture(deviation[index].mean(0).numpy() * scale, "standard deviation", kind="deviation"))
        rows.append(PictureRow(name, tuple(upper), window=(0.0, 1.0), spacing=data.spacing))
    return rows
