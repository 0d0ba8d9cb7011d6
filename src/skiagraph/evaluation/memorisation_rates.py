"""The figures of a memorisation audit: nearest images under changes, rates with intervals, membership, duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.evaluation.copies import share_interval
from skiagraph.evaluation.memorisation_spaces import Space, Variant

__all__ = [
    "Duplicates",
    "Matches",
    "MemorisationRules",
    "Rate",
    "count_duplicates",
    "membership",
    "near_copy_rate",
    "nearest_variants",
]

ROWS = 256


@dataclass(frozen=True)
class MemorisationRules:
    """What counts as a near-copy or a copy, and how much of it a set may hold.

    Args:
        share: a synthetic image is a near-copy when it lies nearer to a training image than this share of the unseen
            real images does; in (0, 1). A model that copies nothing has about this rate.
        copy_fraction: it is a copy when it lies nearer than this fraction of that distance; in [0, 1).
        maximum_rate: the audit fails where the near-copy rate lies above this, even at the lower end of its 95 %
            interval (Wilson).
        maximum_copies: the audit fails where the set holds more copies, found in pixels or by SSIM.
        neighbours: training images kept for each synthetic one, >= 1.
        resamples: bootstrap samples, >= 100.
        seed: of the bootstrap.
    """

    share: float = 0.01
    copy_fraction: float = 0.5
    maximum_rate: float = 0.05
    maximum_copies: int = 0
    neighbours: int = 5
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share: found {self.share}; it must be in (0, 1), e.g. 0.01.")
        if not 0 <= self.copy_fraction < 1:
            raise ValueError(f"copy_fraction: found {self.copy_fraction}; it must be in [0, 1), e.g. 0.5.")
        if not self.share <= self.maximum_rate <= 1:
            raise ValueError(f"maximum_rate: found {self.maximum_rate}; it must be from share ({self.share}) to 1.")
        if self.maximum_copies < 0 or self.neighbours < 1 or self.resamples < 100:
            raise ValueError("maximum_copies, neighbours, resamples: at least 0, 1 and 100 are allowed.")


@dataclass(frozen=True, eq=False)
class Matches:
    """The nearest reference images of each query, under the variant that brings it nearest.

    Args:
        distances: (n, k), nearest first.
        indices: (n, k) places in the reference set.
        variants: (n,) number of the variant of the nearest.
        reverse: (m,) distance of each reference image to its nearest query.
    """

    distances: NDArray[np.float64]
    indices: NDArray[np.intp]
    variants: NDArray[np.intp]
    reverse: NDArray[np.float64]


def nearest_variants(
    space: Space,
    queries: NDArray[Any],
    reference: NDArray[Any],
    variants: Sequence[Variant],
    k: int = 1,
    *,
    same_set: bool = False,
) -> Matches:
    """The k reference images nearest to each query, over all variants of the query; exact, in blocks.

    Args:
        space: where distances are taken.
        queries: (n, C, H, W).
        reference: (m, C, H, W).
        variants: changes of the queries, the first usually none.
        k: 1 to m (m - 1 for the same set).
        same_set: the queries are the reference; none is its own neighbour.
    """
    if not 1 <= k <= len(reference) - int(same_set):
        raise ValueError(f"k: found {k}; allowed is 1 to {len(reference) - int(same_set)} for {len(reference)} images.")
    known = space.rows(reference)
    parts, reverse = [], np.full(len(reference), np.inf)
    for at in range(0, len(queries), ROWS):
        block = queries[at : at + ROWS]
        best, which = np.full((len(block), len(reference)), np.inf), np.zeros((len(block), len(reference)), np.intp)
        for number, variant in enumerate(variants):
            found = space.distances(space.rows(np.ascontiguousarray(variant.apply(block))), known)
            nearer = found < best
            best[nearer], which[nearer] = found[nearer], number
        if same_set:
            best[np.arange(len(block)), at + np.arange(len(block))] = np.inf
        order = np.argsort(best, axis=1, kind="stable")[:, :k]
        parts.append((np.take_along_axis(best, order, 1), order, which[np.arange(len(block)), order[:, 0]]))
        reverse = np.minimum(reverse, best.min(axis=0))
    distances, indices, numbers = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Matches(distances, indices, numbers, reverse)


@dataclass(frozen=True)
class Rate:
    """A share of images with three 95 % intervals.

    Args:
        count: images that count.
        total: all images.
        wilson: Wilson's score interval.
        exact: Clopper and Pearson's.
        bootstrap: percentiles over draws of the synthetic and of the unseen images, whose threshold moves with them.
    """

    count: int
    total: int
    wilson: tuple[float, float]
    exact: tuple[float, float]
    bootstrap: tuple[float, float]

    @property
    def value(self) -> float:
        """count / total."""
        return self.count / self.total

    def record(self, name: str) -> dict[str, Any]:
        """The share and its intervals under `name`."""
        return {
            name: self.value,
            f"{name}_95_percent_wilson": list(self.wilson),
            f"{name}_95_percent_exact": list(self.exact),
            f"{name}_95_percent_bootstrap": list(self.bootstrap),
        }


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Synthetic images that repeat each other.

    Args:
        threshold: distance below which two are duplicates: the `share` quantile of the distance of training images to
            their nearest other (as many of them as there are synthetic images, where there are enough).
        rate: share of synthetic images with a duplicate.
        groups: sizes of the groups of duplicates, largest first.
        pairs: (p, 2) nearest pairs, nearest first; at most 20.
    """

    threshold: float
    rate: Rate
    groups: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]


