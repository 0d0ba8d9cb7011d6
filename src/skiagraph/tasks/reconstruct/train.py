"""Train a reconstruction prior from undersampled scans alone: the command `train`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from skiagraph.config import dump_yaml
from skiagraph.data.simulation import ScanSettings
from skiagraph.inverse.added_noise import AddedNoise
from skiagraph.inverse.fresh_masks import FreshColumns
from skiagraph.inverse.objective import MeasurementObjective
from skiagraph.report import Highlight
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.reconstruct.calibrate import Spread, calibrate_spread
from skiagraph.tasks.reconstruct.checks import training_warnings
from skiagraph.tasks.reconstruct.complete import complete_scans
from skiagraph.tasks.reconstruct.network import build_network, start_from
from skiagraph.tasks.reconstruct.outputs import check_writable, write_text
from skiagraph.tasks.reconstruct.posterior import SamplerSettings
from skiagraph.tasks.reconstruct.prepare import Treatment
from skiagraph.tasks.reconstruct.prior_record import describe_prior
from skiagraph.tasks.reconstruct.scan import PreparedScan
from skiagraph.tasks.reconstruct.settings import SimulateSettings, TrainSettings
from skiagraph.tasks.reconstruct.simulated import mask_family, simulate_training_scans
from skiagraph.tasks.reconstruct.training_files import scans_from_files, stored_shape
from skiagraph.tasks.training_run import TrainedPrior, leave_training
from skiagraph.training import Progress, TrainingResult, TrainingSettings, train
from skiagraph.training.precision import resolve_precision
from skiagraph.training.prior import Prior
from skiagraph.training.processes import process_group, process_rank

__all__ = [
    "ScanItems",
    "TrainResult",
    "expectation",
    "measurement_objective",
    "run_training",
    "scan_settings",
    "train_prior",
    "training_scans",
    "training_settings",
]

CALIBRATION_SLICES = 24
# Of one cascade of 24 channels: forward and backward on 64 rows of 128 columns; five levels of a walk on 128 rows.
SECONDS_AN_IMAGE = 0.045
SECONDS_A_SAMPLE = 0.15


@dataclass(frozen=True, eq=False)
class ScanItems:
    """Prepared slices as training data."""

    scan: PreparedScan

    def __len__(self) -> int:
        return len(self.scan)

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        """The items at `indices`: kspace, mask, maps, noise."""
        return self.scan.batch(indices)


def scan_settings(settings: SimulateSettings) -> ScanSettings:
    """Settings of the simulated scanner."""
    return ScanSettings(
        coils=settings.coils,
        matrix=(settings.matrix, settings.matrix),
        field_of_view_mm=(settings.field_of_view_mm, settings.field_of_view_mm),
        noise_fraction=settings.noise_fraction,
    )


def training_scans(
    settings: TrainSettings, on_progress: OnProgress = silent
) -> tuple[PreparedScan, list[dict[str, Any]]]:
    """The scans to learn from, and the records of their sources."""
    if settings.data:
        return scans_from_files(
            settings.data, Treatment(settings.prewhiten, settings.coils), on_progress, counters=settings.counters
        )
    simulate = settings.simulate
    slices, records = simulate_training_scans(
        simulate.scans,
        kind="full" if settings.objective.fresh_masks else simulate.masks,
        acceleration=simulate.acceleration,
        centre=simulate.centre,
        head_scale=simulate.head_scale,
        seed=simulate.seed,
        settings=scan_settings(simulate),
        prewhiten=simulate.prewhiten,
        on_progress=lambda done, total: on_progress("training scans", done, total),
    )
    return slices.scan, records


def training_settings(settings: TrainSettings) -> TrainingSettings:
    """What the loop is told."""
    return TrainingSettings(
        images=settings.images,
        batch_size=settings.batch_size,
        seed=settings.seed,
        learning_rate=settings.learning_rate,
        warmup=settings.warmup,
        decay="cosine",
        precision=settings.precision,
        threads=settings.threads,
        ema_lengths=(0.05, 0.10),
        ema_half_life=settings.ema_half_life,
        log_every=max(settings.batch_size, settings.images // 100),
        checkpoint_every=max(settings.batch_size, settings.images // 20),
    )


def run_training(
    settings: TrainSettings,
    scan: PreparedScan,
    *,
    device: str | torch.device = "cpu",
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainingResult:
    """Train the network on prepared scans, or continue the run in `settings.output`."""
    network = build_network(settings.network, settings.seed)
    if settings.start is not None:
        start_from(network, settings.start)
    network = network.to(device)
    items = ScanItems(scan)
    objective = measurement_objective(settings)
    return train(network, objective, items, training_settings(settings), settings.output, on_progress=on_progress)


def measurement_objective(settings: TrainSettings) -> MeasurementObjective | FreshColumns:
    """What is learned from a batch of scans."""
    choice, simulate = settings.objective, settings.simulate
    objective = MeasurementObjective(
        hide=choice.hide,
        anchored=choice.anchored,
        alone=choice.alone,
        hidden_share=choice.hidden_share,
        anchor_share=choice.anchor_share,
        rows=choice.rows,
        added=AddedNoise(choice.noisier, choice.noisiest) if choice.noisier else None,
    )
    if not choice.fresh_masks:
        return objective
    return FreshColumns(objective, mask_family(simulate.masks, simulate.matrix, simulate.acceleration, simulate.centre))


@dataclass(frozen=True)
class TrainResult(TrainedPrior):
    """What `train` made.

    Args:
        spread: calibration of the error bars.
        warnings: what a user of the prior must know of its training scans.
    """

    spread: Spread
    warnings: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            **super().record(),
            "error_bar_factor": round(self.spread.factor, 3),
            "warnings": list(self.warnings),
        }


def expectation(settings: TrainSettings) -> dict[str, Any]:
    """What a training run needs, without starting it; times are those of one core of 2024."""
    simulate = settings.simulate
    known = [shape for file in settings.data if (shape := stored_shape(file)) is not None]
    slices = sum(simulate.scans.values()) or sum(shape[0] for shape in known) or len(settings.data)
    coils, rows, columns = known[0][1:] if known else (simulate.coils, simulate.matrix, simulate.matrix)
    coils = min(coils, settings.coils or coils)
    parameters = sum(p.numel() for p in build_network(settings.network).parameters())
    passes = settings.network.cascades * settings.network.channels / 24
    pixels = min(settings.objective.rows or rows, rows) * columns / (64 * 128)
    completing = 0.0
    if settings.complete is not None:
        completing = SECONDS_A_SAMPLE * slices * passes * rows * columns / 128**2
    return {
        "slices": slices,
        "memory_gib": round((slices * 16 * coils * rows * columns + 40 * parameters) / 2**30 + 1.0, 2),
        "network_parameters": parameters,
        "images": settings.images,
        "seconds_on_one_core": round(
            SECONDS_AN_IMAGE * passes * pixels * settings.images + completing + 0.1 * slices * rows * columns / 128**2
        ),
        "writes": settings.output,
    }


def train_prior(settings: TrainSettings, on_progress: OnProgress = silent) -> TrainResult:
    """Train, calibrate the error bars on the training scans' own hidden lines, and write the prior folder."""
    check_writable(settings.output)
    with process_group() as device:
        scan, sources = training_scans(settings, on_progress)
        if process_rank() == 0:
            settings.output.mkdir(parents=True, exist_ok=True)
            write_text(settings.output / "config.yaml", dump_yaml(settings))
        learned = scan
        if settings.complete is not None:
            learned = complete_scans(
                scan,
                settings.complete,
                seed=settings.seed,
                precision=_number_format(settings.precision, device),
                on_progress=lambda done, total: on_progress("posterior samples of the scans", done, total),
            )
        trained = run_training(
            settings, learned, device=device, on_progress=lambda p: on_progress("images", p.images, p.total)
        )
        return finish_training(settings, scan, sources, trained, on_progress)


