"""The command `train class-prior`: a class-conditional diffusion prior from labelled images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from skiagraph.data.labelled_split import ImageSplit
from skiagraph.diffusion import DiscreteTable, NetworkDenoiser, linear_table
from skiagraph.diffusion.objective import (
    LogNormalTimes,
    ObjectiveResult,
    P2Weight,
    UniformTimes,
    Weight,
    noise_weight,
)
from skiagraph.diffusion.variational import hybrid_loss
from skiagraph.errors import InputError
from skiagraph.networks.unet import UNet, UNetConfig
from skiagraph.report import Highlight, Table
from skiagraph.tasks.measurement.network import build_unet, network_cost, operations_per_second
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.reconstruct.outputs import check_writable
from skiagraph.tasks.synthesize.learn.augment import Augmentation, augmentation
from skiagraph.tasks.synthesize.learn.class_record import describe_class_prior
from skiagraph.tasks.synthesize.learn.data import LabelledItems, fixed_split, open_images
from skiagraph.tasks.synthesize.learn.held_out import held_out_errors
from skiagraph.tasks.synthesize.learn.preview import preview
from skiagraph.tasks.synthesize.learn.runs import begin_run, loop_settings, warnings_of
from skiagraph.tasks.synthesize.learn.settings import ClassPriorSettings
from skiagraph.tasks.training_run import leave_training
from skiagraph.training import train
from skiagraph.training.ema import named_state
from skiagraph.training.prior import Prior
from skiagraph.training.processes import process_group, process_rank

__all__ = ["ClassPriorObjective", "TrainedClassPrior", "expectation", "prior_network", "train_class_prior"]


@dataclass(frozen=True)
class ClassPriorObjective:
    """weight |eps - eps_hat|^2 + coefficient L_vb of labelled images, some of them shown without their label.

    Differs from the released code in that label dropout is drawn for every image, and in training only; with
    `P2Weight(1, 0.5)`, coefficient 1 and the levels "ddim250" the loss is the released one.

    Args:
        schedule: table of the levels, whole or respaced.
        weight: of the squared error of x0; `noise_weight` is the eps objective.
        coefficient: of the variational term; 0 for a network without variance.
        label_dropout: share of the images without label, in [0, 1).
        augment: changes the images.
        times: draws the levels of a batch; taken to the nearest index.
    """

    schedule: DiscreteTable
    weight: Weight = noise_weight
    coefficient: float = 1.0
    label_dropout: float = 0.1
    augment: Augmentation | None = None
    times: Callable[[DiscreteTable, Any], Tensor] = field(default_factory=UniformTimes)

    def denoiser(self, network: Any) -> NetworkDenoiser:
        """The network as denoiser on the levels of training."""
        accepts = frozenset({"label"})
        return NetworkDenoiser(
            network, self.schedule, "eps", "original_index", learned_variance=self.coefficient > 0, accepts=accepts
        )

    def __call__(self, network: Any, batch: Mapping[str, Tensor], streams: Any) -> ObjectiveResult:
        """Loss of each image of {"image", "label"}; draws augmentation, dropout, time, noise."""
        x0 = batch["image"] if self.augment is None else self.augment(batch["image"], streams)
        dropped = streams.uniform().to(x0.device) < self.label_dropout
        label = torch.where(dropped, -1, batch["label"])
        t = self.times(self.schedule, streams).round().clamp(0, len(self.schedule) - 1).to(x0.device)
        loss = hybrid_loss(
            self.denoiser(network),
            x0,
            t,
            streams.normal_like(x0),
            {"label": label},
            weight=self.weight,
            coefficient=self.coefficient,
        )
        return ObjectiveResult(loss, self.schedule.log_snr(t), {"unlabelled": dropped.double()})


@dataclass(frozen=True)
class TrainedClassPrior:
    """What the command made.

    Args:
        prior: folder of the prior.
        images: images seen.
        seconds: seconds of training.
        training_images: different images seen.
        errors: mean squared error of the noise on training and on held-out images.
    """

    prior: Path
    images: int
    seconds: float
    training_images: int
    errors: dict[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            "prior": self.prior,
            "images_seen": self.images,
            "seconds": round(self.seconds, 1),
            "training_images": self.training_images,
            **{name: round(value, 5) for name, value in self.errors.items()},
        }


def levels_of(text: str) -> DiscreteTable:
    """The table of the levels "1000", "ddim250", ..."""
    table = linear_table()
    return table if text == str(len(table)) else table.respaced(text)


def prior_network(settings: ClassPriorSettings, channels: int, size: tuple[int, int], classes: int) -> UNetConfig:
    """The network of a run."""
    wanted, variance = settings.network, settings.variational != 0
    factors = tuple(wanted.multipliers or (1, 2, 3))
    grid = max(size) / wanted.patch
    attention = tuple(2**level for level in range(len(factors)) if 4 <= grid / 2**level <= wanted.attention)
    try:
        return UNetConfig(
            in_channels=channels,
            out_channels=2 * channels if variance else channels,
            channels=wanted.channels,
            multipliers=factors,
            residual_blocks=wanted.residual_blocks,
            attention_downsamplings=attention,
            head_channels=wanted.head_channels,
            residual_resampling=True,
            dropout=wanted.dropout,
            groups=wanted.groups,
            patch=wanted.patch,
            classes=classes,
            unlabelled=settings.label_dropout > 0,
        )
    except ValueError as error:
        raise InputError(f"network: {error}") from None


def objective_of(settings: ClassPriorSettings) -> ClassPriorObjective:
    """The objective of a run."""
    schedule = levels_of(settings.levels)
    weight: Weight = P2Weight(1.0, 0.5) if settings.weight == "p2" else noise_weight
    coefficient = settings.variational if settings.variational is not None else len(schedule) / 1000
    times = UniformTimes() if settings.log_rho is None else LogNormalTimes(*settings.log_rho)
    augment = augmentation(settings.augment)
    return ClassPriorObjective(schedule, weight, coefficient, settings.label_dropout, augment, times)


def expectation(settings: ClassPriorSettings) -> dict[str, Any]:
    """What a run costs, without starting it."""
    images = open_images(settings)
    split = fixed_split(settings, images, write=False)
    config = prior_network(settings, images.channels, images.size, len(images.classes))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cost = network_cost(UNetConfig(**{**vars(config), "classes": 0, "unlabelled": False}), images.size)
    rows = min(settings.microbatch or settings.batch_size, settings.batch_size)
    seconds = 3 * settings.images * cost.operations / operations_per_second(device)
    return {
        "training_images": split.side("train").counts,
        "validation_images": len(split.split.validation),
        "network_parameters": cost.parameters,
        "steps": -(-settings.images // settings.batch_size),
        "memory_gib": round((20 * cost.parameters + rows * cost.activations) / 2**30 + 0.6, 2),
        "minutes_at_this_machines_present_speed": round(seconds / 60, 1),
        "writes": settings.output,
    }


def train_class_prior(settings: ClassPriorSettings, on_progress: OnProgress = silent) -> TrainedClassPrior:
    """Train, or continue the run in `output`, and write the prior folder with the averaged weights."""
    check_writable(settings.output)
    loop, objective = loop_settings(settings), objective_of(settings)
    with process_group() as device:
        images = open_images(settings, on_progress)
        first = process_rank() == 0
        if first:
            fixed_split(settings, images, write=False)  # what is refused leaves nothing behind
            begin_run(settings)
        split = fixed_split(settings, images, write=first)
        seen = split.side("train")
        config = prior_network(settings, images.channels, images.size, len(images.classes))
        network = build_unet(config, settings.seed).to(device)
        items = LabelledItems.of(seen, settings.sampling, settings.seed)
        trained = train(
            network,
            objective,
            items,
            loop,
            settings.output,
            on_progress=lambda now: on_progress("images", now.images, now.total),
        )
        made = TrainedClassPrior(settings.output, trained.images, trained.seconds, len(seen))
        if first:
            made = _leave(settings, split, network, trained.averages["exponential"], made, on_progress)
    return made


def _leave(
    settings: ClassPriorSettings,
    split: ImageSplit,
    network: UNet,
    average: dict[str, Tensor],
    made: TrainedClassPrior,
    on_progress: OnProgress,
) -> TrainedClassPrior:
    """Judge the averaged weights on unseen images, draw a preview, write prior, record and page."""
    on_progress("looking at the result", 0, 0)
    objective = objective_of(settings)
    averaged = _with(network, average)
    errors = held_out_errors(objective.denoiser(averaged), split, settings.seed)
    record = describe_class_prior(settings, split, network.config, made.images, loop_settings(settings), errors)
    prior = Prior(averaged, record)
    written = prior.save(settings.output)
    made = TrainedClassPrior(made.prior, made.images, made.seconds, made.training_images, errors)
    counts = tuple((side, *map(str, row.values())) for side, row in split.counts.items())
    leave_training(
        settings.output,
        settings,
        {**made.record(), "weights_sha256": written.weights_sha256, "seed": settings.seed},
        title=f"Training of {settings.name}",
        summary=record.summary,
        highlights=(
            Highlight(str(made.images), "images seen"),
            Highlight(str(made.training_images), "different images"),
            *(Highlight(f"{value:.4f}", name.replace("_", " ")) for name, value in errors.items()),
        ),
        warnings=warnings_of(settings, split),
        tables=(Table("Images", ("side", *split.images.classes), counts),),
        rows=preview(objective.denoiser(averaged), split, settings.seed, settings.output / "samples.png"),
    )
    return made


def _with(network: UNet, average: Mapping[str, Tensor]) -> UNet:
    """The network with the averaged weights, in evaluation mode."""
    values: dict[str, Tensor] = named_state(network)
    with torch.no_grad():
        for name, value in values.items():
            value.copy_(average[name])
    module: nn.Module = network.eval().requires_grad_(False)
    assert isinstance(module, UNet)
    return module