def _rate(marked: NDArray[np.bool_], bootstrap: NDArray[np.float64]) -> Rate:
    from scipy.stats import binomtest

    count, total = int(marked.sum()), len(marked)
    exact = binomtest(count, total).proportion_ci(0.95, method="exact")
    low, high = np.quantile(bootstrap, [0.025, 0.975])
    return Rate(count, total, share_interval(count, total), (exact.low, exact.high), (float(low), float(high)))


def near_copy_rate(distances: NDArray[np.float64], beside: NDArray[np.float64], rules: MemorisationRules) -> Rate:
    """Share of synthetic images nearer than the `share` quantile of the unseen ones, or at no distance at all.

    The bootstrap draws both sets, so that an uncertain threshold widens its interval.

    Args:
        distances: (n,) of synthetic images to their nearest training image.
        beside: (b,) of unseen real images to theirs.
        rules: what counts.
    """
    generator, ordered = np.random.default_rng(rules.seed), np.sort(distances)
    drawn = np.empty(rules.resamples)
    for number in range(rules.resamples):
        threshold = np.quantile(generator.choice(beside, len(beside)), rules.share)
        share = np.searchsorted(ordered, threshold) / len(ordered)
        drawn[number] = generator.binomial(len(ordered), share) / len(ordered)
    return _rate((distances < np.quantile(beside, rules.share)) | (distances == 0), drawn)


def membership(
    members: NDArray[np.float64], others: NDArray[np.float64], rules: MemorisationRules
) -> tuple[float, float, float]:
    """How well the distance to the synthetic set tells training from unseen images: area under the curve, interval.

    Args:
        members: (m,) distances of training images to their nearest synthetic image.
        others: (b,) those of unseen images.
        rules: resamples and seed of the bootstrap.
    """
    wins = (members[:, None] < others).astype(np.float32) + 0.5 * (members[:, None] == others)
    generator = np.random.default_rng(rules.seed)
    drawn = np.empty(rules.resamples)
    for number in range(rules.resamples):
        rows = np.bincount(generator.integers(0, len(members), len(members)), minlength=len(members))
        columns = np.bincount(generator.integers(0, len(others), len(others)), minlength=len(others))
        drawn[number] = rows @ wins @ columns / (len(members) * len(others))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(wins.mean()), float(low), float(high)


def count_duplicates(
    space: Space,
    synthetic: NDArray[Any],
    training: NDArray[Any],
    variants: Sequence[Variant],
    rules: MemorisationRules,
) -> Duplicates:
    """Repetitions among synthetic images, against what real images do among themselves at the same number.

    Args:
        space: where distances are taken.
        synthetic: (n, C, H, W).
        training: (m, C, H, W); n of them, or all, are the measure.
        variants: changes of an image behind which a repetition may hide.
        rules: what counts.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    generator = np.random.default_rng(rules.seed)
    few = training[np.sort(generator.permutation(len(training))[: max(2, len(synthetic))])]
    real = nearest_variants(space, few, few, variants, same_set=True).distances[:, 0]
    threshold = float(np.quantile(real, rules.share))
    found = nearest_variants(space, synthetic, synthetic, variants, same_set=True)
    distances, partner = found.distances[:, 0], found.indices[:, 0]
    marked = (distances < threshold) | (distances == 0)
    drawn = generator.binomial(len(marked), marked.mean(), rules.resamples) / len(marked)
    links = np.flatnonzero(marked)
    graph = coo_array((np.ones(len(links)), (links, partner[links])), shape=(len(marked), len(marked)))
    _, groups = connected_components(graph, directed=False)
    sizes = np.sort(np.bincount(groups))[::-1]
    order = links[np.argsort(distances[links], kind="stable")]
    pairs = dict.fromkeys((min(int(i), int(partner[i])), max(int(i), int(partner[i]))) for i in order)
    return Duplicates(
        threshold, _rate(marked, drawn), tuple(int(size) for size in sizes if size > 1), tuple(pairs)[:20]
    )
