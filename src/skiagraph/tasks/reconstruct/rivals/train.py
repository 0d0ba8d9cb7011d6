"""Train the rivals: `train ssdu`, `train ambient` and `train image-prior`, on scans made as those of `train`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from skiagraph.errors import InputError
from skiagraph.inverse.ambient import AmbientObjective
from skiagraph.inverse.unrolled import SelfSupervisedObjective
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.reconstruct.calibrate import Spread
from skiagraph.tasks.reconstruct.checks import training_warnings
from skiagraph.tasks.reconstruct.outputs import check_writable
from skiagraph.tasks.reconstruct.prior_record import describe_prior
from skiagraph.tasks.reconstruct.rivals.image_prior import (
    TIME,
    ImageItems,
    ImageObjective,
    combined_images,
    image_schedule,
)
from skiagraph.tasks.reconstruct.rivals.networks import (
    AMBIENT,
    IMAGE,
    UNROLLED,
    ambient_network,
    image_network,
    unrolled_network,
)
from skiagraph.tasks.reconstruct.rivals.settings import (
    AmbientSettings,
    ImagePriorSettings,
    RivalTraining,
    SSDUSettings,
    UNetSettings,
)
from skiagraph.tasks.reconstruct.scan import PreparedScan
from skiagraph.tasks.reconstruct.train import ScanItems, training_scans, training_settings
from skiagraph.tasks.training_run import TrainedPrior
from skiagraph.training import IndexedData, Objective, Prior, PriorRecord, TrainingResult, process_group, train
from skiagraph.training.calculus import schedule_record
from skiagraph.training.processes import process_rank
from skiagraph.training.record import ArchitectureRecord, TimeRecord

__all__ = [
    "TrainedRival",
    "dropped_share",
    "expect_ambient",
    "expect_image_prior",
    "expect_ssdu",
    "train_ambient",
    "train_image_prior",
    "train_on_images",
    "train_ssdu",
]


@dataclass(frozen=True)
class TrainedRival(TrainedPrior):
    """What the commands make.

    Args:
        warnings: what a user of the prior must know of its training scans.
    """

    warnings: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {**super().record(), "warnings": list(self.warnings)}


def train_ssdu(settings: SSDUSettings, on_progress: OnProgress = silent) -> TrainedRival:
    """Train the unrolled network, some lines of a scan judged against the others, and write the prior folder."""
    objective = SelfSupervisedObjective(settings.held_share, settings.held_centre, settings.split, settings.rows)
    network = unrolled_network(settings.network, settings.seed)
    details = {
        "summary": "Unrolled reconstruction network, learned from undersampled scans alone (SSDU).",
        "architecture": _architecture(UNROLLED, settings.network),
    }
    return _train_on_scans(settings, network, objective, "self-supervised data undersampling", details, on_progress)


def train_ambient(settings: AmbientSettings, on_progress: OnProgress = silent) -> TrainedRival:
    """Train the denoiser that is told the mask, by dropping further lines, and write the prior folder."""
    network = ambient_network(settings.network, settings.seed)
    share, centre = dropped_share(settings), settings.simulate.centre
    objective = AmbientObjective(network, share, centre if settings.simulate.scans else 12, rows=settings.rows)
    details = {
        "summary": "Denoiser of undersampled scans that is told the mask, learned from such scans alone (Ambient).",
        "architecture": _architecture(AMBIENT, settings.network),
    }
    return _train_on_scans(settings, network, objective, "Ambient diffusion (further masking)", details, on_progress)


def train_image_prior(settings: ImagePriorSettings, on_progress: OnProgress = silent) -> TrainedRival:
    """Train an image prior on fully sampled scans, coil-combined, and write the prior folder."""
    _check_full(settings)
    check_writable(settings.output)
    with process_group() as device:
        scan, sources = training_scans(settings.shared(), on_progress)
        if not bool((scan.mask == 1).all()):
            raise InputError("data: found undersampled scans; an image prior learns from fully sampled ones.")
        images = combined_images(scan)
        return train_on_images(settings, scan, images, sources, device, clean=True, on_progress=on_progress)


def _check_full(settings: ImagePriorSettings) -> None:
    if settings.simulate.scans and settings.simulate.masks != "full":
        raise InputError(
            f"simulate.masks: found {settings.simulate.masks!r}, allowed: full; image priors learn from whole images."
        )


def train_on_images(
    settings: ImagePriorSettings,
    scan: PreparedScan,
    images: Tensor,
    sources: list[dict[str, Any]],
    device: str | torch.device = "cpu",
    *,
    clean: bool = False,
    on_progress: OnProgress = silent,
) -> TrainedRival:
    """Train an image prior on images that are already there, such as posterior samples of undersampled scans.

    Args:
        settings: network, loop and output; its data are not read.
        scan: the scans behind the images, for the record.
        images: (N, H, W) complex64 in normalised units.
        sources: records of the scans' sources.
        device: where to train.
        clean: whether the images come from fully sampled scans; else the record keeps how the scans were measured.
        on_progress: told about every step.
    """
    network = image_network(settings.network, settings.seed)
    if settings.start is not None:
        _start_from(network, settings.start)
    objective = ImageObjective(settings.network.sigma_data, rows=settings.rows)
    details: dict[str, Any] = {
        "summary": f"Prior of coil-combined complex images, {'fully sampled' if clean else 'reconstructed'}.",
        "architecture": _architecture(IMAGE, settings.network),
        "parametrisation": "edm",
        "schedule": schedule_record(image_schedule()),
        "time": TimeRecord(kind=TIME.kind, scale=TIME.scale),
    }
    if clean:
        details["measurement"] = None
    trained = _fit(settings, network.to(device), objective, ImageItems(images), on_progress)
    return _finish(settings, network, scan, sources, trained, "EDM denoising of whole images", details)


def _start_from(network: nn.Module, folder: Path) -> None:
    prior = Prior.load(folder)
    shapes, wanted = (
        {name: tuple(v.shape) for name, v in net.state_dict().items()} for net in (prior.network, network)
    )
    if prior.record.architecture.kind != IMAGE or shapes != wanted:
        raise InputError(
            f"start: the prior in {folder} is of kind {prior.record.architecture.kind!r} or of another size; give an "
            f"image prior ({IMAGE!r}) of the network under `network`."
        )
    network.load_state_dict(prior.network.state_dict())


def dropped_share(settings: AmbientSettings) -> float:
    """The share of a scan's outer lines that Ambient drops: as set, or 1 / (R + 1)."""
    return settings.dropped_share or 1 / (settings.simulate.acceleration + 1)


