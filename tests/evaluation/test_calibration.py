"""Calibration measures on Gaussians of known spread, where every answer has a closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from skiagraph.evaluation import (
    error_by_deviation,
    error_correlation,
    gaussian_coverage,
    reliability,
    sample_coverage,
    spread_to_error,
)

COUNT = 40_000


def _varying(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    mean, deviation = generator.normal(size=COUNT), generator.uniform(0.2, 2.0, COUNT)
    return mean, deviation, mean + deviation * generator.standard_normal(COUNT)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_gaussian_coverage_has_its_closed_form(factor: float, level: float) -> None:
    mean, deviation, truth = _varying()
    expected = 2 * stats.norm.cdf(factor * stats.norm.ppf((1 + level) / 2)) - 1
    assert gaussian_coverage(mean, factor * deviation, truth, level) == pytest.approx(expected, abs=0.008)


@pytest.mark.parametrize("count", [2, 4, 8])
def test_few_samples_still_cover_as_stated(count: int) -> None:
    generator = np.random.default_rng(count)
    samples, truth = generator.normal(size=(count, COUNT)), generator.normal(size=COUNT)
    mean, deviation = samples.mean(0), samples.std(0, ddof=1)
    assert gaussian_coverage(mean, deviation, truth, 0.9, samples=count) == pytest.approx(0.9, abs=0.006)
    assert gaussian_coverage(mean, deviation, truth, 0.9) < 0.87
    assert reliability(mean, deviation, truth, samples=count).gap < 0.006


@pytest.mark.parametrize(("count", "level"), [(19, 0.9), (9, 0.8), (40, 0.5)])
def test_sample_coverage_holds_for_skewed_distributions(count: int, level: float) -> None:
    generator = np.random.default_rng(count)
    samples, truth = generator.exponential(size=(count, COUNT)), generator.exponential(size=COUNT)
    assert sample_coverage(samples, truth, level) == pytest.approx(level, abs=0.008)


def test_too_few_samples_for_a_level_are_refused_with_the_number_needed() -> None:
    samples = np.zeros((18, 3))
    with pytest.raises(ValueError, match=r"samples: found 18; intervals of level .* need at least 19"):
        sample_coverage(samples, samples[0], 0.9)
    assert sample_coverage(np.zeros((19, 3)), np.zeros(3), 0.9) == 1


def test_reliability_tells_over_and_underconfidence() -> None:
    mean, deviation, truth = _varying()
    calibrated, narrow, wide = (reliability(mean, f * deviation, truth) for f in (1.0, 0.5, 2.0))
    assert calibrated.gap < 0.01
    assert all(seen < stated for stated, seen in zip(narrow.nominal, narrow.observed, strict=True))
    assert all(seen > stated for stated, seen in zip(wide.nominal, wide.observed, strict=True))
    assert calibrated.observed[-1] == gaussian_coverage(mean, deviation, truth, calibrated.nominal[-1])


def test_spread_to_error_measures_the_factor() -> None:
    mean, deviation, truth = _varying()
    assert spread_to_error(mean, 0.5 * deviation, truth) == pytest.approx(0.5, abs=0.005)
    generator = np.random.default_rng(5)
    samples, truth = generator.normal(size=(4, COUNT)), generator.normal(size=COUNT)
    ratio = spread_to_error(samples.mean(0), samples.std(0, ddof=1), truth, samples=4)
    assert ratio == pytest.approx(1.0, abs=0.01)


def test_error_by_deviation_lies_on_the_diagonal_when_calibrated() -> None:
    spread, error = error_by_deviation(*_varying(), bins=8)
    assert (np.diff(spread) > 0).all()
    np.testing.assert_allclose(error, spread, rtol=0.05)


def test_correlation_knows_direction_and_kind() -> None:
    mean, truth = np.zeros(5), np.array([1.0, 2.0, 3.0, 4.0, 100.0])
    assert error_correlation(mean, np.arange(5.0), truth) == pytest.approx(1.0)
    assert error_correlation(mean, np.arange(5.0)[::-1], truth) == pytest.approx(-1.0)
    assert error_correlation(mean, np.arange(5.0), truth, kind="pearson") < 0.8


def test_masks_select_and_empty_masks_are_refused() -> None:
    mean, deviation, truth = (values.reshape(200, 200) for values in _varying())
    mask = np.zeros((200, 200))
    mask[:, :50] = 1
    spoiled = np.where(mask > 0, truth, 1e9)
    assert gaussian_coverage(mean, deviation, spoiled, mask=mask) == gaussian_coverage(
        mean[:, :50], deviation[:, :50], truth[:, :50]
    )
    for measure in (gaussian_coverage, reliability, error_correlation, spread_to_error, error_by_deviation):
        with pytest.raises(ValueError, match="mask: found no selected element"):
            measure(mean, deviation, truth, mask=np.zeros((200, 200)))
    with pytest.raises(ValueError, match="mask: found no selected element"):
        sample_coverage(np.stack([mean] * 19), truth, mask=np.zeros((200, 200)))


def test_refusals() -> None:
    mean, deviation, truth = _varying()
    with pytest.raises(ValueError, match="deviation: found -"):
        gaussian_coverage(mean, -deviation, truth)
    with pytest.raises(ValueError, match="level: found 90"):
        gaussian_coverage(mean, deviation, truth, 90)
    with pytest.raises(ValueError, match="samples: found 1"):
        gaussian_coverage(mean, deviation, truth, samples=1)
    with pytest.raises(ValueError, match="kind: found 'kendall'"):
        error_correlation(mean, deviation, truth, kind="kendall")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no correlation"):
        error_correlation(mean, np.ones(COUNT), truth)
    with pytest.raises(ValueError, match="bins: found 0"):
        error_by_deviation(mean, deviation, truth, bins=0)
    with pytest.raises(ValueError, match="no error at all"):
        spread_to_error(mean, deviation, mean)
