"""Measures of masks against values that follow from their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from skiagraph.evaluation.masks import (
    average_precision,
    dice,
    foreground_iou,
    hd95_contour,
    hd95_filled,
    lesion_recall,
    resized_mask,
    score_volume,
    surface_dice,
)


def box(shape: tuple[int, ...], *ranges: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(low, high + 1) for low, high in ranges)] = True
    return mask


FIRST = box((64, 64), (10, 29), (10, 29))
SECOND = box((64, 64), (14, 39), (12, 33))
NOTHING = np.zeros((64, 64), dtype=bool)


def test_the_check_case_of_the_page() -> None:
    assert dice(FIRST, SECOND) == pytest.approx(0.5926, abs=1e-4)
    assert foreground_iou(FIRST, SECOND) == pytest.approx(0.4211, abs=1e-4)
    assert hd95_contour(FIRST, SECOND, (1, 1)) == pytest.approx(10.0)
    assert hd95_filled(FIRST, SECOND) == pytest.approx(8.03, abs=0.01)


def test_contour_distances_are_in_mm_and_three_dimensional() -> None:
    low, high = box((8, 9, 9), (1, 2), (2, 6), (2, 6)), box((8, 9, 9), (4, 5), (2, 6), (2, 6))
    assert hd95_contour(low, high, (5.0, 1.0, 1.0)) == pytest.approx(15.0)
    assert hd95_contour(low, low, (5.0, 1.0, 1.0)) == 0
    assert surface_dice(low, low, (5.0, 1.0, 1.0)) == 1
    assert surface_dice(low, high, (5.0, 1.0, 1.0), tolerance_mm=1.0) < 0.5
    assert surface_dice(low, high, (5.0, 1.0, 1.0), tolerance_mm=15.0) == 1


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
def test_contours_agree_with_monai() -> None:
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    generator = np.random.default_rng(1)
    masks = [box((12, 14, 16), (3, 8), (3, 9), (2, 12)) ^ (generator.random((12, 14, 16)) < 0.02) for _ in range(2)]
    pair = [torch.from_numpy(mask)[None, None] for mask in masks]
    spacing = [3.0, 1.0, 2.0]
    theirs = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=spacing)
    assert hd95_contour(*masks, spacing) == pytest.approx(float(theirs[0, 0]))
    theirs = compute_surface_dice(*pair, class_thresholds=[1.5], include_background=True, spacing=spacing)
    assert surface_dice(*masks, spacing, tolerance_mm=1.5) == pytest.approx(float(theirs[0, 0]))


@pytest.mark.parametrize(("mask", "truth"), [(NOTHING, FIRST), (FIRST, NOTHING), (NOTHING, NOTHING)])
def test_empty_masks_never_have_the_best_value(mask: np.ndarray, truth: np.ndarray) -> None:
    assert hd95_contour(mask, truth, (2.0, 2.0)) == pytest.approx(math.hypot(128, 128))
    assert surface_dice(mask, truth, (2.0, 2.0)) == 0
    assert math.isnan(hd95_contour(mask, truth, (2.0, 2.0), policy="exclude"))
    assert math.isnan(surface_dice(mask, truth, (2.0, 2.0), policy="exclude"))
    assert not dice(mask, truth) > 0
    assert not foreground_iou(mask, truth) > 0
    with pytest.raises(ValueError, match="empty"):
        hd95_filled(mask, truth)


def test_lesions_count_when_enough_of_them_is_marked() -> None:
    truth = box((20, 20), (0, 9), (0, 0)) | box((20, 20), (15, 16), (15, 16)) | box((20, 20), (17, 17), (17, 17))
    mask = box((20, 20), (0, 0), (0, 19))  # one pixel of ten of the first; the others touch at a corner and are one
    assert lesion_recall(mask, truth) == (1, 2)
    assert lesion_recall(mask, truth, least_overlap=0.2) == (0, 2)


def test_average_precision_by_hand() -> None:
    assert average_precision([4.0, 3.0, 2.0, 1.0], np.array([True, False, True, False])) == pytest.approx(
        0.5 * 1 + 0.5 * 2 / 3
    )
    assert average_precision([1.0, 1.0, 1.0, 1.0], np.array([True, False, False, False])) == pytest.approx(0.25)
    assert math.isnan(average_precision([1.0, 2.0], np.array([False, False])))


def test_average_precision_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    generator = np.random.default_rng(0)
    truth = generator.random(500) < 0.2
    values = np.round(truth + generator.normal(size=500), 1)
    assert average_precision(values, truth) == pytest.approx(metrics.average_precision_score(truth, values))


def test_a_volume_in_all_measures() -> None:
    truth, mask = box((4, 10, 10), (1, 2), (2, 5), (2, 5)), box((4, 10, 10), (1, 2), (2, 5), (4, 7))
    found = score_volume(mask, truth, (5.0, 2.0, 2.0), maps=mask.astype(float))
    assert found.dice == pytest.approx(0.5)
    assert found.truth_ml == pytest.approx(32 * 20 / 1000)
    assert found.false_ml == pytest.approx(16 * 20 / 1000)
    assert (found.recall, found.empty) == (1.0, "")
    assert found.hd95_mm == pytest.approx(4.0)
    inside = mask | truth
    within = score_volume(mask, truth, (5.0, 2.0, 2.0), maps=mask.astype(float), inside=inside)
    assert within.ap > found.ap


def test_volumes_without_lesion_are_judged_by_false_positives_alone() -> None:
    truth, mask = np.zeros((4, 10, 10), dtype=bool), box((4, 10, 10), (1, 1), (0, 1), (0, 4))
    found = score_volume(mask, truth, (5.0, 2.0, 2.0), maps=mask.astype(float))
    assert found.false_ml == pytest.approx(0.2)
    assert found.empty == "truth"
    assert all(math.isnan(value) for value in (found.dice, found.iou, found.hd95_mm, found.ap, found.recall))
    assert score_volume(truth, truth, (5.0, 2.0, 2.0)).empty == "both"
    assert score_volume(truth, mask, (5.0, 2.0, 2.0)).dice == 0


def test_bad_input_is_refused() -> None:
    with pytest.raises(TypeError, match="boolean"):
        dice(FIRST.astype(float), SECOND)
    with pytest.raises(ValueError, match="truth"):
        dice(FIRST, SECOND[:10])
    with pytest.raises(ValueError, match="spacing_mm"):
        hd95_contour(FIRST, SECOND, (1.0, 0.0))
    with pytest.raises(ValueError, match="policy"):
        hd95_contour(FIRST, SECOND, (1.0, 1.0), policy="best")  # type: ignore[arg-type]


def test_a_mask_keeps_its_area_on_another_grid_unless_as_released() -> None:
    square = box((240, 240), (10, 39), (60, 89))
    assert resized_mask(square, (224, 224), released=True).sum() == 870
    assert abs(int(resized_mask(square, (224, 224)).sum()) - 784) <= 2 * 28
    assert np.array_equal(resized_mask(square, (240, 240)), square)
    with pytest.raises(TypeError, match="boolean"):
        resized_mask(square.astype(int), (224, 224))
