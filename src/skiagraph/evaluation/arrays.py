"""The checks that every measure makes before it gives a number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["check_range", "real_array", "same_shape", "selected"]


def real_array(value: ArrayLike, name: str) -> NDArray[np.float64]:
    """`value` as float64; complex, empty and non-finite arrays are refused.

    Args:
        value: array of any shape.
        name: name of the argument in error messages.
    """
    array: NDArray[Any] = np.asarray(value)
    if np.iscomplexobj(array):
        raise TypeError(f"{name}: found {array.dtype}; allowed are real arrays. Pass the magnitude, numpy.abs({name}).")
    if array.size == 0:
        raise ValueError(f"{name}: found an empty array of shape {array.shape}; there is nothing to measure.")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: found {int((~np.isfinite(array)).sum())} values that are not finite.")
    return array


def same_shape(first: NDArray[Any], second: NDArray[Any], names: tuple[str, str]) -> None:
    """Refuse two arrays of different shape: broadcasting would compare what does not belong together."""
    if first.shape != second.shape:
        raise ValueError(f"{names[0]}: found shape {first.shape}; it must be that of {names[1]}, {second.shape}.")


def selected(mask: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Boolean array of `shape`: where `mask` (broadcast to it) is not zero, everywhere when it is None.

    A mask that selects nothing is refused: a measure over nothing has no value, least of all the best one.
    """
    if mask is None:
        return np.ones(shape, dtype=bool)
    array = np.asarray(mask)
    try:
        chosen = np.broadcast_to(array != 0, shape)
    except ValueError:
        raise ValueError(f"mask: found shape {array.shape}; it must broadcast to {shape}.") from None
    if not chosen.any():
        raise ValueError("mask: found no selected element; select at least one, or leave the mask out.")
    return chosen


def check_range(data_range: float) -> float:
    """The span of intensities a measure refers to: a finite number > 0."""
    if not (np.isfinite(data_range) and data_range > 0):
        raise ValueError(f"data_range: found {data_range}; it must be finite and > 0, e.g. the maximum of the truth.")
    return float(data_range)
