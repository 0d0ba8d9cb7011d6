"""All figures of a comparison of sets of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.errors import DataError, InputError
from skiagraph.evaluation.copies import CopyAudit, audit_copies
from skiagraph.evaluation.distribution import FeatureScale, KernelDistance, frechet_distance, kernel_distance
from skiagraph.evaluation.features import Features, fit_features
from skiagraph.evaluation.neighbours import NeighbourScores, neighbour_scores
from skiagraph.tasks.distribution.encoder import MiddleFeatures
from skiagraph.tasks.distribution.sets import ImageSets
from skiagraph.tasks.distribution.settings import DistributionSettings
from skiagraph.tasks.progress import OnProgress, silent

__all__ = ["Audit", "Compared", "SetFigures", "compare_sets"]

PIXELS = "pixels"


@dataclass(frozen=True)
class SetFigures:
    """One set against the training images, on one kind of features.

    Args:
        features: name of the features.
        of: "generated" or "held-out".
        frechet: Frechet distance.
        kernel: kernel distance.
        scores: precision, recall, density, coverage, with the numbers of images.
    """

    features: str
    of: str
    frechet: float
    kernel: KernelDistance
    scores: NeighbourScores

    @property
    def images(self) -> str:
        """Numbers of images, as they stand beside every figure."""
        return f"{self.scores.generated} / {self.scores.real}"

    def record(self) -> dict[str, Any]:
        """Figures under names that carry the features."""
        kernel, scores, name = self.kernel, self.scores, self.features
        return {
            "set": self.of,
            "features": name,
            "images": scores.generated,
            "training_images": scores.real,
            f"FD-{name}": self.frechet,
            f"KD-{name}": kernel.value,
            f"KD-{name}_subsets": {
                "mean": kernel.subset_mean,
                "standard_deviation": kernel.subset_deviation,
                "subsets": kernel.subsets,
                "subset_size": kernel.subset_size,
            },
            **{key: getattr(scores, key) for key in ("precision", "recall", "density", "coverage")},
            "expected_coverage": scores.expected_coverage,
            "neighbours": scores.k,
        }


@dataclass(frozen=True)
class Audit:
    """Distances to the nearest training image in `space` ("pixels" or the name of features)."""

    space: str
    found: CopyAudit


@dataclass(frozen=True)
class Compared:
    """Everything that was found.

    Args:
        rows: figures, generated images first, for each kind of features.
        audits: distances to training images; the first is in pixels against the best baseline there is.
        features: records of the features, with the scale that they were brought to.
    """

    rows: tuple[SetFigures, ...]
    audits: tuple[Audit, ...]
    features: tuple[dict[str, Any], ...]


def compare_sets(sets: ImageSets, settings: DistributionSettings, on_progress: OnProgress = silent) -> Compared:
    """Compute features, distances, neighbours and nearest training images.

    Args:
        sets: the images.
        settings: features and numbers.
        on_progress: told about every kind of features.
    """
    smallest = min(len(part) for part in (sets.generated, sets.training, sets.held_out) if part is not None)
    if settings.neighbours >= smallest:
        raise InputError(f"neighbours: found {settings.neighbours}, but a set holds {smallest} images; give fewer")
    if settings.subset_size is not None and settings.subset_size > smallest:
        raise InputError(f"subset_size: found {settings.subset_size}, but a set holds {smallest} images; give fewer")
    rows, audits, records = [], _audits(PIXELS, _flat(sets), settings), []
    total = len(settings.features) + (settings.encoder is not None)
    for done, features in enumerate(_features(sets, settings)):
        on_progress("features", done, total)
        values, scale = _scaled(features, sets)
        records.append({**features.record(), "divided_by": scale, "fitted_to": "the training images"})
        rows += [_figures(features.name, of, part, values[1], settings) for of, part in _judged(values)]
        if done == 0:
            audits += _audits(features.name, values, settings)
    on_progress("features", total, total)
    return Compared(tuple(rows), tuple(audits), tuple(records))


Values = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]


def _flat(sets: ImageSets) -> Values:
    held_out = None if sets.held_out is None else sets.held_out.flat()
    return sets.generated.flat(), sets.training.flat(), held_out


def _features(sets: ImageSets, settings: DistributionSettings) -> Sequence[Features]:
    try:
        found: list[Features] = [fit_features(name, sets.training.images) for name in settings.features]
    except ValueError as error:
        raise DataError(f"training: {error}") from error
    return found if settings.encoder is None else [*found, MiddleFeatures.load(settings.encoder)]


def _scaled(features: Features, sets: ImageSets) -> tuple[Values, float]:
    """Features of all sets on the training images' scale."""
    try:
        training = features(sets.training.images)
        scale = FeatureScale.of(training)
        generated = scale(features(sets.generated.images))
        held_out = None if sets.held_out is None else scale(features(sets.held_out.images))
    except ValueError as error:
        raise DataError(f"{features.name}: {error}") from error
    return (generated, scale(training), held_out), scale.scale


def _judged(values: Values) -> list[tuple[str, NDArray[np.float64]]]:
    return [("generated", values[0]), *([("held-out", values[2])] if values[2] is not None else [])]


def _figures(
    name: str, of: str, part: NDArray[np.float64], training: NDArray[np.float64], settings: DistributionSettings
) -> SetFigures:
    kernel = kernel_distance(
        part, training, subsets=settings.subsets, subset_size=settings.subset_size, seed=settings.seed
    )
    scores = neighbour_scores(part, training, settings.neighbours)
    return SetFigures(name, of, frechet_distance(part, training), kernel, scores)


def _audits(space: str, values: Values, settings: DistributionSettings) -> list[Audit]:
    """Against held-out images where there are some, and against the training images among themselves."""
    generated, training, held_out = values
    baselines = [held_out, None] if held_out is not None else [None]
    return [
        Audit(
            space,
            audit_copies(
                generated, training, baseline, share=settings.copy_share, neighbours=min(5, len(training) - 1)
            ),
        )
        for baseline in baselines
    ]
