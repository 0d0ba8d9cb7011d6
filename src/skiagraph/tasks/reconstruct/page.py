"""The page of a reconstruction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.evaluation.fidelity import fit_scale
from skiagraph.report import Highlight, Page, Picture, PictureRow, Table, write_page
from skiagraph.tasks.reconstruct.acquire import ToReconstruct
from skiagraph.tasks.reconstruct.results import METHOD, Reconstruction, SliceFigures

__all__ = ["figure_table", "picture_rows", "reconstruction_page", "write_report"]

LARGEST_PAGE = 12


def write_report(
    path: Path, data: ToReconstruct, result: Reconstruction, figures: SliceFigures | None, summary: dict[str, Any]
) -> Path:
    """Write the page of one run; at most 12 slices, evenly spread, are shown."""
    return write_page(reconstruction_page(data, result, figures, summary), path)


def reconstruction_page(
    data: ToReconstruct, result: Reconstruction, figures: SliceFigures | None, summary: dict[str, Any]
) -> Page:
    """The page: figures first, then pictures, then what was run."""
    count = result.samples.shape[1]
    highlights = []
    tables = []
    if figures is not None:
        tables.append(figure_table(figures, result))
        highlights.append(Highlight(f"{figures.psnr[METHOD].mean():.1f} dB", "PSNR of the posterior mean"))
        if count > 1:
            share = f"{100 * figures.coverage.mean():.0f} %"
            highlights.append(Highlight(share, "of the head's pixels lie in their 90 % interval"))
    highlights.append(Highlight(f"{data.acceleration:.1f}x", "effective acceleration"))
    highlights.append(Highlight(str(result.evaluations), "network evaluations a slice", f"{count} samples"))
    settings = _input_rows(summary["input"], summary.get("mask"))
    settings += [(f"seconds a slice: {name}", f"{value:.2f}") for name, value in result.seconds.items()]
    settings += [("seed", str(summary["seed"])), ("prior", str(summary["prior"]["name"]))]
    settings += [("error-bar factor", f"{result.spread:.2f}")]
    tables.append(Table("What was run", ("setting", "value"), tuple(settings), folded=True))
    return Page(
        title=f"Reconstruction of {Path(data.source.split(' (')[0]).name}",
        provenance=data.provenance,
        summary="Images reconstructed from undersampled k-space with a diffusion prior. "
        "They are estimates, not measurements; the error bars say where.",
        highlights=tuple(highlights),
        warnings=tuple(summary["warnings"]),
        tables=tuple(tables),
        rows=tuple(picture_rows(data, result, figures)),
        footer=f"skiagraph {summary['skiagraph']}, commit {summary['commit'] or 'unknown'}",
    )


def _input_rows(record: dict[str, Any], mask: dict[str, Any] | None) -> list[tuple[str, str]]:
    """What the scan is and how it was prepared, in words."""
    rows = [
        (name.replace("_", " "), str(value)) for name, value in record.items() if name not in ("slices", "treatment")
    ]
    treatment = record.get("treatment", {})
    noise = treatment.get("noise")
    if noise is not None:
        white = "pre-whitened" if noise["prewhitened"] else "not pre-whitened"
        rows.append(("noise per part, in the file's unit", f"{noise['noise_std']:.4g}, {noise['source']}; {white}"))
        rows.append(("noise that outer k-space shows", f"{noise['estimate_from_outer_k_space']:.4g}"))
    compression = treatment.get("coil_compression")
    if compression is not None:
        kept = f"{treatment['coils']} to {compression['virtual_coils']} coils, {100 * compression['energy_kept']:.1f} %"
        rows.append(("coil compression", f"{kept} of the energy kept"))
    if "maps" in treatment:
        rows.append(("coil maps", str(treatment["maps"])))
    if mask is not None:
        own = mask["own_masks_stay_below"]
        distances = f"density {mask['density_distance']:.2f} (own masks: below {own[0]:.2f}), "
        distances += f"gaps {mask['gap_distance']:.2f} (own masks: below {own[1]:.2f})"
        rows.append(("distance of the mask from those of the training", distances))
    return rows


def figure_table(figures: SliceFigures, result: Reconstruction, title: str = "All methods") -> Table:
    """PSNR, SSIM, NMSE and seconds of every method."""
    rows = tuple(
        (row["method"], row["psnr_db"], row["ssim"], row["nmse"], result.seconds.get(row["method"]))
        for row in figures.table()
    )
    slices = len(figures.coverage)
    return Table(
        title,
        ("method", "PSNR (dB)", "SSIM", "NMSE", "seconds a slice"),
        rows,
        ("", ".2f", ".3f", ".4f", ".2f"),
        ("", "higher", "higher", "lower", ""),
        note=f"Means over {slices} slices of one head. Magnitudes after one factor per slice fitted in the head; "
        "range: the largest value of the slice's truth; SSIM is 2-D.",
    )


def picture_rows(
    data: ToReconstruct, result: Reconstruction, figures: SliceFigures | None, error_factor: float = 6.0
) -> list[PictureRow]:
    """One row a slice: truth, every method, errors under them, and the standard deviation."""
    count = len(data.scan)
    chosen = sorted({round(value) for value in np.linspace(0, count - 1, min(count, LARGEST_PAGE))})
    return [_row(data, result, figures, index, error_factor) for index in chosen]


def _row(
    data: ToReconstruct, result: Reconstruction, figures: SliceFigures | None, index: int, error_factor: float
) -> PictureRow:
    truth = None if data.truth is None else data.truth[index].numpy().astype(np.float64)
    upper, lower = [], []
    deviation = result.deviation[index].numpy()
    if truth is not None:
        upper.append(Picture(truth, "truth"))
        lower.append(Picture(deviation, "standard deviation", kind="deviation"))
    for name, images in result.images().items():
        image = images[index].numpy().astype(np.float64)
        label, caption = "posterior mean" if name == METHOD else name, ""
        if truth is not None and data.head is not None and figures is not None:
            image = image * fit_scale(image, truth, data.head[index].numpy())
            caption = f"{figures.psnr[name][index]:.1f} dB, SSIM {figures.ssim[name][index]:.2f}"
            lower.append(Picture(np.abs(image - truth), f"error of {label}", kind="error"))
        upper.append(Picture(image, label, caption))
    if truth is None:
        upper.append(Picture(deviation, "standard deviation", kind="deviation"))
    return PictureRow(
        title=data.names[index],
        pictures=tuple(upper),
        below=tuple(lower),
        window=_window(truth if truth is not None else result.mean[index].abs().numpy()),
        error_factor=error_factor,
        spacing=(data.spacing_mm[0], data.spacing_mm[1]),
        provenance=f"from {data.provenance.removesuffix(' k-space')} k-space",
    )


def _window(image: NDArray[np.floating[Any]]) -> tuple[float, float]:
    return 0.0, float(np.percentile(image, 99.5))
