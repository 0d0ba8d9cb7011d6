"""Masks of maps: parts, volumes, holes, smoothing, and the released way, on maps that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from skiagraph.errors import DataError, InputError
from skiagraph.tasks.segment.masks import MaskRules, mask_of, parts_of, released_mask, smoothed

EVERYWHERE = np.ones((12, 12), dtype=np.bool_)


def squares(*places: tuple[int, int, int]) -> np.ndarray:
    maps = np.zeros((12, 12))
    for row, column, side in places:
        maps[row : row + side, column : column + side] = 1
    return maps


def test_small_parts_fall_by_volume_and_diagonal_neighbours_belong_together() -> None:
    maps = squares((0, 0, 2), (2, 2, 2), (8, 8, 1))
    labels, parts = parts_of(maps > 0.5, maps, 0.5, (1.0, 1.0))
    assert [part.volume_mm3 for part in parts] == [8.0, 1.0]
    assert parts[0].mass == pytest.approx(4.0)
    assert labels.max() == 2
    mask = mask_of(maps, 0.5, EVERYWHERE, (2.0, 3.0), MaskRules(minimum_mm3=7.0))
    assert mask.sum() == 8
    assert mask_of(maps, 0.5, EVERYWHERE, (2.0, 3.0), MaskRules(minimum_mm3=6.0)).sum() == 9


def test_in_three_dimensions_corners_connect() -> None:
    maps = np.zeros((2, 4, 4))
    maps[0, 0, 0] = maps[1, 1, 1] = 1
    _, parts = parts_of(maps > 0, maps, 0.0, (4.0, 1.0, 1.0))
    assert [part.volume_mm3 for part in parts] == [8.0]


def test_the_largest_are_kept_and_light_parts_dropped() -> None:
    maps = squares((0, 0, 3), (6, 6, 2))
    maps[6:8, 6:8] = 5
    assert mask_of(maps, 0.5, EVERYWHERE, (1.0, 1.0), MaskRules(keep=1)).sum() == 9
    assert mask_of(maps, 0.5, EVERYWHERE, (1.0, 1.0), MaskRules(), least_mass=10.0).sum() == 4


def test_holes_are_filled_within_the_foreground() -> None:
    maps = squares((2, 2, 5))
    maps[4, 4] = 0
    rules = MaskRules()
    assert mask_of(maps, 0.5, EVERYWHERE, (1.0, 1.0), rules).sum() == 25
    assert mask_of(maps, 0.5, EVERYWHERE, (1.0, 1.0), MaskRules(fill_holes=False)).sum() == 24
    outside = EVERYWHERE.copy()
    outside[4, 4] = False
    assert mask_of(maps, 0.5, outside, (1.0, 1.0), rules).sum() == 24


def test_ties_are_outside_and_nothing_gives_an_empty_mask() -> None:
    maps = squares((2, 2, 5))
    assert not mask_of(maps, 1.0, EVERYWHERE, (1.0, 1.0), MaskRules()).any()


def test_smoothing_is_in_mm_and_air_does_not_dilute_the_border() -> None:
    inside = EVERYWHERE.copy()
    inside[:, 6:] = False
    flat = smoothed(np.ones((12, 12)), inside, (1.0, 1.0), 2.0)
    assert np.allclose(flat[inside], 1.0, atol=1e-6)
    assert not flat[~inside].any()
    point = np.zeros((41, 41))
    point[20, 20] = 1
    everywhere = np.ones((41, 41), dtype=np.bool_)
    found = smoothed(point, everywhere, (1.0, 2.0), 3.0).astype(float)
    place = np.arange(41) - 20
    assert float((found.sum(1) * place**2).sum()) ** 0.5 == pytest.approx(3.0, rel=0.02)
    assert float((found.sum(0) * (2 * place) ** 2).sum()) ** 0.5 == pytest.approx(3.0, rel=0.02)
    assert np.array_equal(smoothed(point, everywhere, (1.0, 2.0), 0.0), point.astype(np.float32))


def test_maps_that_say_nothing_are_refused() -> None:
    bad = np.full((12, 12), np.nan)
    with pytest.raises(DataError, match="not finite"):
        mask_of(bad, 0.0, EVERYWHERE, (1.0, 1.0), MaskRules())
    with pytest.raises(DataError, match="constant"):
        released_mask(np.ones((2, 5, 5)))
    with pytest.raises(InputError, match="spacing_mm"):
        mask_of(np.ones((12, 12)), 0.0, EVERYWHERE, (1.0,), MaskRules())
    with pytest.raises(InputError, match="minimum_mm3"):
        MaskRules(minimum_mm3=-1.0)


def test_the_released_mask_keeps_all_parts_that_tie_for_the_largest() -> None:
    tie = squares((0, 0, 2), (2, 2, 2), (8, 8, 1))  # 4-connected: two parts of 4 and one of 1
    one = squares((5, 5, 3), (0, 0, 1))
    whole, largest = released_mask(np.stack([tie, one]))
    assert whole.sum(axis=(1, 2)).tolist() == [9, 10]
    assert largest.sum(axis=(1, 2)).tolist() == [8, 9]
