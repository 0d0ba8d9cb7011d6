"""How good classifiers are on the same test images, for any number of weightings of these images at once.

A weighting says how often an image counts: once each for the plain score, as often as it was drawn for a bootstrap
sample. Every score of every run is computed for all weightings, so that differences between runs are taken on the same
draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["SCORES", "Predictions", "class_recalls", "class_score", "mean_of_known", "score_runs", "sensitivities"]

BINS = 15

SCORES: dict[str, str] = {
    "balanced_accuracy": "higher",
    "macro_auroc": "higher",
    "quadratic_kappa": "higher",
    "ece": "lower",
    "brier": "lower",
}
"""Score -> which direction is better."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What R runs say of the same N images.

    Args:
        probabilities: (R, N, K), rows add up to 1.
        labels: (N,) positions of the true classes.
    """

    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]

    @classmethod
    def of(cls, probabilities: ArrayLike, labels: ArrayLike) -> Predictions:
        """Checked predictions; shapes that do not belong together, and rows that are no probabilities, are refused."""
        given, marks = np.asarray(probabilities, np.float64), np.asarray(labels)
        if given.ndim != 3 or given.shape[2] < 2 or given.shape[1] != len(marks) or min(given.shape) < 1:
            raise ValueError(
                f"probabilities, labels: found {given.shape} and {marks.shape}; allowed are (runs, images, classes) "
                "with 2 classes or more, and one label an image."
            )
        if not np.isfinite(given).all() or (given < -1e-6).any() or np.abs(given.sum(2) - 1).max() > 1e-3:
            raise ValueError("probabilities: found rows that are not >= 0 with sum 1.")
        if marks.dtype.kind not in "iu" or marks.min() < 0 or marks.max() >= given.shape[2]:
            raise ValueError(f"labels: found {marks.dtype} up to {marks.max()}; whole numbers below {given.shape[2]}.")
        return cls(given, marks.astype(np.int64))

    @property
    def classes(self) -> int:
        """K."""
        return int(self.probabilities.shape[2])

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(R, N) whether the most probable class is the true one; ties go to the first class."""
        found: NDArray[np.bool_] = self.probabilities.argmax(2) == self.labels
        return found


def score_runs(predictions: Predictions, weights: ArrayLike | None = None) -> dict[str, NDArray[np.float64]]:
    """Every score of `SCORES` for every run and weighting, (B, R).

    Balanced accuracy: mean recall over the classes that occur. Macro-AUROC: mean over classes of the area under the
    curve of that class against all others, ties counting half. Quadratic kappa: Cohen's, weighted by the squared
    distance of the classes' positions; it means something where their order does. ECE: sum over 15 equal bins of the
    largest probability of |share correct - mean probability| times the bin's share. Brier: mean over images of
    sum_k (p_k - [k = y])^2.
    Equal to scikit-learn's `balanced_accuracy_score`, `roc_auc_score` (one-vs-rest, macro) and `cohen_kappa_score`.

    Args:
        predictions: of R runs.
        weights: (B, N) how often each image counts, >= 0; None for once each, (1, N).
    """
    number = len(predictions.labels)
    given = np.ones((1, number)) if weights is None else np.asarray(weights, np.float64)
    if given.ndim != 2 or given.shape[1] != number or (given < 0).any() or (given.sum(1) <= 0).any():
        raise ValueError(f"weights: found shape {given.shape}; (B, {number}), >= 0, with a positive sum each.")
    return {
        "balanced_accuracy": np.nanmean(class_recalls(predictions, given), axis=2),
        "macro_auroc": _macro_auroc(predictions, given),
        "quadratic_kappa": _kappa(predictions, given),
        "ece": _calibration_error(predictions, given),
        "brier": given @ _brier(predictions).T / given.sum(1, keepdims=True),
    }


