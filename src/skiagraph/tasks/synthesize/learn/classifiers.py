"""The commands `train noisy-classifier` and `train classifier`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from skiagraph.data.labelled_split import ImageSplit
from skiagraph.diffusion.objective import LogNormalTimes, UniformTimes
from skiagraph.diffusion.schedule import DiscreteTable
from skiagraph.report import Curve, Highlight, Line, Table
from skiagraph.report.page import Cell
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.reconstruct.outputs import check_writable
from skiagraph.tasks.synthesize.learn.augment import augmentation
from skiagraph.tasks.synthesize.learn.class_prior import levels_of
from skiagraph.tasks.synthesize.learn.classifier_describe import classifier_architecture, describe_classifier
from skiagraph.tasks.synthesize.learn.data import LabelledItems, fixed_split, open_images, side_tensors
from skiagraph.tasks.synthesize.learn.rounds import Trained, train_in_rounds, with_weights
from skiagraph.tasks.synthesize.learn.runs import begin_run, loop_settings, warnings_of
from skiagraph.tasks.synthesize.learn.settings import ClassifierSettings, NoisyClassifierSettings
from skiagraph.tasks.training_run import leave_training
from skiagraph.training.classification import (
    CleanClassification,
    NoisyClassification,
    clean_logits,
    fit_temperature,
    noised_logits,
    scores,
)
from skiagraph.training.classifier import Classifier
from skiagraph.training.classifier_networks import build_classifier
from skiagraph.training.order import derive_seed
from skiagraph.training.precision import NetworkPrecision, resolve_precision
from skiagraph.training.processes import process_group, process_rank

__all__ = ["TrainedClassifier", "Validation", "expectation", "train_classifier", "train_noisy_classifier"]

AnySettings = NoisyClassifierSettings | ClassifierSettings


@dataclass(frozen=True)
class TrainedClassifier:
    """What the command made.

    Args:
        classifier: folder of the classifier.
        images: images seen.
        best_at: images seen by the weights that were kept.
        seconds: seconds of training.
        temperature: fitted on unseen images.
        figures: scores on the validation images.
    """

    classifier: Path
    images: int
    best_at: int
    seconds: float
    temperature: float
    figures: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            "classifier": self.classifier,
            "images_seen": self.images,
            "best_at": self.best_at,
            "seconds": round(self.seconds, 1),
            "temperature": round(self.temperature, 4),
            **self.figures,
        }


@dataclass(frozen=True, eq=False)
class Validation:
    """A full pass over unseen images, at every bin of noise levels or, for clean images, at one.

    Args:
        images: (N, C, H, W).
        labels: (N,).
        seeds: one an image, for its levels and noise; the same at every pass.
        schedule: levels of a noisy classifier, None for clean images.
        times: what it is told as time.
        bins: how many bins of levels.
        takes_time: clean images: whether the network wants a time all the same.
    """

    images: Tensor
    labels: Tensor
    seeds: tuple[int, ...]
    schedule: DiscreteTable | None = None
    times: Any = "original"
    bins: int = 1
    takes_time: bool = False

    @property
    def edges(self) -> list[int]:
        """Positions in the table that bound the bins."""
        length = 0 if self.schedule is None else len(self.schedule)
        return [round(length * number / self.bins) for number in range(self.bins + 1)]

    def logits(self, network: nn.Module) -> Tensor:
        """(bins, N, K) of a network in evaluation mode."""
        if self.schedule is None:
            return clean_logits(network, self.images, self.takes_time)[None]
        return noised_logits(network, self.images, self.schedule, self.times, self.edges, self.seeds)

    def judge(self, network: nn.Module) -> dict[str, Any]:
        """Mean cross-entropy over all bins as "loss", balanced accuracy by bin."""
        rows = [scores(found, self.labels) for found in self.logits(network)]
        return {
            "loss": sum(row["cross_entropy"] for row in rows) / len(rows),
            "balanced_accuracy": [round(row["balanced_accuracy"], 4) for row in rows],
        }

    def figures(self, network: nn.Module) -> tuple[float, dict[str, Any], list[dict[str, float]]]:
        """Fitted temperature, figures in all, and the scores of each bin, before and after the temperature."""
        found = self.logits(network)
        temperature = fit_temperature(found.flatten(0, 1), self.labels.repeat(len(found)))
        rows = []
        for row in found:
            raw, fitted = scores(row, self.labels), scores(row, self.labels, temperature)
            rows.append({**fitted, "ece_before": raw["ece"]})
        mean = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        named = {f"validation_{name}": round(value, 4) for name, value in mean.items()}
        if len(rows) > 1:
            named |= {f"cleanest_bin_{name}": round(value, 4) for name, value in rows[0].items()}
        return temperature, named, rows


def expectation(settings: AnySettings) -> dict[str, Any]:
    """What a run costs, without starting it."""
    images = open_images(settings)
    split = fixed_split(settings, images, write=False)
    entry = classifier_architecture(settings.network, images, isinstance(settings, NoisyClassifierSettings))
    network = build_classifier(entry["kind"], entry["settings"])
    return {
        "training_images": split.side("train").counts,
        "validation_images": split.side("validation").counts,
        "network_parameters": sum(value.numel() for value in network.parameters()),
        "steps": -(-settings.images // settings.batch_size),
        "writes": settings.output,
    }


def train_noisy_classifier(settings: NoisyClassifierSettings, on_progress: OnProgress = silent) -> TrainedClassifier:
    """Train, or continue the run in `output`; keep the best weights, fit the temperature, write the folder."""
    schedule = levels_of(settings.levels)
    draw = UniformTimes() if settings.log_rho is None else LogNormalTimes(*settings.log_rho)
    objective = NoisyClassification(schedule, settings.times, augmentation(settings.augment), draw)
    return _train(settings, objective, on_progress, schedule=schedule, times=settings.times, bins=settings.bins)


def train_classifier(settings: ClassifierSettings, on_progress: OnProgress = silent) -> TrainedClassifier:
    """Train, or continue the run in `output`; keep the best weights, fit the temperature, write the folder."""
    encoder = settings.network.kind == "encoder"
    objective = CleanClassification(encoder, augmentation(settings.augment))
    return _train(settings, objective, on_progress, takes_time=encoder)


def _train(settings: AnySettings, objective: Any, on_progress: OnProgress, **validation: Any) -> TrainedClassifier:
    check_writable(settings.output)
    loop = loop_settings(settings)
    with process_group() as device:
        images = open_images(settings, on_progress)
        first = process_rank() == 0
        if first:
            fixed_split(settings, images, write=False)  # what is refused leaves nothing behind
            begin_run(settings)
        split = fixed_split(settings, images, write=first)
        held_out = _validation(settings, split, device, validation)
        entry = classifier_architecture(settings.network, images, isinstance(settings, NoisyClassifierSettings))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network = build_classifier(entry["kind"], entry["settings"]).to(device)
        dtype = resolve_precision(settings.precision, device)
        trained = train_in_rounds(
            network,
            objective,
            LabelledItems.of(split.side("train"), settings.sampling, settings.seed),
            loop,
            settings.output,
            settings.validate_every or max(settings.batch_size, settings.images // 20),
            lambda net: held_out.judge(NetworkPrecision(net, dtype)),
            on_progress,
        )
        made = TrainedClassifier(settings.output, trained.images, trained.best["images"], trained.seconds, 1.0, {})
        if first:
            made = _leave(settings, split, with_weights(network, trained.weights), trained, held_out, entry)
    return made


def _validation(settings: AnySettings, split: ImageSplit, device: torch.device, how: Mapping[str, Any]) -> Validation:
    held_out = split.side("validation")
    images, labels = side_tensors(held_out)
    seeds = tuple(derive_seed("skiagraph-validation", settings.seed, name) for name in held_out.names)
    return Validation(images.to(device), labels.to(device), seeds, **how)


def _leave(
    settings: AnySettings,
    split: ImageSplit,
    network: nn.Module,
    trained: Trained,
    held_out: Validation,
    entry: Mapping[str, Any],
) -> TrainedClassifier:
    """Fit the temperature, write classifier, record and page."""
    temperature, figures, rows = held_out.figures(network)
    record = describe_classifier(settings, split, entry, trained, temperature, figures, rows, held_out.edges)
    written = Classifier(network, record).save(settings.output)
    made = TrainedClassifier(
        settings.output, trained.images, trained.best["images"], trained.seconds, temperature, figures
    )
    seen = [float(entry["images"]) for entry in trained.history]
    losses = [float(entry["loss"]) for entry in trained.history]
    leave_training(
        settings.output,
        settings,
        {**made.record(), "weights_sha256": written.weights_sha256, "seed": settings.seed},
        title=f"Training of {settings.name}",
        summary=record.summary,
        highlights=(
            Highlight(f"{figures['validation_balanced_accuracy']:.3f}", "balanced accuracy", "validation, all bins"),
            Highlight(f"{figures['validation_ece']:.3f}", "calibration error", "after the temperature"),
            Highlight(f"{temperature:.2f}", "temperature"),
        ),
        warnings=warnings_of(settings, split),
        curves=(Curve("Validation", (Line(seen, losses, "cross-entropy"),), "images seen", "nats"),),
        tables=(_table(rows, held_out.edges),),
    )
    return made


def _table(rows: list[dict[str, float]], edges: list[int]) -> Table:
    names = list(rows[0])
    places = ["clean"] if len(rows) == 1 else [f"{low} to {high - 1}" for low, high in pairwise(edges)]
    cells: list[tuple[Cell, ...]] = [
        (place, *(row[name] for name in names)) for place, row in zip(places, rows, strict=True)
    ]
    heads = ("levels", *(name.replace("_", " ") for name in names))
    return Table("On the validation images", heads, tuple(cells), formats=("", *(".3f",) * len(names)))
