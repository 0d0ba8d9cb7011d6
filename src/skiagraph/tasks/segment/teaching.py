"""Where the targets of a segmenter come from, and one round of training on them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skiagraph.data.labelled import LabelledImages
from skiagraph.diffusion import Streams
from skiagraph.diffusion.objective import ObjectiveResult
from skiagraph.errors import DataError
from skiagraph.tasks.progress import OnProgress
from skiagraph.tasks.segment.labelled_prior import LabelledPrior
from skiagraph.tasks.segment.maps import difference_map
from skiagraph.tasks.segment.pseudo_labels import IGNORED, Targets, band_of, banded_loss, targets_of
from skiagraph.tasks.segment.segmenter import Segmenter, build_segmenter
from skiagraph.tasks.segment.stacks import stacked, stacks_of
from skiagraph.tasks.segment.train_segmenter import SegmenterSettings
from skiagraph.tasks.segment.windows import foreground_of
from skiagraph.tasks.synthesize.learn.runs import loop_settings
from skiagraph.training import TrainingResult, train
from skiagraph.training.order import derive_seed

__all__ = ["TaughtItems", "mask_targets", "prior_targets", "refined_targets", "taught"]

BATCH = 16


def mask_targets(
    settings: SegmenterSettings, images: LabelledImages, present: NDArray[np.bool_], on_progress: OnProgress
) -> Targets:
    """Targets from masks: PNG files named as the images, white where a lesion is."""
    from PIL import Image

    folder, labels = settings.masks, np.zeros((len(images), *images.size), dtype=np.int8)
    if folder is None:
        raise DataError("masks: none were given")
    for number, name in enumerate(images.names):
        file = folder / Path(name).name
        if not file.is_file():
            raise DataError(f"{file} does not exist; every image needs a mask of its name, also those without lesion")
        with Image.open(file) as picture:
            mask = np.asarray(picture.convert("L")) > 127
        if mask.shape != images.size:
            raise DataError(f"{file} has {mask.shape} pixels, its image {images.size}; they must be equal")
        labels[number] = mask
    on_progress("reading masks", len(images), len(images))
    return Targets(labels, np.ones(labels.shape, dtype=np.float32))


def prior_targets(
    settings: SegmenterSettings, images: LabelledImages, present: NDArray[np.bool_], on_progress: OnProgress
) -> Targets:
    """Targets from the prior's maps: each image's own label against "absent"; normal ones shared out among labels."""
    if settings.prior is None:
        raise DataError("prior: none was given")
    maps = np.zeros((len(images), *images.size), dtype=np.float32)
    foreground = foreground_of(images.images)
    targets = Targets(np.zeros(maps.shape, dtype=np.int8), np.ones(maps.shape, dtype=np.float32))
    normal = np.flatnonzero(~present)
    names = [name for name in images.classes if name != settings.absent]
    for number, name in enumerate(names):
        prior = LabelledPrior.load(settings.prior, present=name, absent=settings.absent)
        own = np.flatnonzero(images.labels == images.classes.index(name))
        shared = normal[number :: len(names)]
        both = np.concatenate([own, shared])
        maps[both] = _maps(settings, prior, images, both, on_progress)
        band = band_of(maps[shared], foreground[shared], settings.low, settings.high)
        found = targets_of(maps[own], present[own], foreground[own], band)
        targets.labels[own], targets.weights[own] = found.labels, found.weights
    if not (targets.labels == 1).any():
        raise DataError("maps: no pixel is above the band of the normal images; lower `high`, or look at the prior")
    return targets


def _maps(
    settings: SegmenterSettings,
    prior: LabelledPrior,
    images: LabelledImages,
    places: NDArray[np.int64],
    on_progress: OnProgress,
) -> NDArray[np.float32]:
    rows = []
    for start in range(0, len(places), BATCH):
        chosen = places[start : start + BATCH]
        seeds = [derive_seed("segmenter-maps", settings.seed, images.names[place]) for place in chosen]
        found = difference_map(prior, torch.from_numpy(images.images[chosen]), settings.maps, Streams(seeds))
        rows.append(found.maps[:, 0].numpy())
        on_progress(f"maps of {prior.present}", start + len(chosen), len(places))
    return np.concatenate(rows)


def refined_targets(
    segmenter: Segmenter, images: LabelledImages, present: NDArray[np.bool_], confident: float
) -> Targets:
    """Targets from a network's own predictions: confident pixels of lesion images; normal images stay normal."""
    chance = _predicted(segmenter, images)
    labels = np.full(chance.shape, IGNORED, dtype=np.int8)
    labels[chance >= confident], labels[chance <= 1 - confident] = 1, 0
    weights = (2 * np.abs(chance - 0.5)).astype(np.float32)
    labels[~present], weights[~present] = 0, 1
    weights[labels == IGNORED] = 0
    return Targets(labels, weights)


