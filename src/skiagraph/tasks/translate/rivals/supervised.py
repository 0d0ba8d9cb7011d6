"""The upper bound: a network that learned source to target from paired scans of other heads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from skiagraph.diffusion.streams import Streams
from skiagraph.errors import InputError
from skiagraph.tasks.translate.method import SourceStack, Tools, Translation
from skiagraph.tasks.translate.small_network import (
    SliceNetwork,
    SmallTraining,
    load_slice_network,
    save_slice_network,
    train_slice_network,
    training_record,
)

__all__ = ["Regression", "supervised"]


@dataclass(frozen=True, eq=False)
class Regression:
    """The network's output on every slice, background -1.

    Args:
        network: from `train_slice_network` with one output.
    """

    network: SliceNetwork

    def __call__(self, source: SourceStack, streams: Streams) -> Translation:
        """Deterministic; draws nothing."""
        with torch.no_grad():
            parts = [self.network(part) for part in torch.split(source.images, 24)]
        result = torch.where(source.mask, torch.cat(parts).clamp(-1, 1), -1.0)
        return Translation(result, 0, notes=("needs paired training data",))


def _absolute(found: Tensor, wanted: Tensor) -> Tensor:
    return (found - wanted).abs().mean()


def supervised(tools: Tools, folder: Path | None = None, training: SmallTraining | None = None) -> Regression:
    """Trained on `tools.paired` with the mean absolute error, or loaded where `folder` holds it already.

    Args:
        tools: with paired slices.
        folder: where the network is kept; None keeps it nowhere.
        training: how it learns.
    """
    if folder is not None and (folder / "network.json").exists():
        return Regression(load_slice_network(folder))
    if tools.paired is None:
        raise InputError("paired: found none; the supervised upper bound learns from paired training slices.")
    how = SmallTraining() if training is None else training
    network = train_slice_network(*tools.paired, 1, _absolute, how)
    if folder is not None:
        save_slice_network(network, folder, {"kind": "regression", **training_record(how)})
    return Regression(network)
