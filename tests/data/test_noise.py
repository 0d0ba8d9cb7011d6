"""Noise: every estimate finds a known covariance, and whitening makes it white at the level of the file."""

from __future__ import annotations

import numpy as np
import pytest

from skiagraph.data.noise import (
    NoiseModel,
    noise_from_background,
    noise_from_calibration,
    noise_from_covariance,
    noise_from_repetitions,
    noise_from_scan,
    transform_coils,
)
from skiagraph.data.simulation import centred_ifft2
from skiagraph.errors import DataError, InputError

COILS = 4


def _psi() -> np.ndarray:
    phase = np.exp(1j * np.arange(COILS))
    base = 0.3 ** np.abs(np.subtract.outer(np.arange(COILS), np.arange(COILS))) * np.outer(phase, phase.conj())
    scale = np.array([1.0, 2.0, 0.5, 1.5])
    return 0.04 * base * np.outer(scale, scale)


def _noise(*shape: int, seed: int = 0) -> np.ndarray:
    """(coils, *shape) samples with covariance `_psi` per part."""
    draw = np.random.default_rng(seed).standard_normal((2, COILS, int(np.prod(shape))))
    return (np.linalg.cholesky(_psi()) @ (draw[0] + 1j * draw[1])).reshape(COILS, *shape)


def _error(model: NoiseModel) -> float:
    return float(np.abs(model.covariance - _psi()).max() / np.abs(_psi()).max())


def test_a_noise_scan_gives_the_covariance_and_its_mean_is_no_noise() -> None:
    model = noise_from_scan(_noise(40_000) + 3.0)
    assert _error(model) < 0.02
    assert model.level == pytest.approx(float(np.sqrt(np.trace(_psi()).real / COILS)), rel=0.01)
    assert model.correlation == pytest.approx(0.3, abs=0.02)
    assert model.record()["samples_per_coil"] == 40_000


def test_repetitions_give_the_noise_of_one_whatever_the_image() -> None:
    image = 100 * np.random.default_rng(5).standard_normal((COILS, 80, 80))
    repeats = np.stack([image + _noise(80, 80, seed=seed) for seed in range(3)])
    assert _error(noise_from_repetitions(repeats)) < 0.05
    with pytest.raises(InputError, match="2 or more repetitions"):
        noise_from_repetitions(repeats[:1])


def test_background_corners_give_the_noise_of_k_space_and_tissue_in_one_corner_is_left_out() -> None:
    images = centred_ifft2(_noise(160, 160))
    images[:, 40:120, 40:120] += 50
    images[:, :20, :20] += 5
    assert _error(noise_from_background(images)) < 0.12


def test_ends_of_the_calibration_lines_give_the_noise() -> None:
    kspace = _noise(200, 64)[None]
    kspace[:, :, 80:120] += 1000
    kspace[0, :, 0, 3] += 50  # a spike
    mask = np.zeros(64, dtype=bool)
    mask[20:44] = True
    for sampled in (mask, np.ones(64, dtype=bool)):
        model = noise_from_calibration(kspace * sampled, sampled)
        assert not model.upper  # as strong in the inner half of the ends as in the outer one
        assert _error(model) < 0.15
    kspace *= 1 + np.exp(-np.abs(np.arange(200) - 100) / 20)[:, None] * 1000
    assert noise_from_calibration(kspace, np.ones(64, dtype=bool)).upper


def test_whitened_noise_is_white_at_the_level_of_the_file() -> None:
    model = noise_from_covariance(_psi())
    white = noise_from_scan(transform_coils(model.whitener(), _noise(200, 200)[None])[0].reshape(COILS, -1))
    np.testing.assert_allclose(white.covariance, model.level**2 * np.eye(COILS), atol=0.02 * model.level**2)
    exact = model.whitener() @ _psi() @ model.whitener().conj().T
    np.testing.assert_allclose(exact, model.level**2 * np.eye(COILS), atol=1e-12)


def test_one_coil_is_left_as_it_is() -> None:
    model = noise_from_scan(_noise(1000)[:1])
    np.testing.assert_allclose(model.whitener(), [[1.0]])
    assert model.correlation == 0


def test_what_is_no_covariance_is_refused() -> None:
    with pytest.raises(DataError, match="not Hermitian"):
        noise_from_covariance(np.array([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(DataError, match=r"shape \(2, 3\)"):
        noise_from_covariance(np.ones((2, 3)))
    with pytest.raises(DataError, match="a coil is dead or there are too few samples"):
        noise_from_scan(_noise(3)).whitener()
    dead = _noise(100)
    dead[1] = 0
    with pytest.raises(DataError, match="a coil is dead"):
        noise_from_scan(dead, "scan.h5").whitener()
    with pytest.raises(DataError, match="noise scan: has shape"):
        noise_from_scan(np.full((2, 50), np.nan))
    with pytest.raises(InputError, match="mixes 4 coils, but the data have 3"):
        transform_coils(np.eye(4), np.zeros((3, 8, 8), np.complex64))
