"""The tool that knows one modality: fluid, grey and white matter of a T1-weighted brain, for the test of purpose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from skiagraph.errors import InputError
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.translate.small_network import (
    SliceNetwork,
    SmallTraining,
    load_slice_network,
    save_slice_network,
    train_slice_network,
    training_record,
)

__all__ = ["TISSUE_NAMES", "TissueSegmenter", "train_segmenter"]

TISSUE_NAMES = ("csf", "grey", "white")


@dataclass(frozen=True, eq=False)
class TissueSegmenter:
    """Labels 0 (background) to 3 of T1-weighted slices.

    Args:
        network: with four outputs.
    """

    network: SliceNetwork

    def __call__(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, 1, H, W) in [-1, 1] to labels (N, 1, H, W) int64; within a mask every pixel gets a tissue."""
        with torch.no_grad():
            logits = torch.cat([self.network(part) for part in torch.split(images, 24)])
        if mask is None:
            return logits.argmax(1, keepdim=True)
        return torch.where(mask, logits[:, 1:].argmax(1, keepdim=True) + 1, 0)

    @classmethod
    def load(cls, folder: Path) -> TissueSegmenter:
        """From a folder that `train_segmenter` wrote."""
        return cls(load_slice_network(folder))


def _cross_entropy(found: Tensor, shares: Tensor) -> Tensor:
    """Against the tissues' shares, rescaled from [-1, 1]; what they leave is background."""
    wanted = ((shares + 1) / 2).clamp(0, 1)
    rest = (1 - wanted.sum(1, keepdim=True)).clamp(0, 1)
    return functional.cross_entropy(found, torch.cat([rest, wanted], 1))


def train_segmenter(
    images: Tensor,
    labels: Tensor,
    folder: Path | None = None,
    training: SmallTraining | None = None,
    on_progress: OnProgress = silent,
) -> TissueSegmenter:
    """Learn tissues from slices of T1-weighted brains without skull.

    Args:
        images: (M, 1, H, W) in [-1, 1], background -1.
        labels: (M, 1, H, W) whole numbers 0 to 3.
        folder: where the network is kept.
        training: how it learns.
        on_progress: told about the steps.
    """
    if labels.shape != images.shape or int(labels.min()) < 0 or int(labels.max()) > len(TISSUE_NAMES):
        raise InputError(
            f"labels: found {tuple(labels.shape)} from {int(labels.min())} to {int(labels.max())}; allowed are 0 to "
            f"{len(TISSUE_NAMES)} in the images' shape, {tuple(images.shape)}."
        )
    shares = torch.cat([(labels == number).float() for number in range(1, len(TISSUE_NAMES) + 1)], 1)
    how = SmallTraining() if training is None else training
    network = train_slice_network(images, 2 * shares - 1, 1 + len(TISSUE_NAMES), _cross_entropy, how, on_progress)
    if folder is not None:
        save_slice_network(network, folder, {"kind": "tissues", "names": TISSUE_NAMES, **training_record(how)})
    return TissueSegmenter(network)
