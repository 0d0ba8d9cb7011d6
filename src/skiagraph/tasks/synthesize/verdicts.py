"""Whether an image is kept: what the independent judge sees in it, and how near real images are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skiagraph.data.labelled import LabelledImages
from skiagraph.evaluation import fit_features, nearest
from skiagraph.evaluation.features import Features
from skiagraph.tasks.synthesize.kit import Guide, Kit, ensemble
from skiagraph.tasks.synthesize.plan import Item
from skiagraph.tasks.synthesize.settings import FilterSettings

__all__ = ["Opinion", "RealImages", "ask", "verdict"]

SMALLEST = 16
HALF_A_LEVEL = 0.5 / 255


@dataclass(frozen=True, eq=False)
class Opinion:
    """What classifiers say of clean images.

    Args:
        probabilities: (B, K), calibrated; of an ensemble the mean.
        log_odds: (B,) of the intended label.
    """

    probabilities: NDArray[np.float64]
    log_odds: NDArray[np.float64]

    @property
    def entropy(self) -> NDArray[np.float64]:
        """(B,) nats."""
        p = np.clip(self.probabilities, 1e-300, 1)
        found: NDArray[np.float64] = -(p * np.log(p)).sum(1)
        return found

    def ranks(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B,) place of each image's label among the classes, 1 for the likeliest; ties count against it."""
        own = np.take_along_axis(self.probabilities, labels[:, None], 1)
        found: NDArray[np.int64] = (self.probabilities >= own).sum(1)
        return found


@torch.no_grad()
def ask(guides: Sequence[Guide], kit: Kit, images: Tensor, labels: Tensor) -> tuple[Opinion, Tensor]:
    """(opinion of one or several classifiers on clean images, their logits), at the cleanest level they know.

    Args:
        guides: at least one.
        kit: what is loaded.
        images: (B, C, H, W) in [-1, 1].
        labels: (B,) int64.
    """
    x = images.to(kit.device)
    logits = ensemble(guides)(x, x.new_zeros(len(x), dtype=torch.float64)).double()
    log_p = torch.log_softmax(logits, dim=-1)
    if log_p.dim() == 3:
        log_p = torch.logsumexp(log_p, dim=1) - np.log(log_p.shape[1])
    index = labels.to(log_p.device)[:, None]
    others = torch.logsumexp(log_p.scatter(1, index, -torch.inf), dim=1)
    odds = log_p.gather(1, index)[:, 0] - others
    return Opinion(log_p.exp().cpu().numpy(), odds.cpu().numpy()), logits