def _number_format(precision: str, device: torch.device) -> Literal["float32", "bfloat16"]:
    return "bfloat16" if resolve_precision(precision, device) == torch.bfloat16 else "float32"


def finish_training(
    settings: TrainSettings,
    scan: PreparedScan,
    sources: list[dict[str, Any]],
    trained: TrainingResult,
    on_progress: OnProgress = silent,
) -> TrainResult:
    """Put the averaged weights in the network, calibrate, save the prior."""
    network = build_network(settings.network, settings.seed)
    averages = trained.averages["exponential"]
    network.load_state_dict({name: value.cpu() for name, value in averages.items()})
    network.eval().requires_grad_(False)
    chosen = torch.linspace(0, len(scan) - 1, min(CALIBRATION_SLICES, len(scan))).long()
    on_progress("error bars", 0, 1)
    spread = calibrate_spread(network, scan.select(chosen), SamplerSettings(samples=4), seed=settings.seed)
    on_progress("error bars", 1, 1)
    warnings = (*(w for source in sources for w in source.get("warnings", ())), *training_warnings(scan))
    record = describe_prior(settings, scan, sources, trained, spread)
    record = record.model_copy(update={"limits": [*record.limits, *warnings]})
    if process_rank() == 0:
        Prior(network, record).save(settings.output, weights="float16")
    result = TrainResult.of(settings.output, trained, spread=spread, warnings=warnings)
    if process_rank() == 0:
        _leave(settings, scan, result, record.summary)
    return result


def _leave(settings: TrainSettings, scan: PreparedScan, result: TrainResult, summary: str) -> None:
    """Write run.json and the page."""
    leave_training(
        settings.output,
        settings,
        {**result.record(), "seed": settings.seed},
        title=f"Training of {settings.name}",
        summary=summary,
        highlights=(
            Highlight(str(result.images), "images seen"),
            Highlight(str(len(scan)), "scans"),
            Highlight(f"{1 / float(scan.mask.mean()):.2f}x", "effective acceleration"),
        ),
        warnings=result.warnings,
    )
