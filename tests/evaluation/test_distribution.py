"""Distances between sets: closed forms for Gaussians, unbiasedness, agreement with MONAI, scale."""

from __future__ import annotations

import numpy as np
import pytest

from skiagraph.evaluation import FeatureScale, frechet_distance, gaussian_frechet, kernel_distance


def draws(seed: int, count: int, size: int, mean: float = 0.0, deviation: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, deviation, (count, size))


def test_frechet_distance_of_commuting_gaussians() -> None:
    one, other = np.diag([1.0, 4.0, 0.0]), np.diag([9.0, 1.0, 2.0])
    expected = 3.0**2 + (1 - 3) ** 2 + (2 - 1) ** 2 + 2.0
    assert gaussian_frechet([0, 0, 0], one, [3, 0, 0], other) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_does_not_depend_on_the_axes_and_is_symmetric() -> None:
    turn, _ = np.linalg.qr(draws(0, 4, 4))
    factors = [draws(seed, 4, 4) for seed in (1, 2)]
    one, other = (factor @ factor.T for factor in factors)
    mean = np.arange(4.0)
    plain = gaussian_frechet(np.zeros(4), one, mean, other)
    turned = gaussian_frechet(np.zeros(4), turn @ one @ turn.T, turn @ mean, turn @ other @ turn.T)
    assert turned == pytest.approx(plain, rel=1e-9)
    assert gaussian_frechet(mean, other, np.zeros(4), one) == pytest.approx(plain, rel=1e-9)


def test_a_shifted_copy_of_a_set_is_as_far_as_the_shift() -> None:
    features = draws(3, 20, 30)  # fewer images than features: singular covariances
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(features + 0.5, features) == pytest.approx(30 * 0.25, rel=1e-6)


@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")  # raised inside MONAI
def test_frechet_distance_is_monais() -> None:
    import torch
    from monai.metrics.fid import get_fid_score

    one, other = draws(4, 200, 6), draws(5, 150, 6, 0.3, 1.4)
    expected = float(get_fid_score(torch.from_numpy(one), torch.from_numpy(other)))
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_of_many_draws_nears_the_truth() -> None:
    found = frechet_distance(draws(6, 20_000, 3), draws(7, 20_000, 3, 1.0, 2.0))
    assert found == pytest.approx(3 * 1.0 + 3 * (2 - 1) ** 2, rel=0.03)


def test_kernel_distance_is_the_sum_over_pairs() -> None:
    one, other = draws(8, 4, 2), draws(9, 3, 2, 0.5)
    kernel = lambda a, b: (a @ b / 2 + 1) ** 3  # noqa: E731
    within = [
        np.mean([kernel(a, b) for i, a in enumerate(part) for j, b in enumerate(part) if i != j])
        for part in (one, other)
    ]
    across = np.mean([kernel(a, b) for a in one for b in other])
    found = kernel_distance(one, other, subsets=2, subset_size=2)
    assert found.value == pytest.approx(sum(within) - 2 * across, rel=1e-12)


def test_kernel_distance_is_unbiased() -> None:
    values = [
        kernel_distance(draws(2 * seed, 20, 4), draws(2 * seed + 1, 30, 4), subsets=2).value for seed in range(400)
    ]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 4 * error
    assert min(values) < 0 < max(values)


def test_kernel_distance_sees_a_difference_of_mean_beyond_its_spread() -> None:
    near = kernel_distance(draws(10, 200, 8), draws(11, 200, 8), subset_size=50)
    far = kernel_distance(draws(10, 200, 8, 0.7), draws(11, 200, 8), subset_size=50)
    assert abs(near.value) < 3 * near.subset_deviation
    assert far.value > 10 * near.subset_deviation
    assert (far.subsets, far.subset_size) == (100, 50)
    assert far.subset_mean == pytest.approx(far.value, rel=0.2)
    assert far == kernel_distance(draws(10, 200, 8, 0.7), draws(11, 200, 8), subset_size=50)
    assert str(far).startswith(f"{far.value:.4g} (subsets of 50")


def test_scale_makes_distances_independent_of_the_unit() -> None:
    real, drawn = draws(12, 100, 5), draws(13, 80, 5, 0.2)
    scale, other = FeatureScale.of(real), FeatureScale.of(1000 * real + 7)
    assert np.allclose(scale(real).mean(0), 0, atol=1e-12)
    assert (scale(real) ** 2).mean() == pytest.approx(1)
    assert np.allclose(scale(drawn), other(1000 * drawn + 7))


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (np.zeros((1, 3)), np.zeros((4, 3)), r"generated: found shape \(1, 3\)"),
        (np.zeros((4, 3)), np.zeros((4, 2)), "generated: found 3 features, but real has 2"),
        (np.zeros(4), np.zeros((4, 2)), r"generated: found shape \(4,\)"),
        (np.full((4, 2), np.nan), np.zeros((4, 2)), "generated: found 8 values that are not finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(one: np.ndarray, other: np.ndarray, message: str) -> None:
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(ValueError, match=message):
            distance(one, other)


def test_impossible_subsets_and_equal_references_are_refused() -> None:
    with pytest.raises(ValueError, match="subsets, subset_size: found 100 of 9"):
        kernel_distance(draws(0, 8, 2), draws(1, 20, 2), subset_size=9)
    with pytest.raises(ValueError, match="all its images have the same features"):
        FeatureScale.of(np.ones((4, 3)))
