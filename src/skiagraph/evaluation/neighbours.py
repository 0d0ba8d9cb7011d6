"""Nearest neighbours of images or features: precision, recall, density and coverage of a set of generated images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skiagraph.evaluation.distribution import two_sets

__all__ = ["NeighbourScores", "Neighbours", "expected_coverage", "nearest", "neighbour_scores"]

BLOCK = 20_000_000


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest members of a reference set.

    Args:
        distances: (n, k) Euclidean distances, nearest first.
        indices: (n, k) places in the reference set.
    """

    distances: NDArray[np.float64]
    indices: NDArray[np.intp]


def nearest(queries: ArrayLike, reference: ArrayLike, k: int = 1, *, same_set: bool = False) -> Neighbours:
    """The k members of `reference` nearest to each query; exact, no index structure, bounded memory.

    Args:
        queries: (n, d).
        reference: (m, d).
        k: from 1 to m, or to m - 1 for the same set.
        same_set: the queries are the reference itself, and none may be its own neighbour (equal others may be).
    """
    from scipy.spatial.distance import cdist

    one, other = two_sets(queries, reference, ("queries", "reference"), least=1)
    if same_set and one.shape != other.shape:
        raise ValueError(f"same_set: found {len(one)} queries for {len(other)} images; they must be the same.")
    if not 1 <= k <= len(other) - int(same_set):
        raise ValueError(f"k: found {k}; allowed is 1 to {len(other) - int(same_set)} for {len(other)} images.")
    rows = max(1, BLOCK // len(other))
    distances, indices = [], []
    for at in range(0, len(one), rows):
        block = cdist(one[at : at + rows], other)
        if same_set:
            block[np.arange(len(block)), at + np.arange(len(block))] = np.inf
        order = np.argsort(block, axis=1, kind="stable")[:, :k]
        indices.append(order)
        distances.append(np.take_along_axis(block, order, axis=1))
    return Neighbours(np.concatenate(distances), np.concatenate(indices))


@dataclass(frozen=True)
class NeighbourScores:
    """How two sets cover each other, by balls that reach to the k-th neighbour of each image in its own set.

    Args:
        precision: share of generated images inside the ball of some real image: they look real.
        recall: share of real images inside the ball of some generated image: what is real can be drawn.
        density: how many real balls a generated image lies in, over k; 1 for equal distributions, may exceed 1.
        coverage: share of real images whose ball holds a generated image.
        expected_coverage: coverage that as many images of the real distribution would have, on average.
        k: the neighbour.
        generated: number of generated images.
        real: number of real images.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    expected_coverage: float
    k: int
    generated: int
    real: int


def neighbour_scores(generated: ArrayLike, real: ArrayLike, k: int = 5) -> NeighbourScores:
    """Precision, recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020) with k neighbours.

    Precision and recall depend on the sizes of the sets and on outliers among the real images; density and coverage
    are their steadier forms. Compare sets of equal number only.

    Args:
        generated: (n, d) features, n > k.
        real: (m, d) features of the same kind, m > k.
        k: neighbour that bounds a ball, >= 1; itself is not counted.
    """
    one, other = two_sets(generated, real)
    if not 1 <= k < min(len(one), len(other)):
        raise ValueError(f"k: found {k}; allowed is 1 to {min(len(one), len(other)) - 1}, below the size of both sets.")
    real_reach = nearest(other, other, k, same_set=True).distances[:, -1]
    drawn_reach = nearest(one, one, k, same_set=True).distances[:, -1]
    held, covered, reached = _inside(one, other, real_reach, drawn_reach)
    return NeighbourScores(
        precision=float((held > 0).mean()),
        recall=float(reached.mean()),
        density=float(held.mean() / k),
        coverage=float(covered.mean()),
        expected_coverage=expected_coverage(len(one), len(other), k),
        k=k,
        generated=len(one),
        real=len(other),
    )


def _inside(
    drawn: NDArray[np.float64],
    real: NDArray[np.float64],
    real_reach: NDArray[np.float64],
    drawn_reach: NDArray[np.float64],
) -> tuple[NDArray[np.int_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Real balls around each drawn image; real images whose ball is hit; real images inside a drawn ball."""
    from scipy.spatial.distance import cdist

    rows = max(1, BLOCK // len(real))
    held, covered, reached = [], np.zeros(len(real), bool), np.zeros(len(real), bool)
    for at in range(0, len(drawn), rows):
        block = cdist(drawn[at : at + rows], real)
        within = block <= real_reach
        held.append(within.sum(axis=1))
        covered |= within.any(axis=0)
        reached |= (block <= drawn_reach[at : at + rows, None]).any(axis=0)
    return np.concatenate(held), covered, reached


def expected_coverage(generated: int, real: int, k: int) -> float:
    """Mean coverage when both sets come from one distribution, 1 - prod_{i=1..k} (m - i) / (n + m - i).

    The i nearest of the n + m - 1 other images of a real one must all be real for its ball to stay empty (Naeem et al.
    2020, lemma 2).

    Args:
        generated: n.
        real: m, > k.
        k: the neighbour.
    """
    steps = np.arange(1, k + 1)
    return float(1 - np.prod((real - steps) / (generated + real - steps)))
