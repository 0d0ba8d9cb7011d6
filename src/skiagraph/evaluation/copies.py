"""Does a model repeat its training images? Distances to the nearest of them, beside those of images it never saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skiagraph.evaluation.distribution import two_sets
from skiagraph.evaluation.neighbours import Neighbours, nearest

__all__ = ["CopyAudit", "audit_copies", "share_interval"]


@dataclass(frozen=True, eq=False)
class CopyAudit:
    """Generated images against the training set, judged by what real images do that were not trained on.

    Args:
        generated: nearest training image of each generated one.
        baseline: (b,) distances of the baseline's images to their nearest training image.
        baseline_kind: "held-out", or "training" for training images among themselves.
        threshold: distance below which a generated image counts as a near-copy: the `share` quantile of the baseline.
        share: share of the baseline below the threshold, the rate to expect of a model that copies nothing.
        near_copies: places of the generated images below the threshold, nearest first.
        rate: their share of all generated images.
        interval: 95 % interval of the rate (Wilson).
        closer: probability that a generated image lies nearer to the training set than an image of the baseline; 0.5
            where neither is nearer, towards 1 for a model that repeats.
        p_value: one-sided probability of so large a value by chance (Mann and Whitney), images taken as independent.
    """

    generated: Neighbours
    baseline: NDArray[np.float64]
    baseline_kind: str
    threshold: float
    share: float
    near_copies: NDArray[np.intp]
    rate: float
    interval: tuple[float, float]
    closer: float
    p_value: float

    @property
    def distances(self) -> NDArray[np.float64]:
        """(n,) distance of each generated image to its nearest training image."""
        return self.generated.distances[:, 0]

    @property
    def ratios(self) -> NDArray[np.float64]:
        """(n,) distance to the nearest over the mean to all neighbours looked at; small for the copy of one image."""
        mean = self.generated.distances.mean(axis=1)
        found: NDArray[np.float64] = np.divide(self.distances, mean, out=np.zeros_like(mean), where=mean > 0)
        return found

    def record(self) -> dict[str, object]:
        """Figures as names and values, without those of single images."""
        quantiles = {
            name: [float(value) for value in np.quantile(values, [0, 0.01, 0.5, 1])]
            for name, values in (("generated", self.distances), ("baseline", self.baseline))
        }
        return {
            "baseline": self.baseline_kind,
            "baseline_images": len(self.baseline),
            "distance_min_1_percent_median_max": quantiles,
            "threshold": self.threshold,
            "expected_rate": self.share,
            "near_copies": len(self.near_copies),
            "near_copy_rate": self.rate,
            "near_copy_rate_95_percent": list(self.interval),
            "probability_closer_than_baseline": self.closer,
            "p_value": self.p_value,
        }


def audit_copies(
    generated: ArrayLike,
    training: ArrayLike,
    held_out: ArrayLike | None = None,
    *,
    share: float = 0.01,
    neighbours: int = 5,
) -> CopyAudit:
    """Look for training images among generated ones, by Euclidean distance in pixels or features.

    The baseline must be of the same kind as the training images (other cases of the same source), or it says little: a
    model that has learned the source well without copying is nearer to it than images of another source.

    Args:
        generated: (n, d), flattened images or features.
        training: (m, d), m > neighbours.
        held_out: (b, d) real images that were not trained on; None takes the training images among themselves, each
            compared with all others.
        share: share of the baseline that may count as near-copies, in (0, 1).
        neighbours: training images kept for each generated one, >= 1.
    """
    from scipy.stats import mannwhitneyu

    drawn, known = two_sets(generated, training, ("generated", "training"), least=1)
    if not 0 < share < 1:
        raise ValueError(f"share: found {share}; it must be in (0, 1), e.g. 0.01.")
    if held_out is None:
        baseline = nearest(known, known, same_set=True).distances[:, 0]
    else:
        baseline = nearest(two_sets(held_out, known, ("held_out", "training"), 1)[0], known).distances[:, 0]
    found = nearest(drawn, known, min(neighbours, len(known)))
    distances = found.distances[:, 0]
    threshold = float(np.quantile(baseline, share))
    below = np.flatnonzero((distances < threshold) | (distances == 0))
    test = mannwhitneyu(distances, baseline, alternative="less")
    return CopyAudit(
        found,
        baseline,
        "training" if held_out is None else "held-out",
        threshold,
        share,
        below[np.argsort(distances[below], kind="stable")],
        len(below) / len(distances),
        share_interval(len(below), len(distances)),
        float(1 - test.statistic / (len(distances) * len(baseline))),
        float(test.pvalue),
    )


def share_interval(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share by Wilson's score: sensible for 0 and for all.

    Args:
        count: cases that have it, 0 to total.
        total: cases, >= 1.
        level: in (0, 1).
    """
    from scipy.special import ndtri

    if not (0 <= count <= total and total >= 1 and 0 < level < 1):
        raise ValueError(f"count, total, level: found {count}, {total}, {level}; 0 <= count <= total, 0 < level < 1.")
    z = float(ndtri(0.5 + level / 2))
    share = count / total
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * float(np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2)))
    return max(0.0, middle - half), min(1.0, middle + half)
