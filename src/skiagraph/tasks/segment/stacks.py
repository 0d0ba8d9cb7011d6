"""Slices as stacks: which images of a labelled set are neighbours in one volume, for networks in three dimensions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from skiagraph.errors import DataError

__all__ = ["slice_groups", "stacked", "stacks_of"]

Value = TypeVar("Value", bound=np.generic)
_NUMBERED = re.compile(r"^(?P<volume>.*?)[-_#]?(?P<number>\d+)$")


def slice_groups(names: Sequence[str]) -> list[list[int]]:
    """Positions of the slices of each volume, rising by slice number.

    Names that differ in a number at their end only ("case-07-02.png", "case.nii#2") are slices of one volume.

    Args:
        names: of the images.
    """
    return [[place for _, place in group] for group in _numbered(names)]


def _numbered(names: Sequence[str]) -> list[list[tuple[int, int]]]:
    """(slice number, position) of the slices of each volume, rising."""
    found: dict[str, list[tuple[int, int]]] = {}
    for place, name in enumerate(names):
        path = PurePosixPath(name)
        match = _NUMBERED.match(name if "#" in path.name else str(path.with_suffix("")))
        if match is None:
            raise DataError(
                f"{name}: no slice number at the end of its name; a network in 3 dimensions learns from slices that "
                "are numbered within their volume, such as case-07-02.png. Rename them, or give dimensions 2"
            )
        found.setdefault(match["volume"], []).append((int(match["number"]), place))
    return [sorted(members) for _, members in sorted(found.items())]


def stacks_of(names: Sequence[str], depth: int) -> NDArray[np.int64]:
    """Positions (M, depth) of neighbouring slices; -1 where a run of slices is shorter than a stack.

    Every image is in at least one stack; the last stack of a run ends with it, and so may repeat slices.

    Args:
        names: of the images.
        depth: slices in a stack.
    """
    if depth < 1:
        raise ValueError(f"depth: found {depth}; allowed at least 1.")
    rows: list[list[int]] = []
    for group in _numbered(names):
        later = range(1, len(group))
        breaks = [0, *(k for k in later if group[k][0] != group[k - 1][0] + 1), len(group)]
        for start, stop in pairwise(breaks):
            run = [place for _, place in group[start:stop]]
            firsts = sorted({*range(0, max(1, len(run) - depth + 1), depth), max(0, len(run) - depth)})
            rows += [run[first : first + depth] + [-1] * (depth - len(run)) for first in firsts]
    return np.array(rows, dtype=np.int64).reshape(-1, depth)


def stacked(values: NDArray[Value], stacks: NDArray[np.int64], missing: float) -> NDArray[Value]:
    """(M, depth, ...) of values (N, ...), with `missing` where a stack has no slice."""
    found: NDArray[Value] = values[np.maximum(stacks, 0)]
    found[stacks < 0] = missing
    return found
