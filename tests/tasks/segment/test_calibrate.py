"""Thresholds calibrated on normals, against counting; rules that need no calibration."""

from __future__ import annotations

import math

import numpy as np
import pytest

from skiagraph.errors import DataError, InputError
from skiagraph.tasks.segment.calibrate import (
    anofpdm_quantile,
    calibrated_threshold,
    foreground_quantile,
    learned_signs,
    needed_normals,
    otsu_threshold,
    own_scale,
    tolerance_limit,
)


def test_the_threshold_is_the_stated_order_statistic() -> None:
    values = np.arange(1.0, 20.0)[::-1]  # n = 19
    assert calibrated_threshold(values, 0.1) == 18.0  # ceil(20 x 0.9) = 18
    assert calibrated_threshold(values, 0.5) == 10.0
    assert calibrated_threshold(values, 0.05) == 19.0


@pytest.mark.parametrize(("delta", "count"), [(0.1, 9), (0.05, 19), (0.5, 1), (0.01, 99), (0.3, 3)])
def test_the_fewest_normals(delta: float, count: int) -> None:
    assert needed_normals(delta) == count
    assert math.ceil((count + 1) * (1 - delta) - 1e-9) <= count
    calibrated_threshold(np.arange(float(count)), delta)
    if count > 1:
        with pytest.raises(DataError, match=f"needs at least {count}"):
            calibrated_threshold(np.arange(float(count - 1)), delta)


def test_new_normals_exceed_the_area_no_oftener_than_delta() -> None:
    """Over repeated splits of i.i.d. normal maps: the share of new normals over area a is at most delta."""
    random = np.random.default_rng(0)
    area, delta, over = 0.05, 0.2, []
    inside = np.ones((12, 12), dtype=np.bool_)
    for _ in range(120):
        maps = random.normal(size=(34, 12, 12)) * random.uniform(0.5, 2.0, size=(34, 1, 1))
        theta = calibrated_threshold([foreground_quantile(one, inside, area) for one in maps[:24]], delta)
        over += [float((one > theta).mean()) > area for one in maps[24:]]
    rate = float(np.mean(over))
    assert rate <= delta + 3 * math.sqrt(delta * (1 - delta) / len(over)) * 2  # splits share normals: twice the error
    assert rate > delta / 3  # and the rule is not merely strict


def test_the_quantile_looks_inside_the_foreground_only() -> None:
    maps = np.arange(100.0).reshape(10, 10)
    inside = maps < 50
    assert foreground_quantile(maps, inside, 0.5) == 24.5
    with pytest.raises(DataError, match="foreground: found none"):
        foreground_quantile(maps, np.zeros_like(inside), 0.5)
    with pytest.raises(DataError, match="not finite"):
        foreground_quantile(np.full((10, 10), np.nan), inside, 0.5)
    with pytest.raises(InputError, match="area: found 1"):
        foreground_quantile(maps, inside, 1.0)


def test_the_rule_of_anofpdm() -> None:
    assert anofpdm_quantile(0.0, 2.0) == 0.98
    assert anofpdm_quantile(2.0, 2.0) == pytest.approx(0.90)
    assert anofpdm_quantile(1.0, 2.0) == pytest.approx(0.94)
    assert anofpdm_quantile(9.0, 2.0) == pytest.approx(0.90)
    with pytest.raises(InputError, match="strongest"):
        anofpdm_quantile(1.0, 0.0)


def test_otsu_is_that_of_the_images_own_range_and_refuses_a_constant() -> None:
    maps = np.concatenate([np.full(60, -3.0), np.full(40, 5.0)]).reshape(10, 10)
    found = otsu_threshold(maps)
    assert ((maps > found) == (maps == 5.0)).all()
    with pytest.raises(DataError, match="constant"):
        otsu_threshold(np.ones((4, 4)))


def test_a_tolerance_limit_holds_with_its_confidence() -> None:
    from scipy.stats import norm

    random = np.random.default_rng(3)
    true = float(np.exp(0.5 * norm.ppf(0.9)))  # what a tenth of exp(N(0, 0.25)) exceeds
    draws = np.exp(0.5 * random.normal(size=(2000, 40)))
    plain = np.mean([calibrated_threshold(row, 0.1) >= true for row in draws])
    sure = np.mean([tolerance_limit(row, 0.1, 0.95) >= true for row in draws])
    assert sure == pytest.approx(0.95, abs=0.03)
    assert plain < 0.75
    assert tolerance_limit(np.zeros(12), 0.1, 0.95) == 0
    rising = [tolerance_limit(draws[0][:12], 0.1, confidence) for confidence in (0.5, 0.8, 0.95)]
    assert rising == sorted(rising)
    assert rising[0] >= calibrated_threshold(draws[0][:12], 0.1)
    with pytest.raises(InputError, match="confidence"):
        tolerance_limit(draws[0], 0.1, 1.0)


def test_the_own_scale_is_that_of_the_noise_with_and_without_a_lesion() -> None:
    random = np.random.default_rng(4)
    maps, inside = 3 * random.normal(size=(4, 50, 50)), np.ones((4, 50, 50), dtype=bool)
    assert own_scale(maps, inside) == pytest.approx(3, rel=0.03)
    maps[1, 10:15, 10:15] += 100
    assert own_scale(maps, inside) == pytest.approx(3, rel=0.03)
    with pytest.raises(DataError, match="no noise"):
        own_scale(np.zeros((4, 4)), np.ones((4, 4), dtype=bool))


def test_signs_are_learned_from_image_labels() -> None:
    random = np.random.default_rng(1)
    absent = np.sort(random.normal(size=(40, 2, 3)), axis=1)
    present = np.sort(random.normal(size=(40, 2, 3)), axis=1)
    present[:, 1, 0] += 3  # bright in the first channel
    present[:, 0, 1] -= 3  # dark in the second
    present[:, 1, 2] += 1
    present[:, 0, 2] -= 4  # both, rather dark
    assert learned_signs(present, absent) == (1.0, -1.0, -1.0)
    with pytest.raises(ValueError, match="allowed \\(N, 2, C\\)"):
        learned_signs(present[:, 0], absent)