class RealImages:
    """The real images as a measure of what is too near and what is too far.

    Distances in pixels are root mean squares of the difference, black to white being 1. An image is a near-copy where
    it lies nearer to a real image than `copy_share` of the real images lie to another one (of another patient, where
    patients are known). It is an outlier where its features lie farther from the nearest real image of its class than
    `outlier_factor` times the 99th percentile of what real images of that class do among themselves.

    Args:
        real: the images.
        rules: thresholds and features.
    """

    def __init__(self, real: LabelledImages, rules: FilterSettings) -> None:
        self.real, self.rules = real, rules
        self.flat = _flat(real.images)
        self._groups = np.arange(len(real)) if real.patients is None else _numbered(real.patients)
        if len(np.unique(self._groups)) < 2:
            self._groups = np.arange(len(real))
        name = rules.features or ("random-conv-v1" if min(real.size) >= SMALLEST else "image-pca-64")
        self.features: Features = fit_features(name, real.images)
        found = self.features(real.images)
        self._mean, self._deviation = found.mean(0), found.std(0) + 1e-9
        self._standard = (found - self._mean) / self._deviation
        self.copy_distance = float(np.quantile(self._among_themselves(), rules.copy_share))
        self.outlier_distance = {label: self._limit(label) for label in range(len(real.classes))}

    def _among_themselves(self) -> NDArray[np.float64]:
        """Distance of each real image to the nearest other one, of another patient where patients are known."""
        from scipy.spatial.distance import cdist

        best = []
        for at in range(0, len(self.flat), 256):
            block = cdist(self.flat[at : at + 256], self.flat)
            block[self._groups[at : at + 256, None] == self._groups[None]] = np.inf
            best.append(block.min(1))
        distances: NDArray[np.float64] = np.concatenate(best)
        kept: NDArray[np.float64] = distances[np.isfinite(distances)]
        return kept

    def _limit(self, label: int) -> float:
        """Largest distance of a class; of a class with one image, or one patient, that of all classes together."""
        chosen = self.real.labels == label
        if len(np.unique(self._groups[chosen])) < 2:
            chosen = np.ones(len(self.real), dtype=bool)
        own, groups = self._standard[chosen], self._groups[chosen]
        distances = [nearest(own[groups == one], own[groups != one]).distances[:, 0] for one in np.unique(groups)]
        return self.rules.outlier_factor * float(np.quantile(np.concatenate(distances), 0.99))

    def nearest(self, images: NDArray[np.float32], items: Sequence[Item]) -> tuple[NDArray[Any], NDArray[Any]]:
        """(places, distances) of the nearest real image of each; those of its own source's patient are left out."""
        from scipy.spatial.distance import cdist

        block = cdist(_flat(images), self.flat)
        for row, item in enumerate(items):
            if item.source is not None:
                block[row, self._groups == self._groups[item.source]] = np.inf
        places = block.argmin(1)
        return places, block[np.arange(len(block)), places]

    def feature_distances(self, images: NDArray[np.float32], items: Sequence[Item]) -> NDArray[np.float64]:
        """(B,) distance of each image's standardised features to the nearest real image of its class."""
        from scipy.spatial.distance import cdist

        found = (self.features(images) - self._mean) / self._deviation
        distances = []
        for row, item in zip(found, items, strict=True):
            own = self.real.labels == item.label
            chosen = self._standard[own] if own.any() else self._standard
            distances.append(float(cdist(row[None], chosen).min()))
        return np.array(distances)

    def moved(self, images: NDArray[np.float32], before: NDArray[np.float32]) -> NDArray[np.float64]:
        """(B,) root mean square of the difference to the images before, black to white being 1."""
        found: NDArray[np.float64] = np.sqrt(((_flat(images) - _flat(before)) ** 2).sum(1))
        return found


def verdict(
    rules: FilterSettings,
    rank: int | None,
    classes: int,
    nearest_distance: float | None,
    copy_distance: float | None,
    feature_distance: float | None,
    outlier_distance: float | None,
    moved: float | None = None,
) -> str:
    """Why an image is rejected, in a word or two; "" where it is kept.

    Args:
        rules: what is asked of it.
        rank: of its label by the judge; None without a judge.
        classes: number of classes.
        nearest_distance, copy_distance: in pixels; None without real images.
        feature_distance, outlier_distance: on features; None without real images.
        moved: of a hardened real image, how far from its source; None otherwise.
    """
    allowed = rules.rank or (1 if classes == 2 else 2)
    if rank is not None and rank > allowed:
        return "label lost"
    if nearest_distance is not None and (nearest_distance == 0 or nearest_distance < (copy_distance or 0)):
        return "near-copy"
    if moved is not None and moved < HALF_A_LEVEL:
        return "unchanged"
    if feature_distance is not None and outlier_distance is not None and feature_distance > outlier_distance:
        return "outlier"
    return ""


def _flat(images: NDArray[np.float32]) -> NDArray[np.float64]:
    rows: NDArray[np.float64] = images.reshape(len(images), -1).astype(np.float64)
    rows /= 2 * float(np.sqrt(rows.shape[1]))
    return rows


def _numbered(names: Sequence[str]) -> NDArray[np.int64]:
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([places[name] for name in names])
