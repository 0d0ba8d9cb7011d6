"""Scores of classifiers against scikit-learn and by hand; draws and differences against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, roc_auc_score, roc_curve

from skiagraph.evaluation.classification import Predictions, class_recalls, class_score, score_runs, sensitivities
from skiagraph.evaluation.downstream import draw_study, score_arm

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(0, 4, 60)
LOGITS = GENERATOR.normal(size=(3, 60, 4)) + 1.5 * np.eye(4)[LABELS]
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(2, keepdims=True)
PREDICTIONS = Predictions.of(PROBABILITIES, LABELS)


def test_scores_are_those_of_scikit_learn() -> None:
    found = {name: values[0] for name, values in score_runs(PREDICTIONS).items()}
    for run, rows in enumerate(PROBABILITIES):
        guess = rows.argmax(1)
        assert found["balanced_accuracy"][run] == pytest.approx(balanced_accuracy_score(LABELS, guess))
        assert found["macro_auroc"][run] == pytest.approx(roc_auc_score(LABELS, rows, multi_class="ovr"))
        assert found["quadratic_kappa"][run] == pytest.approx(cohen_kappa_score(LABELS, guess, weights="quadratic"))
        assert found["brier"][run] == pytest.approx(((rows - np.eye(4)[LABELS]) ** 2).sum(1).mean())


def test_a_weight_of_two_is_the_image_twice() -> None:
    weights = np.stack([GENERATOR.integers(0, 3, 60), np.ones(60)])
    index = np.repeat(np.arange(60), weights[0].astype(int))
    found = score_runs(PREDICTIONS, weights)
    twice = score_runs(Predictions.of(PROBABILITIES[:, index], LABELS[index]))
    plain = score_runs(PREDICTIONS)
    for name, values in found.items():
        np.testing.assert_allclose(values[0], twice[name][0], err_msg=name)
        np.testing.assert_allclose(values[1], plain[name][0], err_msg=name)


def test_ties_count_half_and_constant_probabilities_have_an_area_of_one_half() -> None:
    flat = Predictions.of(np.full((1, 60, 4), 0.25), LABELS)
    found = score_runs(flat)
    assert found["macro_auroc"][0, 0] == pytest.approx(0.5)
    assert found["brier"][0, 0] == pytest.approx(0.75)
    assert found["ece"][0, 0] == pytest.approx(abs((LABELS == 0).mean() - 0.25))


@pytest.mark.parametrize("specificity", [0.5, 0.8, 0.95])
def test_sensitivity_at_a_specificity_is_that_of_the_curve(specificity: float) -> None:
    coarse = Predictions.of((p := np.round(PROBABILITIES, 1) + 0.01) / p.sum(2, keepdims=True), LABELS)  # with ties
    for predictions in (PREDICTIONS, coarse):
        found = sensitivities(predictions, specificity)[0]
        for run, rows in enumerate(predictions.probabilities):
            for label in range(4):
                false, true, _ = roc_curve(label == LABELS, rows[:, label], drop_intermediate=False)
                assert found[run, label] == pytest.approx(true[false <= 1 - specificity + 1e-9].max())


def test_sensitivities_follow_weights_and_are_unknown_without_one_side() -> None:
    weights = np.stack([np.random.default_rng(3).integers(0, 3, 60), np.ones(60)])
    index = np.repeat(np.arange(60), weights[0].astype(int))
    found = sensitivities(PREDICTIONS, 0.9, weights)
    twice = sensitivities(Predictions.of(PROBABILITIES[:, index], LABELS[index]), 0.9)
    np.testing.assert_allclose(found[0], twice[0])
    np.testing.assert_allclose(found[1], sensitivities(PREDICTIONS, 0.9)[0])
    alone = sensitivities(PREDICTIONS, 0.9, (LABELS == 2)[None].astype(float))
    assert np.isnan(alone).all()
    with pytest.raises(ValueError, match="specificity"):
        sensitivities(PREDICTIONS, 1.0)


def test_calibration_error_by_hand() -> None:
    rows = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    found = score_runs(Predictions.of(rows[None], np.array([0, 1, 0, 0])))["ece"][0, 0]
    assert found == pytest.approx(0.5 * abs(0.5 - 0.9) + 0.5 * abs(1 - 0.6))


def test_recalls_of_absent_classes_are_undefined_and_left_out() -> None:
    rows = np.eye(3)[[0, 0, 1]][None]
    predictions = Predictions.of(rows, np.array([0, 1, 1]))
    np.testing.assert_array_equal(class_recalls(predictions)[0, 0], [1, 0.5, np.nan])
    assert score_runs(predictions)["balanced_accuracy"][0, 0] == pytest.approx(0.75)


def test_class_score_counts_classes_that_are_sure_and_even() -> None:
    assert class_score(np.eye(5)) == pytest.approx(5)
    assert class_score(np.full((7, 5), 0.2)) == pytest.approx(1)
    assert class_score(np.eye(5)[[0, 0]]) == pytest.approx(1)


RUNS = [("a", 0), ("a", 1), ("b", 0)]


def test_draws_take_groups_networks_and_seeds_together() -> None:
    groups = [number // 6 for number in range(60)]
    draws = draw_study(LABELS, RUNS, groups=groups, resamples=200)
    assert draws.images.shape == (201, 60)
    np.testing.assert_array_equal(draws.images[0], 1)
    blocks = draws.images.reshape(201, 10, 6)
    np.testing.assert_array_equal(blocks, blocks[:, :, :1].repeat(6, 2))
    np.testing.assert_array_equal(draws.images.sum(1), 60)
    np.testing.assert_allclose(draws.runs.sum(1), 1)
    np.testing.assert_allclose(draws.runs[0], 1 / 3)


def test_an_arm_does_not_differ_from_itself_and_paired_differences_are_narrow() -> None:
    draws = draw_study(LABELS, RUNS, resamples=300)
    one = score_arm(PROBABILITIES, LABELS, draws)
    same = one.difference(one, "brier")
    assert (same.value, same.low, same.high) == (0, 0, 0)
    sharper = np.exp(1.3 * LOGITS) / np.exp(1.3 * LOGITS).sum(2, keepdims=True)
    gap = score_arm(sharper, LABELS, draws).difference(one, "brier")
    wide = one.estimate("brier")
    assert gap.high - gap.low < (wide.high - wide.low) / 2
    assert wide.low < wide.value < wide.high


def test_scores_within_a_subgroup_are_those_of_its_images_alone() -> None:
    draws, inside = draw_study(LABELS, RUNS, resamples=300), np.arange(60) % 20 == 0
    part = draws.within(inside)
    assert len(part.images) < 301  # three images are sometimes not drawn at all
    assert (part.images.sum(1) > 0).all()
    found = score_arm(PROBABILITIES[:, inside], LABELS[inside], part)
    alone = score_runs(Predictions.of(PROBABILITIES[:, inside], LABELS[inside]))
    assert found.estimate("balanced_accuracy").value == pytest.approx(alone["balanced_accuracy"].mean())
    one = LABELS == 1  # of one class: an area under a curve is not known, and says so
    only = score_arm(PROBABILITIES[:, one], LABELS[one], draws.within(one))
    assert np.isnan(only.estimate("macro_auroc").low)
    assert only.estimate("balanced_accuracy").low > 0


def test_interval_of_accuracy_has_the_width_of_the_binomial() -> None:
    labels = np.zeros(400, int)
    labels[200:] = 1
    right = np.random.default_rng(1).random(400) < 0.8
    rows = np.where(right[:, None], np.eye(2)[labels], np.eye(2)[1 - labels])[None]
    found = score_arm(rows, labels, draw_study(labels, [("a", 0)], resamples=2000)).estimate("balanced_accuracy")
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(0.16 / 400), rel=0.1)


def test_refusals_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="rows that are not"):
        Predictions.of(PROBABILITIES * 2, LABELS)
    with pytest.raises(ValueError, match="labels"):
        Predictions.of(PROBABILITIES, LABELS + 1)
    with pytest.raises(ValueError, match="weights"):
        score_runs(PREDICTIONS, np.zeros((1, 60)))
    with pytest.raises(ValueError, match="runs"):
        draw_study(LABELS, [("a", 0), ("a", 0)])
    with pytest.raises(ValueError, match="draws"):
        score_arm(PROBABILITIES[:2], LABELS, draw_study(LABELS, RUNS))
