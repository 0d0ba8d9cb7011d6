"""One training of one classifier: a function of the images, the network's name and a seed, and of nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from skiagraph.errors import DataError
from skiagraph.tasks.downstream.arms import TrainingSet
from skiagraph.tasks.downstream.augment import augmented
from skiagraph.tasks.downstream.networks import build_classifier, logits_of
from skiagraph.tasks.downstream.settings import TrainingRules

__all__ = ["Trained", "batches", "predict", "train_classifier"]


@dataclass(frozen=True, eq=False)
class Trained:
    """A network and how its training went.

    Args:
        network: in evaluation mode.
        loss: mean cross-entropy of the last tenth of the steps.
        seconds: by the processor's clock.
    """

    network: nn.Module
    loss: float
    seconds: float


def batches(
    number: int, weights: NDArray[np.float64] | None, steps: int, batch: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Indices (batch,) of every step: one permutation after the other, or draws by weight.

    Args:
        number: of images.
        weights: (number,) relative frequency; None for permutations.
        steps: how many batches.
        batch: images each; no batch is ever shorter.
        generator: of the order.
    """
    if weights is not None:
        shares = torch.from_numpy(weights)
        for _ in range(steps):
            yield torch.multinomial(shares, batch, replacement=True, generator=generator)
        return
    left = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        while len(left) < batch:
            left = torch.cat([left, torch.randperm(number, generator=generator)])
        yield left[:batch]
        left = left[batch:]


def train_classifier(name: str, given: TrainingSet, classes: int, rules: TrainingRules, seed: int) -> Trained:
    """Train a network by AdamW with a one-cycle schedule; the same seed gives the same network on the same machine.

    Args:
        name: of the network.
        given: images, labels, weights, augmentation.
        classes: K.
        rules: steps, batch, rates.
        seed: of weights, order, augmentation and dropout.
    """
    images = torch.from_numpy(given.images)
    labels = functional.one_hot(torch.from_numpy(given.labels), classes).float()
    channels, size = images.shape[1], (int(images.shape[2]), int(images.shape[3]))
    network = build_classifier(name, channels, classes, size, seed)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), rules.learning_rate, weight_decay=rules.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rules.learning_rate, total_steps=rules.steps + 1)
    generator, losses = torch.Generator().manual_seed(seed), []
    started = time.process_time()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for index in batches(len(images), given.weights, rules.steps, rules.batch, generator):
            x, y = augmented(images[index], labels[index], given.augmentation, generator, flips=rules.flips)
            with torch.autocast("cpu", torch.bfloat16, enabled=rules.precision == "bfloat16"):
                logits = logits_of(network, x.contiguous(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits, y)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
    if not np.isfinite(losses).all():
        raise DataError(f"{name}, seed {seed}: the loss is not finite; lower training.learning_rate")
    last = float(np.mean(losses[-max(1, len(losses) // 10) :]))
    return Trained(network.eval(), last, time.process_time() - started)


def predict(network: nn.Module, images: NDArray[np.float32], batch: int = 256) -> NDArray[np.float32]:
    """Logits (N, K) float32 of images (N, C, H, W).

    Args:
        network: in evaluation mode.
        images: in [-1, 1].
        batch: images at once.
    """
    found = []
    with torch.no_grad():
        for at in range(0, len(images), batch):
            part = torch.from_numpy(images[at : at + batch]).contiguous(memory_format=torch.channels_last)
            found.append(logits_of(network, part))
    logits: NDArray[np.float32] = torch.cat(found).numpy()
    return logits
