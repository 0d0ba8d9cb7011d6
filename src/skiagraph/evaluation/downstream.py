"""Do additional training images help classifiers? Scores of many trainings with intervals, and paired differences.

Every arm (a way to train) has one run for each network and seed, all judged on the same test images. Draws are paired:
one bootstrap sample takes the same test images, the same networks and the same seeds for every arm, so what the arms
share cancels in their difference.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skiagraph.evaluation.classification import (
    SCORES,
    Predictions,
    class_recalls,
    mean_of_known,
    score_runs,
    sensitivities,
)

__all__ = ["ArmScores", "Draws", "Estimate", "draw_study", "score_arm"]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % percentile interval over draws.

    Args:
        value: from all images and runs.
        low: 2.5th percentile of the draws.
        high: 97.5th percentile.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, eq=False)
class Draws:
    """How often everything counts in each bootstrap sample; row 0 is the plain sample, everything once.

    Args:
        images: (B + 1, N) test images.
        runs: (B + 1, R) runs, rows adding up to 1.
    """

    images: NDArray[np.float64]
    runs: NDArray[np.float64]

    def within(self, inside: ArrayLike) -> Draws:
        """The same draws of some of the images; samples in which none of them was drawn are left out.

        Args:
            inside: (N,) bool.
        """
        part = self.images[:, np.asarray(inside, bool)]
        drawn = part.sum(1) > 0
        return Draws(part[drawn], self.runs[drawn])


def draw_study(
    labels: ArrayLike,
    runs: Sequence[tuple[Hashable, Hashable]],
    *,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Draws:
    """Bootstrap over test images (or whole groups of them) and, crossed with it, over networks and seeds.

    A run counts as often as its network was drawn times as often as its seed was. Images that belong together (slices
    of one patient or slab) must be given as groups, or intervals are too narrow.

    Args:
        labels: (N,) true classes.
        runs: (network, seed) of every run, each pair once.
        groups: N labels; images of one group are drawn together. None: every image is its own group.
        resamples: B >= 100.
        seed: of the draws.
    """
    number = len(np.asarray(labels))
    if resamples < 100:
        raise ValueError(f"resamples: found {resamples}; at least 100 are needed.")
    if not runs or len(set(runs)) < len(runs):
        raise ValueError("runs: found none, or a network and seed twice; give each pair once.")
    if groups is not None and len(groups) != number:
        raise ValueError(f"groups: found {len(groups)} for {number} images; one an image is needed.")
    generator = np.random.default_rng(seed)
    images = _drawn(list(range(number) if groups is None else groups), resamples, generator)
    networks, seeds = (_drawn([run[axis] for run in runs], resamples, generator) for axis in (0, 1))
    counted = networks * seeds
    empty = counted.sum(1) == 0  # incomplete designs may draw pairs that were not run
    counted[empty] = 1.0
    return Draws(images, counted / counted.sum(1, keepdims=True))


def _drawn(groups: Sequence[Hashable], resamples: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """(B + 1, N) how often each member counts when whole groups are drawn; row 0 once each."""
    position: dict[Hashable, int] = {}
    index = np.array([position.setdefault(group, len(position)) for group in groups])
    total = len(position)
    counts = generator.multinomial(total, np.full(total, 1 / total), resamples)
    return np.concatenate([np.ones((1, len(index))), counts[:, index]]).astype(np.float64)


@dataclass(frozen=True, eq=False)
class ArmScores:
    """Scores of one arm on all draws.

    Args:
        scores: name -> (B + 1, R) score of each run on each draw of images: those of `SCORES`, and `sensitivity`, the
            mean over classes of the sensitivity at a fixed specificity.
        recalls: (R, K) recall of each class on all images.
        sensitivities: (R, K) sensitivity of each class at that specificity on all images.
        draws: what was drawn.
    """

    scores: Mapping[str, NDArray[np.float64]]
    recalls: NDArray[np.float64]
    sensitivities: NDArray[np.float64]
    draws: Draws

    def _mean(self, score: str) -> NDArray[np.float64]:
        """(B + 1,) mean over the drawn runs."""
        found: NDArray[np.float64] = (self.scores[score] * self.draws.runs).sum(1)
        return found

    def estimate(self, score: str) -> Estimate:
        """Mean over runs of a score, with its interval."""
        return _estimate(self._mean(score))

    def difference(self, other: ArmScores, score: str) -> Estimate:
        """Mean over runs of this arm minus another, on the same draws."""
        if self.draws is not other.draws:
            raise ValueError("other: scored on other draws; score both arms with one Draws.")
        return _estimate(self._mean(score) - other._mean(score))


def _estimate(values: NDArray[np.float64]) -> Estimate:
    if np.isnan(values[1:]).all():
        return Estimate(float(values[0]), float("nan"), float("nan"))
    low, high = np.nanquantile(values[1:], [0.025, 0.975])
    return Estimate(float(values[0]), float(low), float(high))


def score_arm(probabilities: ArrayLike, labels: ArrayLike, draws: Draws, *, specificity: float = 0.95) -> ArmScores:
    """Score the runs of one arm on all draws.

    Args:
        probabilities: (R, N, K), runs in the order of the draws.
        labels: (N,).
        draws: what `draw_study` made.
        specificity: at which sensitivities are taken.
    """
    predictions = Predictions.of(probabilities, labels)
    if draws.images.shape[1] != len(predictions.labels) or draws.runs.shape[1] != len(predictions.probabilities):
        raise ValueError(
            f"draws: of {draws.images.shape[1]} images and {draws.runs.shape[1]} runs; found "
            f"{len(predictions.labels)} and {len(predictions.probabilities)}."
        )
    scores = score_runs(predictions, draws.images)
    found = sensitivities(predictions, specificity, draws.images)
    kept = {**{name: scores[name] for name in SCORES}, "sensitivity": mean_of_known(found)}
    return ArmScores(kept, class_recalls(predictions)[0], found[0], draws)
