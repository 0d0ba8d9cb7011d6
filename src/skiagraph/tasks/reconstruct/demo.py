"""The command `demo`: slices of a head that took no part in training, reconstructed beside what is used today."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skiagraph.config import dump_yaml, resolved
from skiagraph.data.phantom import head_phantom
from skiagraph.data.simulation import ScanSettings
from skiagraph.data.slicing import locate_head, slice_positions
from skiagraph.errors import SampleUnavailable
from skiagraph.report import Highlight, Page, Table, write_page
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.provenance import run_record
from skiagraph.tasks.reconstruct.acquire import ToReconstruct, default_centre
from skiagraph.tasks.reconstruct.network import load_prior
from skiagraph.tasks.reconstruct.outputs import check_writable, run_folder, write_text
from skiagraph.tasks.reconstruct.page import figure_table, picture_rows
from skiagraph.tasks.reconstruct.posterior import SamplerSettings, evaluations_per_slice
from skiagraph.tasks.reconstruct.results import METHOD, Reconstruction, SliceFigures, score_slices
from skiagraph.tasks.reconstruct.run import compute
from skiagraph.tasks.reconstruct.settings import DemoSettings
from skiagraph.tasks.reconstruct.simulated import sample_head, simulate_slices

__all__ = ["BASELINES_SHOWN", "DemoResult", "demo", "expectation", "shipped_prior"]

HEAD = "colin27"
BASELINES_SHOWN = ("zero-filled", "cg-sense", "l1-wavelet", "total-variation")


def shipped_prior() -> Path:
    """Folder of the prior that the package ships."""
    return Path(str(files("skiagraph") / "presets" / "priors" / "brain-t1-128"))


@dataclass(frozen=True, eq=False)
class DemoResult:
    """Figures of the demo and where its page lies.

    Args:
        page: the page.
        source: the head, or the phantom that stood in for it.
        rows: one row for each acceleration and method.
        note: why the phantom was used, or empty.
    """

    page: Path
    source: str
    rows: list[dict[str, Any]]
    note: str

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {"source": self.source, "note": self.note, "figures": self.rows, "page": self.page.resolve()}

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid("R", "method", "PSNR (dB)", "SSIM", "90 % interval holds", title=f"Simulated scan of {self.source}")
        for row in self.rows:
            held = f"{100 * row['coverage']:.0f} %" if row["coverage"] is not None else ""
            grid.add_row(f"{row['R']:g}", row["method"], f"{row['psnr_db']:.2f}", f"{row['ssim']:.3f}", held)
        parts: list[Any] = [grid, Text(f"Page: {self.page.resolve()}")]
        return Group(*([Text(self.note)] if self.note else []), *parts)


@dataclass(frozen=True, eq=False)
class _Run:
    """What came out at one acceleration."""

    acceleration: float
    data: ToReconstruct
    result: Reconstruction
    figures: SliceFigures


def expectation(settings: DemoSettings) -> dict[str, Any]:
    """What the demo costs."""
    slices = settings.slices * len(settings.accelerations)
    network, _ = load_prior(shipped_prior())
    evaluations = evaluations_per_slice(network, SamplerSettings(samples=settings.samples))
    return {
        "network_evaluations": slices * evaluations,
        "seconds_on_one_core": round(10 + slices * (0.03 * evaluations + 4)),
        "memory_gib": 1.5,
        "writes": settings.output,
    }


def demo(settings: DemoSettings, on_progress: OnProgress = silent) -> DemoResult:
    """Simulate, reconstruct, compare, and leave a page."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    check_writable(settings.output)
    network, record = load_prior(shipped_prior())
    on_progress("sample head", 0, 1)
    try:
        head, _ = sample_head(HEAD)
        source, note = "Colin27 (one head, not in training)", ""
    except SampleUnavailable as error:
        head = locate_head(head_phantom(settings.seed))
        source, note = "a generated phantom", f"The sample head cannot be had ({error}); a phantom stands in for it."
    on_progress("sample head", 1, 1)
    spread = float(str(record.extra.get("spread", 1.0)))
    runs: list[_Run] = []
    for acceleration in settings.accelerations:
        centre = default_centre(acceleration)
        slices = simulate_slices(
            head,
            HEAD,
            slice_positions(head, settings.slices),
            acceleration=acceleration,
            centre=centre,
            seed=settings.seed,
        )
        data = ToReconstruct(
            slices.scan,
            tuple(f"R = {acceleration:g}, {name}" for name in slices.names),
            None,
            _pixels(),
            slices.truth,
            slices.head,
            "simulated k-space",
            source,
            float(1 / slices.scan.mask.mean()),
        )
        result = compute(
            network,
            data,
            SamplerSettings(samples=settings.samples),
            seed=settings.seed,
            spread=spread,
            baselines=BASELINES_SHOWN,
            on_progress=_staged(on_progress, acceleration),
        )
        runs.append(_Run(acceleration, data, result, score_slices(result, slices.truth, slices.head)))
    return _leave(settings, source, note, runs, record.summary)


