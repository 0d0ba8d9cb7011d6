"""The command `reconstruct`: posterior mean, error bars, baselines, figures and a page, from k-space and a prior."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from skiagraph.config import dump_yaml
from skiagraph.errors import InputError
from skiagraph.inverse.consistent import ConsistentNetwork
from skiagraph.tasks.left_run import LeftRun
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.provenance import run_record
from skiagraph.tasks.reconstruct.acquire import ToReconstruct, acquire
from skiagraph.tasks.reconstruct.baselines import BASELINES, tuned_baseline
from skiagraph.tasks.reconstruct.checks import check_fit, mask_record
from skiagraph.tasks.reconstruct.network import load_prior
from skiagraph.tasks.reconstruct.outputs import VOLUMES, check_writable, run_folder, write_images, write_text
from skiagraph.tasks.reconstruct.page import write_report
from skiagraph.tasks.reconstruct.posterior import (
    SamplerSettings,
    conditional_mean,
    evaluations_per_slice,
    posterior_samples,
    slice_seeds,
)
from skiagraph.tasks.reconstruct.results import Reconstruction, SliceFigures, score_slices
from skiagraph.tasks.reconstruct.settings import ReconstructSettings
from skiagraph.tasks.reconstruct.shifts import over_shifts
from skiagraph.training.precision import resolve_precision
from skiagraph.training.record import PriorRecord

__all__ = ["ReconstructResult", "check_fit", "compute", "expectation", "reconstruct", "sampler_settings"]


@dataclass(frozen=True, eq=False)
class ReconstructResult(LeftRun):
    """What a run left.

    Args:
        figures: one row a method, where the truth is known.
        coverage: share of pixels in the head whose truth lies in the 90 % interval, or None.
    """

    figures: list[dict[str, Any]]
    coverage: float | None

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            "figures": self.figures,
            "coverage_of_90_percent_interval": self.coverage,
            **super().record(),
        }

    def __rich__(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        parts: list[Any] = []
        if self.figures:
            table = Table("method", "PSNR (dB)", "SSIM", "NMSE")
            for row in self.figures:
                table.add_row(row["method"], f"{row['psnr_db']:.2f}", f"{row['ssim']:.3f}", f"{row['nmse']:.4f}")
            parts.append(table)
        if self.coverage is not None:
            parts.append(
                Text(f"The 90 % interval holds the truth in {100 * self.coverage:.1f} % of the head's pixels.")
            )
        return self.shown(*parts)


def sampler_settings(settings: ReconstructSettings, record: PriorRecord) -> SamplerSettings:
    """The sampler of a run; masked views follow the prior's training masks."""
    trained = record.measurement.settings if record.measurement else {}
    dtype = resolve_precision(settings.precision, torch.device("cpu"))
    acceleration = float(str(trained.get("acceleration", 4.0)))
    covering = math.ceil(acceleration) if settings.sampler == "measurement-score" else 0
    return SamplerSettings(
        sampler=settings.sampler,
        samples=settings.samples,
        steps=settings.steps,
        views=max(4, covering),
        acceleration=acceleration,
        centre=int(str(trained.get("centre", 24))),
        rows=settings.batch or 16,
        shifts=settings.shifts,
        precision="bfloat16" if dtype == torch.bfloat16 else "float32",
    )


def _check_baselines(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in BASELINES]
    if unknown:
        raise InputError(f"baselines: found {', '.join(unknown)}, allowed: {', '.join(BASELINES)}.")


