"""Memorisation audit: planted copies are found where they hide, independent images pass, rates against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from tests.helpers.tiny_sets import spots

from skiagraph.evaluation.features import fit_features
from skiagraph.evaluation.fidelity import ssim
from skiagraph.evaluation.memorisation import audit_space
from skiagraph.evaluation.memorisation_rates import MemorisationRules, membership, near_copy_rate, nearest_variants
from skiagraph.evaluation.memorisation_spaces import (
    FeatureSpace,
    PixelSpace,
    SimilaritySpace,
    Space,
    image_variants,
    reduced,
)

TRAINING, UNSEEN, INDEPENDENT = spots(1, 90), spots(2, 60), spots(3, 60)
RULES = MemorisationRules(resamples=100)


def spaces() -> list[Space]:
    return [PixelSpace(), SimilaritySpace(), FeatureSpace.of(fit_features("image-pca-64", TRAINING), TRAINING)]


@pytest.mark.parametrize("space", spaces(), ids=lambda space: space.name)
def test_planted_copies_are_found_as_they_are_flipped_noised_and_moved(space: Space) -> None:
    synthetic, noise = INDEPENDENT.copy(), np.random.default_rng(0).normal(0, 0.02, TRAINING[0].shape)
    synthetic[3] = TRAINING[7]
    synthetic[10] = np.flip(TRAINING[8], 2)
    synthetic[20] = TRAINING[9] + noise.astype(np.float32)
    synthetic[30] = np.roll(TRAINING[11], 1, axis=1)
    found = audit_space(space, synthetic, TRAINING, UNSEEN, image_variants(), RULES)
    assert {3, 10, 20} <= set(found.copies.tolist()) <= {3, 10, 20, 30}
    assert {3, 10, 20, 30} <= set(found.near.tolist())
    assert found.matches.indices[[3, 10, 20, 30], 0].tolist() == [7, 8, 9, 11]
    assert [found.variants[found.matches.variants[at]] for at in (3, 10, 20)] == [
        *("as it is", "flipped left-right", "as it is"),
    ]
    assert found.distances[3] == 0
    if space.of_images:
        assert "copies" in found.reasons[0]
    plain = audit_space(space, synthetic, TRAINING, UNSEEN, image_variants(flips=False, shift=0), RULES)
    assert 10 not in plain.copies


@pytest.mark.parametrize("space", spaces(), ids=lambda space: space.name)
def test_independent_images_pass(space: Space) -> None:
    found = audit_space(space, INDEPENDENT, TRAINING, UNSEEN, image_variants(), RULES)
    assert found.reasons == ()
    assert len(found.copies) == 0
    low, high = found.membership[1:]
    assert low < 0.5 < high
    assert 0.3 < found.closer < 0.7


def test_a_set_made_of_near_copies_fails_by_its_rate_and_leaks_membership() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, TRAINING[:60].shape).astype(np.float32)
    found = audit_space(PixelSpace(), TRAINING[:60] + noise, TRAINING, UNSEEN, image_variants(), RULES)
    assert found.rate.value == 1
    assert found.membership[1] > 0.6
    assert any("near-copy rate" in reason for reason in found.reasons)
    assert found.record()["near_copy_rate"] == 1


def test_duplicates_inside_the_set_are_counted_in_groups() -> None:
    synthetic = INDEPENDENT.copy()
    synthetic[5] = synthetic[6] = synthetic[4]
    synthetic[9] = synthetic[8]
    found = audit_space(PixelSpace(), synthetic, TRAINING, UNSEEN, image_variants(), RULES).duplicates
    assert found.groups[:2] == (3, 2)
    assert {(8, 9)} <= set(found.pairs)
    assert found.rate.count >= 5


def test_intervals_hold_their_rate_and_exact_is_that_of_clopper_and_pearson() -> None:
    distances, beside = np.linspace(1, 2, 60), np.linspace(0.8, 2, 40)
    distances[3] = 0.5
    rate = near_copy_rate(distances, beside, RULES)
    assert rate.count == 1
    assert rate.exact[0] == pytest.approx(1 - 0.975 ** (1 / 60))
    for low, high in (rate.wilson, rate.exact, rate.bootstrap):
        assert low <= rate.value <= high


def test_similarity_is_that_of_scikit_image() -> None:
    space, images = SimilaritySpace(step=1), np.concatenate([TRAINING[:3], TRAINING[3:6]], axis=1)
    found = space.distances(space.rows(images), space.rows(images))
    for one in range(3):
        for other in range(3):
            truth = np.mean([ssim(images[one, c], images[other, c], 2.0) for c in range(2)])
            assert found[one, other] == pytest.approx(1 - truth, abs=2e-5)


def test_membership_is_the_share_of_pairs_told_apart() -> None:
    members, others = np.array([0.1, 0.2, 0.5]), np.array([0.2, 0.4])
    area, low, high = membership(members, others, RULES)
    assert area == pytest.approx((2 + 1.5 + 0) / 6)
    assert low <= area <= high


def test_nearest_variants_are_exact_and_never_an_image_itself() -> None:
    images = TRAINING[:40]
    found = nearest_variants(PixelSpace(), images, images, image_variants(flips=False, shift=0), 2, same_set=True)
    flat = images.reshape(40, -1).astype(float) / (2 * 20)
    pairs = np.sqrt(((flat[:, None] - flat) ** 2).sum(-1)) + np.where(np.eye(40), np.inf, 0)
    np.testing.assert_allclose(found.distances, np.sort(pairs, axis=1)[:, :2], rtol=1e-9)
    np.testing.assert_allclose(found.reverse, pairs.min(axis=0), rtol=1e-9)


def test_reduced_averages_and_leaves_small_images_alone() -> None:
    image = np.arange(16.0).reshape(1, 1, 4, 4)
    np.testing.assert_allclose(reduced(image, 2)[0, 0], [[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_array_equal(reduced(image, 4), image)


def test_refusals_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="share: found 0"):
        MemorisationRules(share=0)
    with pytest.raises(ValueError, match="maximum_rate"):
        MemorisationRules(share=0.1, maximum_rate=0.05)
    with pytest.raises(ValueError, match="unseen: found shape"):
        audit_space(PixelSpace(), INDEPENDENT, TRAINING, UNSEEN[:, :, :5], image_variants(), RULES)
    with pytest.raises(ValueError, match="SSIM needs 11"):
        SimilaritySpace().rows(TRAINING[:, :, :8])
    with pytest.raises(ValueError, match="shift: found -1"):
        image_variants(shift=-1)
