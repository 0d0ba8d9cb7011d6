"""Learning to classify, with or without noise: the objective, and what a classifier is worth at each level of noise.

NoisyClassification(schedule, times="original", augment=None), CleanClassification(augment=None)   objectives
noised_logits(network, images, schedule, times, edges, seeds) -> (bins, N, K);  clean_logits(network, images)
fit_temperature(logits, labels) -> float;  scores(logits, labels, temperature) -> {...}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from skiagraph.diffusion.objective import LogNormalTimes, ObjectiveResult, UniformTimes
from skiagraph.diffusion.schedule import DiscreteTable, perturb
from skiagraph.diffusion.streams import Streams
from skiagraph.training.classifier_record import TimeConvention

__all__ = [
    "Augment",
    "CleanClassification",
    "NoisyClassification",
    "clean_logits",
    "fit_temperature",
    "noised_logits",
    "scores",
]

Augment = Callable[[Tensor, Any], Tensor]
"""(images (B, C, H, W), streams) -> images; every draw from the streams."""

ECE_BINS = 15
BATCH = 128


def told_time(schedule: DiscreteTable, t: Tensor, times: TimeConvention) -> Tensor:
    """What a network is told at level t of a table: its original index, or the position itself."""
    return (schedule.original_index(t) if times == "original" else t).to(torch.float32)


@dataclass(frozen=True)
class NoisyClassification:
    """Cross-entropy of labels given x_t, t uniform over the levels of a table, or as `draw` says.

    Differs from the released code in that the time told in training is the one told in sampling: "original" both times,
    unless the spaced index is asked for, which the classifier's folder then says.

    Args:
        schedule: table of the levels, whole or respaced.
        times: "original" index or "spaced_index".
        augment: changes the clean images, before the noise.
        draw: of the levels; taken to the nearest position in the table.
    """

    schedule: DiscreteTable
    times: TimeConvention = "original"
    augment: Augment | None = None
    draw: UniformTimes | LogNormalTimes = field(default_factory=UniformTimes)

    def __call__(self, network: Any, batch: Mapping[str, Tensor], streams: Any) -> ObjectiveResult:
        """Loss of each image of {"image": (B, C, H, W), "label": (B,)}; draws the augmentation, a time, then noise."""
        x0 = batch["image"] if self.augment is None else self.augment(batch["image"], streams)
        t = self.draw(self.schedule, streams).round().clamp(0, len(self.schedule) - 1).to(x0.device)
        state = perturb(self.schedule, x0, t, streams.normal_like(x0))
        logits = network(state, told_time(self.schedule, t, self.times).to(x0.device))
        return _result(logits, batch["label"], self.schedule.log_snr(t))


@dataclass(frozen=True)
class CleanClassification:
    """Cross-entropy of labels given clean images.

    Args:
        takes_time: whether the network is an encoder that wants a time, which is then 0.
        augment: changes the images.
    """

    takes_time: bool
    augment: Augment | None = None

    def __call__(self, network: Any, batch: Mapping[str, Tensor], streams: Any) -> ObjectiveResult:
        """Loss of each image of {"image": (B, C, H, W), "label": (B,)}."""
        x = batch["image"] if self.augment is None else self.augment(batch["image"], streams)
        logits = network(x, x.new_zeros(len(x))) if self.takes_time else network(x)
        return _result(logits, batch["label"], torch.full((len(x),), math.nan, dtype=torch.float64))


def _result(logits: Tensor, labels: Tensor, level: Tensor) -> ObjectiveResult:
    loss = functional.cross_entropy(logits.float(), labels, reduction="none")
    return ObjectiveResult(loss, level, {"accuracy": (logits.argmax(1) == labels).double()})


@torch.no_grad()
def noised_logits(
    network: nn.Module,
    images: Tensor,
    schedule: DiscreteTable,
    times: TimeConvention,
    edges: Sequence[int],
    seeds: Sequence[int],
) -> Tensor:
    """Logits (bins, N, K) of every image at one level of each bin, its level and noise a function of its seed.

    Args:
        network: in evaluation mode.
        images: (N, C, H, W) clean.
        schedule: table of the levels.
        times: what the network is told.
        edges: positions in the table, increasing from 0 to its length; neighbours bound a bin.
        seeds: one an image.
    """
    rows = []
    for number, (low, high) in enumerate(pairwise(edges)):
        parts = []
        for start in range(0, len(images), BATCH):
            x0 = images[start : start + BATCH]
            streams = Streams(seeds[start : start + BATCH], x0.device).fork(f"validation bin {number}")
            t = streams.integers(low, high).to(x0.device).double()
            state = perturb(schedule, x0, t, streams.normal_like(x0))
            parts.append(network(state, told_time(schedule, t, times).to(x0.device)).float())
        rows.append(torch.cat(parts))
    return torch.stack(rows)


@torch.no_grad()
def clean_logits(network: nn.Module, images: Tensor, takes_time: bool) -> Tensor:
    """Logits (N, K) of clean images, in evaluation mode."""
    parts = []
    for start in range(0, len(images), BATCH):
        x = images[start : start + BATCH]
        parts.append((network(x, x.new_zeros(len(x))) if takes_time else network(x)).float())
    return torch.cat(parts)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T in [0.05, 20] with the least cross-entropy of logits / T on unseen images (Guo et al. 2017, 1706.04599).

    Where every image is classified rightly the cross-entropy falls without end as T falls, and says nothing: T is 1.

    Args:
        logits: (N, K).
        labels: (N,).
    """
    from scipy.optimize import minimize_scalar

    values, marks = logits.double(), labels
    if bool((values.argmax(1) == marks).all()):
        return 1.0

    def loss(log_temperature: float) -> float:
        return float(functional.cross_entropy(values / math.exp(log_temperature), marks))

    bounds = (math.log(0.05), math.log(20.0))
    return math.exp(float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4}).x))


def scores(logits: Tensor, labels: Tensor, temperature: float = 1.0) -> dict[str, float]:
    """Cross-entropy (nats), accuracy, balanced accuracy and expected calibration error of logits / T.

    The calibration error is the mean over 15 equal bins of confidence, weighted by their share of the images, of
    |accuracy - confidence|. The balanced accuracy is the mean recall of the classes that occur.

    Args:
        logits: (N, K).
        labels: (N,).
        temperature: T > 0.
    """
    scaled = logits.double() / temperature
    confidence, guess = scaled.softmax(1).max(1)
    right = (guess == labels).double()
    recalls = [float(right[labels == label].mean()) for label in sorted(set(labels.tolist()))]
    place = (confidence * ECE_BINS).floor().clamp(max=ECE_BINS - 1).long()
    gaps = torch.zeros(ECE_BINS, dtype=torch.float64, device=right.device).index_add(0, place, right - confidence)
    return {
        "cross_entropy": float(functional.cross_entropy(scaled, labels)),
        "accuracy": float(right.mean()),
        "balanced_accuracy": sum(recalls) / len(recalls),
        "ece": float(gaps.abs().sum() / len(labels)),
    }
