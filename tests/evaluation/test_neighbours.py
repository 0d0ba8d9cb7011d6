"""Neighbours: exact places, closed forms for equal and disjoint sets, the expected coverage, planted copies."""

from __future__ import annotations

import numpy as np
import pytest
from tests.evaluation.test_distribution import draws

from skiagraph.evaluation import (
    audit_copies,
    expected_coverage,
    nearest,
    neighbour_scores,
    neighbours,
    share_interval,
)


def test_nearest_are_those_of_a_sorted_list(monkeypatch: pytest.MonkeyPatch) -> None:
    line = np.array([[0.0], [1.0], [3.0], [7.0]])
    found = nearest([[2.9], [0.4]], line, 2)
    assert found.indices.tolist() == [[2, 1], [0, 1]]
    assert np.allclose(found.distances, [[0.1, 1.9], [0.4, 0.6]])
    own = nearest(line, line, 3, same_set=True)
    assert own.indices[:, 0].tolist() == [1, 0, 1, 2]
    monkeypatch.setattr(neighbours, "BLOCK", 4)  # one row at a time
    assert np.array_equal(nearest(line, line, 3, same_set=True).indices, own.indices)


def test_equal_sets_have_everything_and_a_known_density() -> None:
    real = draws(0, 60, 3)
    scores = neighbour_scores(real, real, k=4)
    assert (scores.precision, scores.recall, scores.coverage) == (1, 1, 1)
    assert scores.density == pytest.approx((4 + 1) / 4)  # in each ball its centre and its four neighbours


def test_distant_sets_have_nothing() -> None:
    scores = neighbour_scores(draws(1, 40, 3) + 100, draws(2, 50, 3))
    assert (scores.precision, scores.recall, scores.density, scores.coverage) == (0, 0, 0, 0)


def test_a_set_that_shows_half_is_precise_and_lacks_recall() -> None:
    real = np.concatenate([draws(3, 50, 2), draws(4, 50, 2) + 50])
    half = neighbour_scores(draws(5, 100, 2), real)
    assert half.precision > 0.9
    assert half.recall <= 0.5
    assert half.coverage <= 0.5
    assert half.density == pytest.approx(1, abs=0.25)


def test_expected_coverage_and_density_of_equal_distributions() -> None:
    found = [neighbour_scores(draws(2 * seed, 30, 2), draws(2 * seed + 1, 50, 2), k=3) for seed in range(200)]
    coverage = np.array([scores.coverage for scores in found])
    assert coverage.mean() == pytest.approx(found[0].expected_coverage, abs=4 * coverage.std() / np.sqrt(200))
    assert np.mean([scores.density for scores in found]) == pytest.approx(1, abs=0.04)
    assert expected_coverage(1, 2, 1) == pytest.approx(0.5)
    assert expected_coverage(30, 50, 3) == pytest.approx(1 - 49 * 48 * 47 / (79 * 78 * 77))


@pytest.mark.parametrize("k", [0, 5])
def test_impossible_neighbours_are_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"k: found {k}; allowed is 1 to 4"):
        neighbour_scores(draws(0, 5, 2), draws(1, 9, 2), k)
    with pytest.raises(ValueError, match=f"k: found {k}"):
        nearest(draws(0, 5, 2), draws(0, 5, 2), k, same_set=True)


def test_a_planted_copy_is_found() -> None:
    training, held_out = draws(6, 300, 20), draws(7, 200, 20)
    drawn = draws(8, 100, 20)
    drawn[17] = training[123]
    drawn[40] = training[5] + 0.01
    for baseline in (held_out, None):
        audit = audit_copies(drawn, training, baseline, share=0.005)
        assert audit.near_copies.tolist()[:2] == [17, 40]
        assert audit.generated.indices[[17, 40], 0].tolist() == [123, 5]
        assert audit.distances[17] == audit.ratios[17] == 0
        assert audit.ratios[40] < 0.05 < audit.ratios[[0, 1, 2]].min()
        assert len(audit.near_copies) <= 5
        assert 0.35 < audit.closer < 0.65
        assert audit.baseline_kind == ("training" if baseline is None else "held-out")


def test_a_model_that_repeats_is_nearer_than_held_out_images() -> None:
    training, held_out = draws(9, 200, 10), draws(10, 200, 10)
    repeating = audit_copies(training[:80] + 0.02, training, held_out)
    assert repeating.closer == pytest.approx(1)
    assert repeating.rate == 1
    assert repeating.p_value < 1e-6
    honest = audit_copies(draws(11, 200, 10), training, held_out)
    assert honest.closer == pytest.approx(0.5, abs=0.1)
    assert honest.p_value > 0.001
    assert honest.record()["expected_rate"] == 0.01
    assert honest.interval[0] <= honest.rate <= honest.interval[1]


def test_an_exact_copy_counts_even_where_the_baseline_holds_copies() -> None:
    training = np.repeat(draws(12, 20, 5), 2, axis=0)  # every training image twice: the threshold is 0
    audit = audit_copies(np.concatenate([training[:1], draws(13, 9, 5)]), training)
    assert audit.threshold == 0
    assert audit.near_copies.tolist() == [0]


def test_wilson_interval() -> None:
    low, high = share_interval(0, 100)
    assert low == pytest.approx(0, abs=1e-12)
    assert high == pytest.approx(1.959964**2 / (100 + 1.959964**2), rel=1e-5)
    assert share_interval(50, 100) == pytest.approx((0.40383, 0.59617), abs=1e-4)
    with pytest.raises(ValueError, match="count, total, level"):
        share_interval(3, 2)
    with pytest.raises(ValueError, match="share: found 0"):
        audit_copies(draws(0, 3, 2), draws(1, 9, 2), share=0)