def _members(labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """(N, K) 1 where an image is of the class."""
    found: NDArray[np.float64] = (labels[:, None] == np.arange(classes)).astype(np.float64)
    return found


def class_recalls(predictions: Predictions, weights: ArrayLike | None = None) -> NDArray[np.float64]:
    """Recall (B, R, K) of every class; NaN where no image of it counts.

    Args:
        predictions: of R runs.
        weights: (B, N); None for once each.
    """
    given = np.ones((1, len(predictions.labels))) if weights is None else np.asarray(weights, np.float64)
    members = _members(predictions.labels, predictions.classes)
    hits = np.stack([(given * row) @ members for row in predictions.correct.astype(np.float64)], axis=1)
    totals = (given @ members)[:, None]
    found: NDArray[np.float64] = np.divide(hits, totals, out=np.full(hits.shape, np.nan), where=totals > 0)
    return found


def _brier(predictions: Predictions) -> NDArray[np.float64]:
    """(R, N) squared distance of each row to the truth."""
    gaps = predictions.probabilities - _members(predictions.labels, predictions.classes)
    found: NDArray[np.float64] = (gaps**2).sum(2)
    return found


def _macro_auroc(predictions: Predictions, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, R): for each class, the weight of negatives below each positive in one sorted pass, ties counting half."""
    runs = len(predictions.probabilities)
    areas = np.full((len(weights), runs, predictions.classes), np.nan)
    for label in range(predictions.classes):
        positive = predictions.labels == label
        totals = weights[:, positive].sum(1) * weights[:, ~positive].sum(1)
        for run in range(runs):
            scores = predictions.probabilities[run, :, label]
            order = np.argsort(scores, kind="stable")
            values, marked = scores[order], positive[order]
            drawn = weights[:, order]
            below = np.concatenate([np.zeros((len(drawn), 1)), np.cumsum(drawn * ~marked, axis=1)], axis=1)
            first, last = np.searchsorted(values, values, "left"), np.searchsorted(values, values, "right")
            wins = (drawn * marked * (below[:, first] + below[:, last]) / 2).sum(1)
            areas[:, run, label] = np.divide(wins, totals, out=np.full(len(wins), np.nan), where=totals > 0)
    return mean_of_known(areas)


def mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis of what is not NaN; NaN where nothing is known.

    Args:
        values: (..., K).
    """
    known = ~np.isnan(values)
    sums, counts = np.where(known, values, 0.0).sum(-1), known.sum(-1)
    found: NDArray[np.float64] = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return found


def sensitivities(
    predictions: Predictions, specificity: float = 0.95, weights: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Sensitivity (B, R, K) of every class against all others at a fixed specificity; NaN where one side is empty.

    Of all thresholds of the class's probability (an image is called positive at or above it) that leave at least this
    share of the other classes' images negative, the one that finds most of the class; none found is 0.

    Args:
        predictions: of R runs.
        specificity: in (0, 1).
        weights: (B, N); None for once each.
    """
    if not 0 < specificity < 1:
        raise ValueError(f"specificity: found {specificity}; allowed is a share between 0 and 1.")
    given = np.ones((1, len(predictions.labels))) if weights is None else np.asarray(weights, np.float64)
    runs = len(predictions.probabilities)
    found = np.full((len(given), runs, predictions.classes), np.nan)
    for label in range(predictions.classes):
        positive = predictions.labels == label
        hits, misses = given[:, positive].sum(1), given[:, ~positive].sum(1)
        for run in range(runs):
            scores = predictions.probabilities[run, :, label]
            order = np.argsort(-scores, kind="stable")
            last = np.searchsorted(-scores[order], -scores[order], "right") - 1  # ties are called alike
            called = np.cumsum(given[:, order] * positive[order], axis=1)[:, last]
            false = np.cumsum(given[:, order] * ~positive[order], axis=1)[:, last]
            most = np.where(false <= (1 - specificity + 1e-9) * misses[:, None], called, 0.0).max(1)
            known = (hits > 0) & (misses > 0)
            found[:, run, label] = np.divide(most, hits, out=np.full(len(hits), np.nan), where=known)
    return found


def _kappa(predictions: Predictions, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, R) 1 - sum w O / sum w E with w = (i - j)^2, O the table of true and predicted classes, E that of chance."""
    places = np.arange(predictions.classes)
    guesses = predictions.probabilities.argmax(2)
    members = _members(predictions.labels, predictions.classes)
    total, truth = weights.sum(1), weights @ members
    found = np.empty((len(weights), len(guesses)))
    for run, guess in enumerate(guesses):
        observed = weights @ ((guess - predictions.labels) ** 2).astype(np.float64)
        guessed = weights @ _members(guess, predictions.classes)
        expected = np.einsum("bi,bj,ij->b", truth, guessed, (places[:, None] - places) ** 2.0) / total
        found[:, run] = 1 - np.divide(observed, expected, out=np.zeros_like(observed), where=expected > 0)
    return found


def _calibration_error(predictions: Predictions, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, R) sum over bins of |weight correct - weight of probability| over all weight."""
    largest = predictions.probabilities.max(2)
    bins = np.clip(np.ceil(largest * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = predictions.correct - largest
    found = np.zeros((len(weights), len(largest)))
    for run in range(len(largest)):
        inside = _members(bins[run], BINS) * gaps[run][:, None]
        found[:, run] = np.abs(weights @ inside).sum(1) / weights.sum(1)
    return found


def class_score(probabilities: ArrayLike) -> float:
    """Analogue of the inception score: exp(mean KL(p(y|x) || mean p(y))), 1 to K, with a classifier that must be named.

    It rewards images that the classifier is sure of and classes that occur equally; it does not see whether an image is
    of the class it was meant to be, and is comparable only between sets judged by the same classifier.

    Args:
        probabilities: (N, K) of N images.
    """
    given: NDArray[Any] = np.asarray(probabilities, np.float64)
    if given.ndim != 2 or len(given) < 1:
        raise ValueError(f"probabilities: found shape {given.shape}; allowed is (images, classes).")
    marginal = given.mean(0)
    ratio = np.log(np.maximum(given, 1e-300)) - np.log(np.maximum(marginal, 1e-300))
    return float(np.exp((given * ratio).sum(1).mean()))