def _predicted(segmenter: Segmenter, images: LabelledImages) -> NDArray[np.float32]:
    """(N, H, W) probabilities; a network in 3 dimensions sees the slices of a volume together."""
    places: Sequence[Any] = [slice(start, start + BATCH) for start in range(0, len(images), BATCH)]
    if segmenter.record.dimensions == 3:
        rows = stacks_of(images.names, BATCH)
        places = [row[row >= 0] for row in rows]
    chance = np.zeros((len(images), *images.size), dtype=np.float32)
    for place in places:
        chance[place] = segmenter(torch.from_numpy(images.images[place])).numpy()
    return chance


@dataclass(frozen=True, eq=False)
class TaughtItems:
    """Images with their targets as training items.

    Args:
        images: (N, 1, H, W), or stacks (N, 1, D, H, W).
        labels, weights: the same without the channel.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        """Images and targets at `indices` (B,)."""
        return {"image": self.images[indices], "labels": self.labels[indices], "weights": self.weights[indices]}


def _objective(network: Any, batch: Mapping[str, Tensor], streams: Any) -> ObjectiveResult:
    """`banded_loss` of images mirrored half of the time."""
    flips = (streams.uniform() < 0.5).to(batch["image"].device)
    flips = flips.reshape(-1, *[1] * (batch["labels"].dim() - 1))
    image = torch.where(flips[:, None], batch["image"].flip(-1), batch["image"])
    labels = torch.where(flips, batch["labels"].flip(-1), batch["labels"])
    weights = torch.where(flips, batch["weights"].flip(-1), batch["weights"])
    loss = banded_loss(network(image)[:, 0], labels, weights)
    return ObjectiveResult(loss, torch.full((len(image),), math.nan, dtype=torch.float64))


def _items(settings: SegmenterSettings, images: LabelledImages, targets: Targets) -> TaughtItems:
    """Images, or stacks of neighbouring slices in which a missing slice is air and is ignored."""
    pixels, labels, weights = images.images, targets.labels, targets.weights
    if settings.dimensions == 3:
        stacks = stacks_of(images.names, settings.depth)
        pixels = np.moveaxis(stacked(pixels, stacks, -1.0), 1, 2)
        labels, weights = stacked(labels, stacks, IGNORED), stacked(weights, stacks, 0.0)
    return TaughtItems(*(torch.from_numpy(np.ascontiguousarray(values)) for values in (pixels, labels, weights)))


def taught(
    settings: SegmenterSettings, images: LabelledImages, targets: Targets, folder: Path, on_progress: OnProgress
) -> TrainingResult:
    """One round: a fresh network, or the run in `folder` continued.

    Args:
        settings: length, rate, widths.
        images: of the training side.
        targets: one an image.
        folder: of the round.
        on_progress: told the images seen.
    """
    items = _items(settings, images, targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network: nn.Module = build_segmenter(tuple(settings.widths), settings.dimensions)
    return train(
        network,
        _objective,
        items,
        loop_settings(settings),
        folder,
        on_progress=lambda now: on_progress(folder.name, now.images, now.total),
    )
