"""Training in rounds: after each the averaged weights are judged on unseen images, and the best ones are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from skiagraph.data.files import write_whole
from skiagraph.tasks.progress import OnProgress
from skiagraph.training import IndexedData, Objective, TrainingSettings, train
from skiagraph.training.checkpoint import load_tensors, save_tensors
from skiagraph.training.ema import named_state
from skiagraph.training.processes import barrier, process_rank

__all__ = ["BEST_NAME", "HISTORY_NAME", "Trained", "train_in_rounds", "with_weights"]

HISTORY_NAME, BEST_NAME = "validation.jsonl", "best.safetensors"


@dataclass(frozen=True)
class Trained:
    """What a run in rounds hands back.

    Args:
        weights: the best averaged weights by name.
        history: one entry a round: {"images", "loss", ...}, the best one has the least loss.
        images: images seen.
        seconds: seconds of training.
    """

    weights: dict[str, Tensor]
    history: tuple[dict[str, Any], ...]
    images: int
    seconds: float

    @property
    def best(self) -> dict[str, Any]:
        """The round whose weights were kept."""
        return min(self.history, key=lambda entry: float(entry["loss"]))


def train_in_rounds(
    network: nn.Module,
    objective: Objective,
    data: IndexedData,
    settings: TrainingSettings,
    folder: Path,
    every: int,
    judge: Callable[[nn.Module], Mapping[str, Any]],
    on_progress: OnProgress,
) -> Trained:
    """Train, or continue the run in `folder`, and judge every `every` images; a kill at any moment changes nothing.

    Args:
        network: trained in place.
        objective, data, settings, folder: as for `skiagraph.training.train`.
        every: images between two judgements.
        judge: from the network with averaged weights, in evaluation mode, to names and values; "loss" decides.
        on_progress: told about images.
    """
    history = _history(folder / HISTORY_NAME)
    ends = [*range(every, settings.images, every), settings.images]
    seconds, seen = 0.0, 0
    for number, end in enumerate(ends):
        if number < min(len(history), len(ends) - 1):
            continue
        trained = train(
            network,
            objective,
            data,
            replace(settings, images=end),
            folder,
            on_progress=lambda now: on_progress("images", now.images, settings.images),
        )
        seconds, seen = trained.seconds, trained.images
        if number >= len(history) and process_rank() == 0:
            average = trained.averages["exponential"]
            history.append({"images": seen, **judge(with_weights(network, average))})
            _keep(folder, history, average)
        barrier()
        history = _history(folder / HISTORY_NAME)  # what the first process wrote, for all of them
    weights = load_tensors(folder / BEST_NAME)[0] if process_rank() == 0 else {}
    return Trained(weights, tuple(history), seen, seconds)


def _keep(folder: Path, history: list[dict[str, Any]], weights: Mapping[str, Tensor]) -> None:
    """Write the history, and before it the weights of its last round where they are the best."""
    *earlier, last = history
    if all(last["loss"] < entry["loss"] for entry in earlier):
        save_tensors(folder / BEST_NAME, weights, {"images": last["images"]})
    write_whole(folder / HISTORY_NAME, "".join(json.dumps(entry) + "\n" for entry in history).encode())


def _history(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def with_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of a network with other weights, in evaluation mode and without gradients."""
    from copy import deepcopy

    other = deepcopy(network)
    with torch.no_grad():
        for name, value in named_state(other).items():
            value.copy_(weights[name])
    return other.eval().requires_grad_(False)