def compute(
    network: ConsistentNetwork,
    data: ToReconstruct,
    sampler: SamplerSettings,
    *,
    seed: int,
    spread: float,
    baselines: Sequence[str],
    on_progress: OnProgress = silent,
) -> Reconstruction:
    """Reconstruct slices by the prior and by baselines, with seconds per slice."""
    _check_baselines(baselines)
    images, seconds = {}, {}
    for name in baselines:
        on_progress(name, 0, 1)
        started = time.perf_counter()
        images[name] = tuned_baseline(name, data.acceleration)(data.scan)
        seconds[name] = (time.perf_counter() - started) / len(data.scan)
        on_progress(name, 1, 1)
    started = time.perf_counter()
    mean = partial(conditional_mean, network, rows=sampler.rows)
    direct = over_shifts(mean, data.scan, sampler.shifts) if sampler.sampler == "anchored" else None
    samples = posterior_samples(
        network,
        data.scan,
        sampler,
        slice_seeds(seed, data.names, sampler.samples),
        on_progress=lambda done, total: on_progress("posterior samples", done, total),
    )
    seconds["skiagraph"] = (time.perf_counter() - started) / len(data.scan)
    return Reconstruction(
        samples=data.shown(samples),
        direct=None if direct is None else data.shown(direct),
        spread=spread,
        baselines={name: data.shown(image) for name, image in images.items()},
        seconds=seconds,
        evaluations=evaluations_per_slice(network, sampler),
    )


def expectation(settings: ReconstructSettings) -> dict[str, Any]:
    """What a run costs, without starting it."""
    network, record = load_prior(settings.prior)
    data = acquire(settings)
    sampler = sampler_settings(settings, record)
    evaluations = evaluations_per_slice(network, sampler)
    pixels = data.scan.kspace[0, 0].numel()
    weights = sum(value.numel() for value in network.parameters())
    coils = data.scan.kspace.shape[1]
    return {
        "slices": len(data.scan),
        "network_evaluations_per_slice": evaluations,
        "seconds_on_one_core": round(len(data.scan) * evaluations * 0.03 * pixels / 128**2),
        "memory_gib": round(
            (4 * weights + (len(data.scan) * 24 + sampler.rows * 200) * coils * pixels) / 2**30 + 0.6, 1
        ),
    }


def reconstruct(settings: ReconstructSettings, on_progress: OnProgress = silent) -> ReconstructResult:
    """Reconstruct a scan and leave a run folder: images, samples, figures, record, page."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    folder = settings.output or Path("runs") / settings.scan.name.split(".")[0]
    _check_baselines(settings.baselines)
    check_writable(folder)
    network, record = load_prior(settings.prior)
    data = acquire(settings, on_progress)
    warnings = check_fit(record, data)
    spread = float(str(record.extra.get("spread", 1.0)))
    result = compute(
        network,
        data,
        sampler_settings(settings, record),
        seed=settings.seed,
        spread=spread,
        baselines=settings.baselines,
        on_progress=on_progress,
    )
    return leave(folder, settings, record, data, result, warnings)


def leave(
    folder: Path,
    settings: ReconstructSettings,
    record: PriorRecord,
    data: ToReconstruct,
    result: Reconstruction,
    warnings: tuple[str, ...],
) -> ReconstructResult:
    """Write everything a run leaves."""
    figures: SliceFigures | None = None
    if data.truth is not None and data.head is not None:
        figures = score_slices(result, data.truth, data.head)
    rows = figures.table() if figures else []
    coverage = float(figures.coverage.mean()) if figures and settings.samples > 1 else None
    summary = {
        **run_record(),
        "prior": {"name": record.name, "weights_sha256": record.weights_sha256},
        "input": data.record(),
        "mask": mask_record(record, data),
        "network_evaluations_per_slice": result.evaluations,
        "seconds_per_slice": dict(result.seconds),
        "figures": rows,
        "coverage_of_90_percent_interval": coverage,
        "error_bar_factor": result.spread,
        "warnings": list(warnings),
        "seed": settings.seed,
    }
    with run_folder(folder, VOLUMES) as staged:
        write_images(staged, data, result)
        write_text(staged / "config.yaml", dump_yaml(settings))
        write_text(staged / "run.json", json.dumps(summary, indent=2))
        write_report(staged / "report.html", data, result, figures, summary)
    return ReconstructResult(folder, folder / "report.html", warnings, rows, coverage)