def _train_on_scans(
    settings: RivalTraining,
    network: nn.Module,
    objective: Objective,
    title: str,
    details: dict[str, Any],
    on_progress: OnProgress,
) -> TrainedRival:
    check_writable(settings.output)
    with process_group() as device:
        scan, sources = training_scans(settings.shared(), on_progress)
        trained = _fit(settings, network.to(device), objective, ScanItems(scan), on_progress)
        return _finish(settings, network, scan, sources, trained, title, details)


def _fit(
    settings: RivalTraining, network: nn.Module, objective: Objective, data: IndexedData, on_progress: OnProgress
) -> TrainingResult:
    loop = training_settings(settings.shared())
    return train(
        network,
        objective,
        data,
        loop,
        settings.output,
        on_progress=lambda p: on_progress("images", p.images, p.total),
    )


def _finish(
    settings: RivalTraining,
    network: nn.Module,
    scan: PreparedScan,
    sources: list[dict[str, Any]],
    trained: TrainingResult,
    objective: str,
    details: dict[str, Any],
) -> TrainedRival:
    """Put the averaged weights in the network and save the prior folder."""
    averages = trained.averages["exponential"]
    network.load_state_dict({name: value.cpu() for name, value in averages.items()})
    record = _record(settings, scan, sources, trained, objective, details)
    warnings = (*(w for source in sources for w in source.get("warnings", ())), *training_warnings(scan))
    record = record.model_copy(update={"limits": [*record.limits, *warnings]})
    if process_rank() == 0:
        Prior(network.cpu().eval(), record).save(settings.output, weights="float16")
    return TrainedRival.of(settings.output, trained, warnings=warnings)


def _record(
    settings: RivalTraining,
    scan: PreparedScan,
    sources: list[dict[str, Any]],
    trained: TrainingResult,
    objective: str,
    details: dict[str, Any],
) -> PriorRecord:
    """The record of the prior; what the scans were is said as `train` says it."""
    known = describe_prior(settings.shared(), scan, sources, trained, Spread(1.0, 0, 0))
    training = known.training.model_copy(
        update={
            "objective": objective,
            "settings": settings.model_dump(mode="json", exclude={"output"}),
            "command": None,
        }
    )
    sigma = details["architecture"].settings["sigma_data"]
    return known.model_copy(update={"training": training, "sigma_data": sigma, "extra": {}, **details})


def _architecture(kind: str, settings: UNetSettings) -> ArchitectureRecord:
    return ArchitectureRecord(kind=kind, settings=settings.model_dump(mode="json"))


def expect_ssdu(settings: SSDUSettings) -> dict[str, Any]:
    """What `train ssdu` needs, without starting it."""
    return _expectation(settings, unrolled_network(settings.network), 0.023 * settings.network.cascades)


def expect_ambient(settings: AmbientSettings) -> dict[str, Any]:
    """What `train ambient` needs, without starting it."""
    return {"dropped_share": dropped_share(settings), **_expectation(settings, ambient_network(settings.network), 0.13)}


def expect_image_prior(settings: ImagePriorSettings) -> dict[str, Any]:
    """What `train image-prior` needs, without starting it."""
    _check_full(settings)
    return _expectation(settings, image_network(settings.network), 0.05)


def _expectation(settings: RivalTraining, network: nn.Module, seconds_per_image: float) -> dict[str, Any]:
    simulate = settings.simulate
    scans = sum(simulate.scans.values()) or len(settings.data)
    parameters = sum(value.numel() for value in network.parameters())
    item = 2 * simulate.coils * simulate.matrix**2 * 8
    return {
        "scans": scans,
        "memory_gib": round((scans * item + 40 * parameters) / 2**30 + 1.0, 2),
        "network_parameters": parameters,
        "images": settings.images,
        "seconds_on_one_core": round(seconds_per_image * settings.images + 0.1 * scans),
        "writes": settings.output,
    }
