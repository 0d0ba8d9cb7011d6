"""The arms of a study: which images a training sees, how often, and how they are changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.errors import InputError
from skiagraph.tasks.downstream.sets import StudySets
from skiagraph.tasks.downstream.settings import Augmentation, DownstreamSettings

__all__ = [
    "Arm",
    "Cell",
    "TrainingSet",
    "cells",
    "main_arms",
    "number_of",
    "require_enough",
    "sweep_arms",
    "training_set",
]


@dataclass(frozen=True, order=True)
class Arm:
    """One way to train.

    Args:
        name: "real", a control, or a synthetic set.
        ratio: added images for each real one; 0 for none.
    """

    name: str
    ratio: float = 0.0

    @property
    def title(self) -> str:
        """How it stands in tables."""
        if self.name in TITLES:
            return TITLES[self.name] + (f" x {self.ratio:g}" if self.ratio else "")
        return f"real + {self.name} x {self.ratio:g}"


TITLES = {
    "real": "real",
    "augmented": "real, strong classical augmentation",
    "reweighted": "real, classes re-weighted",
    "chosen": "real + chosen real",
}


@dataclass(frozen=True, order=True)
class Cell:
    """One training: an arm, a network and a seed."""

    seed: int
    network: str
    arm: Arm


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """What one training sees.

    Args:
        images: (N, C, H, W) float32.
        labels: (N,).
        weights: (N,) how often an image is drawn, relative to the others; None for equally often.
        augmentation: how images are changed.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    weights: NDArray[np.float64] | None
    augmentation: Augmentation


def main_arms(settings: DownstreamSettings) -> tuple[Arm, ...]:
    """The arms of the main table, at the one ratio."""
    added = (*settings.synthetic, *(["chosen"] if "chosen" in settings.controls else []))
    plain = [Arm(name) for name in settings.controls if name != "chosen"]
    return (Arm("real"), *(Arm(name, settings.ratio) for name in added), *plain)


def sweep_arms(settings: DownstreamSettings) -> tuple[Arm, ...]:
    """The arms of the further ratios, `real` and the main ratio among them; none without a sweep."""
    if not settings.sweep.ratios:
        return ()
    names = settings.sweep.arms or list(settings.synthetic)
    ratios = sorted({settings.ratio, *settings.sweep.ratios})
    return (Arm("real"), *(Arm(name, ratio) for name in names for ratio in ratios))


def cells(settings: DownstreamSettings) -> Iterator[Cell]:
    """All trainings, each once, so that what is done at any time is a study with fewer seeds or networks."""
    seen: set[Cell] = set()
    for seed in range(max(settings.seeds, settings.sweep.seeds if settings.sweep.ratios else 0)):
        for network in dict.fromkeys((*settings.networks, *settings.sweep.networks)):
            for arm in (*main_arms(settings), *sweep_arms(settings)):
                cell = Cell(seed, network, arm)
                if cell not in seen and (_in_main(cell, settings) or _in_sweep(cell, settings)):
                    seen.add(cell)
                    yield cell


def _in_main(cell: Cell, settings: DownstreamSettings) -> bool:
    return cell.seed < settings.seeds and cell.network in settings.networks and cell.arm in main_arms(settings)


def _in_sweep(cell: Cell, settings: DownstreamSettings) -> bool:
    sweep = settings.sweep
    return cell.seed < sweep.seeds and cell.network in sweep.networks and cell.arm in sweep_arms(settings)


def number_of(*words: Any) -> int:
    """A seed from words: the same for the same words, unrelated for others."""
    return int.from_bytes(hashlib.sha256(json.dumps(words).encode()).digest()[:7], "big")


def require_enough(sets: StudySets, settings: DownstreamSettings) -> None:
    """Refuse ratios that a synthetic set is too small for, before anything is trained.

    Args:
        sets: all images.
        settings: of the study.
    """
    for arm in (*main_arms(settings), *sweep_arms(settings)):
        wanted, pool = max(1, round(arm.ratio * len(sets.real))), sets.synthetic.get(arm.name)
        if pool is not None and wanted > len(pool):
            raise InputError(
                f"synthetic.{arm.name}: holds {len(pool)} images, but ratio {arm.ratio:g} of {len(sets.real)} real "
                f"images needs {wanted}; synthesize more, or lower the ratio"
            )


def training_set(
    arm: Arm, seed: int, sets: StudySets, settings: DownstreamSettings, uncertain: NDArray[np.intp] | None
) -> TrainingSet:
    """The images of one training.

    Args:
        arm: the arm.
        seed: of the draw from a synthetic set that is larger than needed.
        sets: all images.
        settings: of the study.
        uncertain: places of the real images that the arm `chosen` repeats, most uncertain first.
    """
    real, level = sets.real, settings.training.augmentation
    if arm.name == "real":
        return TrainingSet(real.images, real.labels, None, level)
    if arm.name == "augmented":
        return TrainingSet(real.images, real.labels, None, "strong")
    if arm.name == "reweighted":
        counts = np.bincount(real.labels, minlength=len(real.classes))
        return TrainingSet(real.images, real.labels, 1.0 / counts[real.labels], level)
    wanted = max(1, round(arm.ratio * len(real)))
    if arm.name == "chosen":
        if uncertain is None:
            raise ValueError("uncertain: the arm `chosen` needs the places of the most uncertain real images.")
        repeats = np.resize(uncertain, wanted)
        images = np.concatenate([real.images, real.images[repeats]])
        return TrainingSet(images, np.concatenate([real.labels, real.labels[repeats]]), None, level)
    pool = sets.synthetic[arm.name]
    places = np.sort(np.random.default_rng(number_of(settings.seed, seed, "draw")).permutation(len(pool))[:wanted])
    images = np.concatenate([real.images, pool.images[places]])
    return TrainingSet(images, np.concatenate([real.labels, pool.labels[places]]), None, level)
