"""The command `train translate-prior`: a prior of the target modality that a source of any modality can steer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from skiagraph.diffusion import linear_table
from skiagraph.errors import InputError
from skiagraph.networks.unet import UNet, UNetConfig
from skiagraph.report import Highlight
from skiagraph.tasks.measurement.network import build_unet, network_cost, operations_per_second
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.reconstruct.outputs import check_writable
from skiagraph.tasks.training_run import leave_training
from skiagraph.tasks.training_start import begin_run, loop_settings
from skiagraph.tasks.translate.conditions import ConditionMaps
from skiagraph.tasks.translate.initial import start_from
from skiagraph.tasks.translate.objective import TranslatePriorObjective
from skiagraph.tasks.translate.prior_record import describe_target_prior
from skiagraph.tasks.translate.pseudo import RandomShape
from skiagraph.tasks.translate.settings import TranslatePriorSettings
from skiagraph.tasks.translate.target_data import cut_off, find_cases, read_heads, slabs_of, split_of
from skiagraph.tasks.translate.translatability import TranslatabilityRange
from skiagraph.tasks.translate.validation import held_out_errors, usual_range
from skiagraph.training import train
from skiagraph.training.ema import named_state
from skiagraph.training.prior import Prior
from skiagraph.training.processes import process_group, process_rank

__all__ = ["TrainedTargetPrior", "expectation", "target_network", "train_translate_prior"]


@dataclass(frozen=True)
class TrainedTargetPrior:
    """What the command made.

    Args:
        prior: folder of the prior.
        images: images seen.
        seconds: seconds of training.
        items: different slices (volumes) learned from.
        heads: heads learned from.
        errors: mean squared error of the velocity on held-out heads, with and without maps.
        warning: what a user of the prior must know, or nothing.
    """

    prior: Any
    images: int
    seconds: float
    items: int
    heads: int
    errors: dict[str, float] = field(default_factory=dict)
    warning: str = ""

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            "prior": self.prior,
            "images_seen": self.images,
            "seconds": round(self.seconds, 1),
            "different_items": self.items,
            "heads": self.heads,
            **{name: round(value, 5) for name, value in self.errors.items()},
            **({"warning": self.warning} if self.warning else {}),
        }


def target_network(settings: TranslatePriorSettings) -> UNetConfig:
    """The network of a run: state, neighbours, maps in; velocity out."""
    wanted = settings.network
    factors = tuple(wanted.multipliers or (1, 2, 3))
    grid = max(settings.size) / wanted.patch
    attention = tuple(2**level for level in range(len(factors)) if 4 <= grid / 2**level <= wanted.attention)
    try:
        return UNetConfig(
            dimensions=settings.dimensions,
            in_channels=1 + 2 * settings.neighbours + ConditionMaps(settings.condition).channels,
            out_channels=1,
            channels=wanted.channels,
            multipliers=factors,
            residual_blocks=wanted.residual_blocks,
            attention_downsamplings=attention,
            head_channels=wanted.head_channels,
            residual_resampling=True,
            dropout=wanted.dropout,
            groups=wanted.groups,
            patch=wanted.patch,
            fine=wanted.fine,
        )
    except ValueError as error:
        raise InputError(f"network: {error}") from None


def expectation(settings: TranslatePriorSettings) -> dict[str, Any]:
    """What a run costs, without starting it."""
    cases = find_cases(settings)
    split = split_of(settings, cases)
    config = target_network(settings)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found: dict[str, Any] = {"training_heads": len(split.heads_of("train")), "training_cases": len(split.train)}
    if settings.dimensions == 2:
        cost = network_cost(config, (settings.size[0], settings.size[1]))
        rows = min(settings.microbatch or settings.batch_size, settings.batch_size)
        seconds = 3 * settings.images * cost.operations / operations_per_second(device)
        found["network_parameters"] = cost.parameters
        found["memory_gib"] = round((20 * cost.parameters + rows * cost.activations) / 2**30 + 0.6, 2)
        found["minutes_at_this_machines_present_speed"] = round(seconds / 60, 1)
    found["steps"] = -(-settings.images // settings.batch_size)
    return {**found, "writes": settings.output}


def _objective(settings: TranslatePriorSettings) -> TranslatePriorObjective:
    return TranslatePriorObjective(
        linear_table(),
        settings.condition,
        RandomShape(settings.shape),
        settings.neighbours,
        settings.dimensions == 3,
        settings.emphasis,
    )


def train_translate_prior(settings: TranslatePriorSettings, on_progress: OnProgress = silent) -> TrainedTargetPrior:
    """Train, or continue the run in `output`, and write the prior folder with the averaged weights."""
    check_writable(settings.output)
    config, loop, objective = (
        target_network(settings),
        loop_settings(settings, decay=settings.decay),
        _objective(settings),
    )
    with process_group() as device:
        cases = find_cases(settings)
        split = split_of(settings, cases)
        first = process_rank() == 0
        if first:
            begin_run(settings, settings.output)
        network = build_unet(config, settings.seed)
        if settings.initial is not None:
            start_from(network, settings.initial)
        heads = read_heads(cases, split.train, settings, on_progress)
        items = slabs_of(heads, settings, max(settings.neighbours, ConditionMaps(settings.condition).reach))
        trained = train(
            network.to(device),
            objective,
            items,
            loop,
            settings.output,
            on_progress=lambda now: on_progress("images", now.images, now.total),
        )
        made = TrainedTargetPrior(
            settings.output,
            trained.images,
            trained.seconds,
            len(items),
            len(split.heads_of("train")),
            warning=cut_off(heads, settings),
        )
        if first:
            averaged = _with(network, trained.averages["exponential"])
            judged = read_heads(cases, split.validation, settings, on_progress)
            errors = held_out_errors(averaged, objective, settings, judged) if judged else {}
            record = describe_target_prior(settings, config, split, heads, made.images, loop.ema_half_life, errors)
            made = replace(made, errors=errors)
            _leave(settings, Prior(averaged, record), made, usual_range(settings, heads, judged) if judged else None)
    return made


def _leave(
    settings: TranslatePriorSettings, prior: Prior, made: TrainedTargetPrior, usual: TranslatabilityRange | None
) -> None:
    """Write prior, range of self maps, record and page."""
    written = prior.save(settings.output)
    if usual is not None:
        usual.save(settings.output)
    leave_training(
        settings.output,
        settings,
        {**made.record(), "weights_sha256": written.weights_sha256, "seed": settings.seed},
        title=f"Training of {settings.name}",
        summary=prior.record.summary,
        warnings=(made.warning,) if made.warning else (),
        highlights=(
            Highlight(str(made.images), "images seen"),
            Highlight(str(made.heads), "heads"),
            *(Highlight(f"{value:.4f}", name.replace("_", " ")) for name, value in made.errors.items()),
        ),
    )


def _with(network: UNet, average: Mapping[str, Tensor]) -> UNet:
    """The network with the averaged weights, in evaluation mode."""
    values: dict[str, Tensor] = named_state(network)
    with torch.no_grad():
        for name, value in values.items():
            value.copy_(average[name])
    return network.eval().requires_grad_(False)