def _staged(on_progress: OnProgress, acceleration: float) -> OnProgress:
    return lambda stage, done, total: on_progress(f"R = {acceleration:g}: {stage}", done, total)


def _pixels() -> tuple[float, float, float]:
    scanner = ScanSettings()
    step = scanner.field_of_view_mm[0] / scanner.matrix[0]
    return step, step, scanner.slice_thickness_mm


def _leave(settings: DemoSettings, source: str, note: str, runs: list[_Run], prior_summary: str) -> DemoResult:
    """Write the page, the figures and the configuration."""
    rows = [row for run in runs for row in _figures(run)]
    tables = [
        figure_table(run.figures, run.result, f"R = {run.acceleration:g} ({run.data.acceleration:.1f}x effective)")
        for run in runs
    ]
    used = [(name, str(value)) for name, value in resolved(settings).items() if value is not None]
    record = {**run_record(), "source": source, "note": note, "figures": rows}
    page = Page(
        title="Brain slices from undersampled k-space",
        provenance="simulated k-space",
        summary=f"{source}. {prior_summary} Reconstructions are estimates, not measurements.",
        highlights=tuple(highlight for run in runs for highlight in _highlights(run)),
        warnings=(note,) if note else (),
        tables=(*tables, Table("What was run", ("setting", "value"), tuple(used), folded=True)),
        rows=tuple(row for run in runs for row in picture_rows(run.data, run.result, run.figures)),
        footer=f"skiagraph {record['skiagraph']}, commit {record['commit'] or 'unknown'}",
    )
    with run_folder(settings.output) as staged:
        write_page(page, staged / "report.html")
        write_text(staged / "run.json", json.dumps(record, indent=2))
        write_text(staged / "config.yaml", dump_yaml(settings))
    return DemoResult(settings.output / "report.html", source, rows, note)


def _figures(run: _Run) -> list[dict[str, Any]]:
    """One row a method."""
    covered = float(run.figures.coverage.mean())
    return [
        {"R": run.acceleration, **row, "coverage": covered if row["method"] == METHOD else None}
        for row in run.figures.table()
    ]


def _highlights(run: _Run) -> list[Highlight]:
    """How far from the best of the other methods, and how often the error bars hold."""
    psnr, place = run.figures.psnr, f"at R = {run.acceleration:g}"
    best = max(BASELINES_SHOWN, key=lambda name: float(psnr[name].mean()))
    gain = float((psnr[METHOD] - psnr[best]).mean())
    share = 100 * float(np.mean(run.figures.coverage))
    return [
        Highlight(f"{gain:+.1f} dB", f"against {best}, the best of the others {place}"),
        Highlight(f"{share:.0f} %", f"of the 90 % intervals hold the truth {place}"),
    ]
