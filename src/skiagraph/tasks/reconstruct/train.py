"""Train a reconstruction prior from undersampled scans alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skiagraph.data.simulation import ScanSettings
from skiagraph.inverse.objective import MeasurementObjective
from skiagraph.tasks.reconstruct.network import build_network
from skiagraph.tasks.reconstruct.scan import PreparedScan
from skiagraph.tasks.reconstruct.settings import SimulateSettings, TrainSettings
from skiagraph.tasks.reconstruct.simulated import simulate_training_scans
from skiagraph.training import Progress, TrainingResult, TrainingSettings, train

__all__ = ["ScanItems", "run_training", "scan_settings", "training_scans", "training_settings"]


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
    settings: TrainSettings, on_progress: Callable[[int, int], None] | None = None
) -> tuple[PreparedScan, list[dict[str, Any]]]:
    """The scans to learn from, and the records of their sources."""
    simulate = settings.simulate
    slices, records = simulate_training_scans(
        simulate.scans,
        kind=simulate.masks,
        acceleration=simulate.acceleration,
        centre=simulate.centre,
        seed=simulate.seed,
        settings=scan_settings(simulate),
        on_progress=on_progress,
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
    network = build_network(settings.network, settings.seed).to(device)
    objective = MeasurementObjective(
        hide=settings.objective.hide, anchored=settings.objective.anchored, rows=settings.objective.rows
    )
    items = ScanItems(scan)
    return train(network, objective, items, training_settings(settings), settings.output, on_progress=on_progress)
