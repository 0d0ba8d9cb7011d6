"""Probabilities from shares that are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from skiagraph.errors import DataError
from skiagraph.tasks.segment.probability import lesion_probability, normal_tail

EVERYWHERE = np.ones((1, 10, 10), dtype=bool)


def test_the_share_of_what_reaches_a_value_that_normal_cases_do_not_explain() -> None:
    normal, case = np.zeros((1, 10, 10)), np.zeros((1, 10, 10))
    normal[0, 0] = 1.0  # a tenth of the normal case
    case[0, :4] = 1.0  # four tenths of this one
    found = lesion_probability(case, EVERYWHERE, normal_tail([normal], [EVERYWHERE]))
    assert np.allclose(found[0, :4], 1 - 0.1 / 0.4)
    assert not found[0, 4:].any()
    two = normal_tail([normal, np.zeros((1, 10, 10))], [EVERYWHERE, EVERYWHERE])
    assert np.allclose(lesion_probability(case, EVERYWHERE, two)[0, :4], 1 - 0.05 / 0.4)


def test_beyond_every_normal_value_one_normal_pixel_is_still_reckoned_with() -> None:
    random = np.random.default_rng(0)
    normals = [random.normal(size=(1, 10, 10)) for _ in range(5)]
    case = random.normal(size=(1, 10, 10))
    case[0, 2:4, 2:7] = 50.0
    found = lesion_probability(case, EVERYWHERE, normal_tail(normals, [EVERYWHERE] * 5))
    assert np.allclose(found[0, 2:4, 2:7], 1 - (1 / 500) / (10 / 100))
    order = np.argsort(case.ravel())
    assert (np.diff(found.ravel()[order]) >= 0).all()
    assert found.min() >= 0


def test_a_normal_case_gets_next_to_nothing_and_outside_the_foreground_there_is_nothing() -> None:
    values = np.random.default_rng(1).normal(size=(1, 10, 10))
    assert not lesion_probability(values, EVERYWHERE, normal_tail([values], [EVERYWHERE])).any()
    half = EVERYWHERE.copy()
    half[:, :5] = False
    found = lesion_probability(values + 9, half, normal_tail([values], [EVERYWHERE]))
    assert not found[~half].any()
    assert (found[half] > 0.9).all()
    assert not lesion_probability(values, ~EVERYWHERE, ((0.0, 1.0),)).any()
    with pytest.raises(DataError, match="no finite value"):
        normal_tail([values], [~EVERYWHERE])
