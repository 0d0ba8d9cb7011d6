"""The command `train measurement-score`: a U-Net prior from masked images or k-space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from skiagraph.errors import DataError
from skiagraph.networks.unet import UNetConfig
from skiagraph.physics.masks import effective_acceleration
from skiagraph.tasks import training_start
from skiagraph.tasks.measurement.describe import describe_measurement_prior
from skiagraph.tasks.measurement.items import (
    CoilItems,
    TrainingData,
    measurement_objective,
    open_training_data,
    sees_mask,
)
from skiagraph.tasks.measurement.network import build_unet, network_cost, operations_per_second, unet_config
from skiagraph.tasks.measurement.settings import TrainMeasurementSettings
from skiagraph.tasks.measurement.train_run import leave_run
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.reconstruct.checks import column_warnings
from skiagraph.tasks.reconstruct.outputs import check_writable
from skiagraph.tasks.training_run import TrainedPrior
from skiagraph.training import TrainingSettings, train
from skiagraph.training.prior import Prior
from skiagraph.training.processes import process_group, process_rank

__all__ = ["TrainedMeasurementPrior", "expectation", "loop_settings", "mask_gaps", "network_for", "train_measurement"]


@dataclass(frozen=True)
class TrainedMeasurementPrior(TrainedPrior):
    """What the command made.

    Args:
        items: training items.
        acceleration: entries over observed entries, on average.
        warnings: what a user of the prior must know of the masks it learned from.
    """

    items: int
    acceleration: float
    warnings: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            **super().record(),
            "training_items": self.items,
            "effective_acceleration": round(self.acceleration, 3),
            "warnings": list(self.warnings),
        }


def loop_settings(settings: TrainMeasurementSettings) -> TrainingSettings:
    """What the loop is told."""
    return training_start.loop_settings(settings, ema_ramp=0.05 if settings.ema_ramp else 1e12)


def network_for(settings: TrainMeasurementSettings, channels: int, size: tuple[int, int]) -> UNetConfig:
    """The network of a run."""
    return unet_config(settings.network, channels, size, mask_channel=sees_mask(settings))


def expectation(settings: TrainMeasurementSettings) -> dict[str, Any]:
    """What a run costs, without starting it; data that are not there yet are said to be missing."""
    loop = loop_settings(settings)
    missing = [place for place in settings.data if not place.exists()]
    data = None if missing else open_training_data(settings)
    size = data.size if data else settings.shape
    channels = data.channels if data else (2 if settings.kind == "k-space" else settings.channels)
    if size is None or channels is None:
        raise DataError(
            f"data: {', '.join(map(str, missing))} not found, and size or channels are not stated; the network's shape "
            "follows from them. Give the data, or state both"
        )
    if data is not None:
        measurement_objective(settings, data)
    cost = network_cost(network_for(settings, channels, size), size)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    noisy = settings.noise_std > 0
    passes = 3 * settings.images * (3 if noisy else 1)  # forward and backward; with noise three evaluations
    rows = min(settings.microbatch or loop.batch_size, loop.batch_size)
    memory = 20 * cost.parameters + rows * cost.activations * (3 if noisy else 1) + _data_bytes(data)
    return {
        "data": f"not there yet: {', '.join(map(str, missing))}" if data is None else f"{len(data.names)} items",
        "image": [channels, *size],
        "network_parameters": cost.parameters,
        "gigaoperations_an_evaluation": round(cost.operations / 1e9, 1),
        "images": settings.images,
        "steps": -(-settings.images // settings.batch_size),
        "memory_gib": round(memory / 2**30 + 0.6, 2),
        "hours_at_this_machines_present_speed": round(
            passes * cost.operations / operations_per_second(device) / 3600, 2
        ),
        "writes": settings.output,
    }


def _data_bytes(data: TrainingData | None) -> float:
    if data is None:
        return 0.0
    parts = getattr(data.items, "parts", ())
    return float(sum(2 * part.kspace.numel() * 8 for part in parts))


def train_measurement(settings: TrainMeasurementSettings, on_progress: OnProgress = silent) -> TrainedMeasurementPrior:
    """Train, or continue the run in `output`, and write the prior folder with the averaged weights."""
    check_writable(settings.output)
    loop = loop_settings(settings)
    with process_group() as device:
        data = open_training_data(settings, on_progress)
        objective = measurement_objective(settings, data)
        config = network_for(settings, data.channels, data.size)
        network = build_unet(config, settings.seed).to(device)
        if process_rank() == 0:
            training_start.begin_run(settings, settings.output)
        trained = train(
            network,
            objective,
            data.items,
            loop,
            settings.output,
            on_progress=lambda now: on_progress("images", now.images, now.total),
        )
        acceleration, warnings = _effective_acceleration(settings, data), mask_gaps(settings, data)
        record = describe_measurement_prior(settings, data, config, trained.images, loop.ema_half_life, acceleration)
        record = record.model_copy(update={"limits": [*record.limits, *warnings]})
        facts: dict[str, Any] = {"items": len(data.names), "acceleration": acceleration, "warnings": warnings}
        made = TrainedMeasurementPrior.of(settings.output, trained, **facts)
        if process_rank() == 0:
            averages = {name: value.cpu() for name, value in trained.averages["exponential"].items()}
            written = Prior(network, record).save(settings.output, state=averages)
            stated = {"weights_sha256": written.weights_sha256, "summary": record.summary}
            leave_run(settings, made.record(), stated)
    return made


def _effective_acceleration(settings: TrainMeasurementSettings, data: TrainingData) -> float:
    """Entries over observed entries, on average over (at most 256 of) the items; with fresh masks over one draw."""
    if settings.fresh or settings.mask.family == "none":
        from skiagraph.diffusion.streams import Streams
        from skiagraph.tasks.measurement.masks import mask_family

        masks = mask_family(settings.mask, data.size).draw(Streams(range(256)))
    else:
        chosen = torch.linspace(0, len(data.items) - 1, min(256, len(data.items))).long()
        masks = torch.cat([data.items.batch(chosen[place : place + 1])["mask"] for place in range(len(chosen))])
    return float(1 / (1 / effective_acceleration(masks)).mean())


def mask_gaps(settings: TrainMeasurementSettings, data: TrainingData) -> tuple[str, ...]:
    """What the training masks never show: columns of k-space, or pixels, that no item holds; one mask for all items."""
    if settings.fresh or settings.mask.family == "none":
        return ()
    masks = (data.items.batch(torch.tensor([index]))["mask"][0, 0] for index in range(len(data.items)))
    if isinstance(data.items, CoilItems):
        return tuple(column_warnings(torch.cat(list(masks))))
    seen = next(masks)
    for mask in masks:
        if bool(seen.all()):
            break
        seen = torch.maximum(seen, mask)
    missed = int((seen == 0).sum())
    if not missed:
        return ()
    return (
        f"{missed} of {seen.numel()} pixels were shown by no training image: what the prior puts there it never "
        "learned from data. Add images with other masks.",
    )
