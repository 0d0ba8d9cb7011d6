"""What mask families need: a source of random draws per sample, and random subsets made from it."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["CoveringFamily", "Draws", "MaskFamily", "covering_bernoulli", "covering_subsets", "random_subsets"]


class Draws(Protocol):
    """Random numbers with one independent stream per sample; B is the number of streams."""

    def __len__(self) -> int:
        """B."""
        ...

    def uniform(self, *shape: int) -> Tensor:
        """(B, *shape) real, uniform in [0, 1)."""
        ...

    def integers(self, low: int, high: int) -> Tensor:
        """(B,) int64, uniform in low ... high - 1."""
        ...

    def permutation(self, n: int) -> Tensor:
        """(B, n) int64, a random order of 0 ... n - 1."""
        ...


class MaskFamily(Protocol):
    """A distribution of sampling masks."""

    def draw(self, draws: Draws) -> Tensor:
        """(B, 1, H or 1, W) float32 of 0 and 1, one mask per stream."""
        ...


class CoveringFamily(MaskFamily, Protocol):
    """A family that can draw several masks at once which together sample everything."""

    def covering(self, draws: Draws, count: int | None = None) -> Tensor:
        """(B, count, 1, H or 1, W) float32: every mask with the family's own law, their maximum 1 everywhere.

        Args:
            draws: source of randomness.
            count: number of masks; None for the smallest number that covers.
        """
        ...


def random_subsets(draws: Draws, items: int, keep: int) -> Tensor:
    """(B, items) boolean with exactly `keep` random items on."""
    order = draws.permutation(items)
    chosen = torch.zeros(order.shape, dtype=torch.bool, device=order.device)
    return chosen.scatter_(1, order[:, :keep], True)


def covering_subsets(draws: Draws, items: int, keep: int, count: int) -> Tensor:
    """Random subsets of equal size that cover all items, each uniform over the subsets of its size.

    A random order is cut into consecutive groups of `keep`; groups that come out short, or empty, are filled up with
    random items from outside themselves.

    Args:
        draws: source of randomness.
        items: number of items, >= 0.
        keep: size of each subset, 0 ... items.
        count: number of subsets, with count keep >= items.

    Returns:
        (B, count, items) boolean.
    """
    if count * keep < items:
        raise ValueError(
            f"count: found {count} subsets of {keep}, which cannot cover {items} items; "
            f"allowed >= {needed(items, keep)}."
        )
    order = draws.permutation(items)
    group = torch.empty_like(order).scatter_(
        1, order, torch.arange(items, device=order.device).expand_as(order) // max(keep, 1)
    )
    own = group.unsqueeze(1) == torch.arange(count, device=order.device)[:, None]
    rank = torch.where(own, -1.0, draws.uniform(count, items))
    chosen = rank.argsort(-1)[..., :keep]
    return torch.zeros_like(own).scatter_(-1, chosen, True)


def needed(items: int, keep: int) -> int:
    """Smallest number of subsets of size `keep` that cover `items` items."""
    if items > 0 and keep < 1:
        raise ValueError(f"keep: found {keep} of {items} items; masks that keep nothing cannot cover.")
    return max(1, math.ceil(items / max(keep, 1)))


def covering_bernoulli(draws: Draws, probability: Tensor, count: int) -> Tensor:
    """Random masks that cover, in each of which item j is on with probability p_j, independently of other items.

    Item j draws one phase u_j and is on in mask i when (u_j + i p_j) mod 1 < p_j: these intervals tile the circle once
    i reaches 1 / p_j.

    Args:
        draws: source of randomness.
        probability: (...) inclusion probabilities in (0, 1].
        count: number of masks, >= 1 / min p.

    Returns:
        (B, count, ...) boolean.
    """
    least = math.ceil(round(1 / float(probability.min()), 9)) if float(probability.min()) > 0 else None
    if least is None or count < least:
        raise ValueError(
            f"count: found {count}, which cannot cover; allowed >= {least}, the inverse of the least probability."
        )
    phase = draws.uniform(*probability.shape).double().unsqueeze(1)
    chance = probability.double().to(phase.device)
    step = torch.arange(count, device=phase.device).reshape(1, -1, *[1] * probability.ndim)
    whole = chance > 1 - 1e-12
    return ((phase + step * chance) % 1.0 < chance) | whole
