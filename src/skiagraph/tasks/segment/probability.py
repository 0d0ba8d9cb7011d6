"""From a map to probabilities without a mask: how much more of a case lies so high than of normal cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.errors import DataError

__all__ = ["Tail", "lesion_probability", "normal_tail"]

Tail = tuple[tuple[float, float], ...]
"""Pairs of a map's value, rising, and the share of normal foreground at or above it."""

Maps = NDArray[np.floating[Any]]
POINTS = 200


def normal_tail(maps: Sequence[Maps], foregrounds: Sequence[NDArray[np.bool_]]) -> Tail:
    """S0(z) = share of the normal cases' foreground whose map reaches z, at 200 shares from 1 down to one pixel in all.

    Args:
        maps: of the normal cases, each of any shape.
        foregrounds: bool, of the same shapes.
    """
    values = np.sort(np.concatenate([m[f] for m, f in zip(maps, foregrounds, strict=True)]))
    if values.size == 0 or not np.isfinite(values).all():
        raise DataError("normals: their maps hold no finite value inside the foreground; look at the prior")
    counts = np.unique(np.round(np.geomspace(1, values.size, POINTS)).astype(int))[::-1]
    places = values.size - counts
    # of equal values the first place counts: as many reach them
    shares = (values.size - np.searchsorted(values, values[places])) / values.size
    return tuple(zip(values[places].tolist(), shares.tolist(), strict=True))


def lesion_probability(maps: Maps, foreground: NDArray[np.bool_], tail: Tail) -> NDArray[np.float32]:
    """p(z) = 1 - S0(z) / S(z), at least 0 and never falling with z: the share of what reaches z that is no accident.

    S is the case's own share that reaches z, S0 that of normal cases: S0 / S is the tail-area false discovery rate with
    all of the case taken as normal (Storey 2002; Efron and Tibshirani 2002), which errs on the low side.

    Args:
        maps: (D, H, W), smoothed as the normal cases' were.
        foreground: bool of the same shape; outside it the probability is 0.
        tail: of the normal cases.
    """
    found = np.zeros(maps.shape, dtype=np.float32)
    values = maps[foreground]
    if values.size == 0:
        return found
    order = np.sort(values)
    own = (values.size - np.searchsorted(order, order)) / values.size
    knots, shares = (np.array(column) for column in zip(*tail, strict=True))
    # between two knots the larger share, below them all of the normal cases, above them the last one's
    places = np.searchsorted(knots, order, side="right") - 1
    normal = np.where(places < 0, 1.0, shares[np.maximum(places, 0)])
    rising = np.maximum.accumulate(np.clip(1 - normal / own, 0, 1))
    found[foreground] = rising[np.searchsorted(order, values)]
    return found
