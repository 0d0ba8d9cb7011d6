"""What a set of masks samples: inclusion probabilities, effective acceleration, uncovered coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Coverage", "coverage", "effective_acceleration", "uncovered"]

_MOST_PAIRS = 4096


@dataclass(frozen=True)
class Coverage:
    """How often coordinates are sampled, alone and together.

    Args:
        inclusion: (n,) float64, p_i, share of the masks that sample coordinate i.
        pairs: (n, n) float64, p_ij, share of the masks that sample i and j; its diagonal is p_i. None if not asked for.
        acceleration: n over the mean number of sampled coordinates.
        missed: number of coordinates that no mask samples.
    """

    inclusion: Tensor
    pairs: Tensor | None
    acceleration: float
    missed: int


def coverage(masks: Tensor, pairs: bool = True) -> Coverage:
    """Estimate p_i and p_ij from many masks of one family.

    Pairs that are never sampled together (p_ij = 0) cannot be learnt; small p_ij is where masked sampling is
    under-dispersed (measurement-score, section 9.1).

    Args:
        masks: (N, ..., n coordinates in any shape) of 0 and 1, one mask per entry of axis 0; for sets of masks flatten
            the first two axes.
        pairs: compute p_ij too; at most 4096 coordinates.
    """
    if masks.ndim < 2 or masks.shape[0] < 1:
        raise ValueError(f"masks: found shape {tuple(masks.shape)}; allowed is (N >= 1, ...), one mask per row.")
    flat = masks.flatten(1).double()
    if pairs and flat.shape[1] > _MOST_PAIRS:
        raise ValueError(
            f"pairs: found {flat.shape[1]} coordinates; at most {_MOST_PAIRS} fit into a matrix of pairs. "
            "Pass pairs=False, or masks of a smaller image."
        )
    inclusion = flat.mean(0)
    together = flat.T @ flat / flat.shape[0] if pairs else None
    kept = float(inclusion.sum())
    acceleration = flat.shape[1] / kept if kept > 0 else float("inf")
    return Coverage(inclusion, together, acceleration, int((inclusion == 0).sum()))


def effective_acceleration(masks: Tensor) -> Tensor:
    """(B,) float64: coordinates over sampled coordinates of each mask (B, ...); infinite for an empty mask.

    The nominal acceleration R of a family with a fully sampled centre is larger: at R = 4 with 20 of 256 columns in the
    centre it is 3.2 on average.
    """
    flat = masks.flatten(1)
    return flat.shape[1] / flat.sum(1, dtype=torch.float64)


def uncovered(sets: Tensor) -> Tensor:
    """(B,) int64: number of coordinates that no mask of a set (B, count, ...) samples; 0 for a covering set."""
    return (sets.amax(1) == 0).flatten(1).sum(1)
