"""Agreement of labelled volumes on cubes, where overlap, distance and volume are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from skiagraph.evaluation.tissues import label_agreement


def cube(start: int, label: int = 1) -> np.ndarray:
    """A cube of 6 voxels' side, shifted along the first axis."""
    volume = np.zeros((20, 12, 12), np.int64)
    volume[start : start + 6, 3:9, 3:9] = label
    return volume


def test_a_shift_costs_overlap_and_distance_in_millimetres_but_no_volume() -> None:
    found = label_agreement(cube(4), cube(7), {"cube": 1}, (2.0, 1.0, 1.0))["cube"]
    assert found.dice == pytest.approx(0.5)
    assert found.hd95_mm == pytest.approx(6.0)
    assert found.volume_error == 0


def test_equal_labels_are_perfect_and_classes_are_told_apart() -> None:
    both = np.maximum(cube(2), cube(10, 2))
    found = label_agreement(both, both, {"one": 1, "two": 2}, (1.0, 1.0, 1.0))
    assert [found[name].dice for name in ("one", "two")] == [1, 1]
    assert [found[name].hd95_mm for name in ("one", "two")] == [0, 0]
    swapped = label_agreement(3 * (both > 0) - both, both, {"one": 1}, (1.0, 1.0, 1.0))["one"]
    assert swapped.dice == 0
    smaller = label_agreement(both * (np.arange(20) != 2)[:, None, None], both, {"one": 1}, (1.0, 1.0, 1.0))["one"]
    assert smaller.volume_error == pytest.approx(-1 / 6)


def test_absent_classes_have_no_distance() -> None:
    missed = label_agreement(cube(4), cube(4), {"other": 2}, (1.0, 1.0, 1.0))["other"]
    assert math.isnan(missed.dice)
    lost = label_agreement(0 * cube(4), cube(4), {"cube": 1}, (1.0, 1.0, 1.0))["cube"]
    assert (lost.dice, lost.volume_error) == (0, -1)
    assert math.isnan(lost.hd95_mm)


def test_what_is_no_label_is_refused() -> None:
    with pytest.raises(TypeError, match="found: found float64"):
        label_agreement(cube(4) / 2, cube(4), {"cube": 1}, (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="shape"):
        label_agreement(cube(4)[1:], cube(4), {"cube": 1}, (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="spacing_mm"):
        label_agreement(cube(4), cube(4), {"cube": 1}, (1.0, 1.0))
