"""Fidelity measures against values worked out by hand, and their refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from skiagraph.evaluation import fit_scale, nmse, psnr, ssim


def _images(seed: int = 0, shape: tuple[int, ...] = (24, 19)) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.uniform(0.5, 1.0, shape)
    return truth + 0.1 * generator.standard_normal(shape), truth


def test_psnr_of_a_constant_error_is_known() -> None:
    truth = np.full((4, 5), 2.0)
    assert psnr(truth + 0.1, truth, 1.0) == pytest.approx(20.0)
    assert psnr(truth + 0.1, truth, 2.0) == pytest.approx(20.0 + 20 * math.log10(2))
    assert psnr(truth, truth, 1.0) == math.inf


def test_only_masked_elements_count() -> None:
    image, truth = _images()
    mask = np.zeros(truth.shape)
    mask[3:7, 2:9] = 1
    spoiled = np.where(mask > 0, image, 1e6)
    for measure in (
        lambda x: psnr(x, truth, 1.0, mask),
        lambda x: nmse(x, truth, mask),
        lambda x: fit_scale(x, truth, mask),
    ):
        assert measure(spoiled) == pytest.approx(measure(image), rel=1e-12)


def test_fitted_scale_undoes_a_factor_and_is_a_minimum() -> None:
    image, truth = _images()
    assert fit_scale(truth * 4, truth) == pytest.approx(0.25)
    best = fit_scale(image, truth)
    errors = [((factor * image - truth) ** 2).sum() for factor in (best, best * 1.001, best * 0.999)]
    assert errors[0] == min(errors)


def test_nmse_of_nothing_is_one_and_of_the_truth_zero() -> None:
    _, truth = _images()
    assert nmse(np.zeros_like(truth), truth) == pytest.approx(1.0)
    assert nmse(truth, truth) == 0


def test_ssim_of_constant_images_is_the_luminance_term() -> None:
    one, other = np.full((16, 13), 0.4), np.full((16, 13), 0.6)
    constant = 0.01**2
    expected = (2 * 0.4 * 0.6 + constant) / (0.4**2 + 0.6**2 + constant)
    assert ssim(one, other, 1.0) == pytest.approx(expected, rel=1e-9)
    assert ssim(one, one, 1.0) == pytest.approx(1.0)


def test_ssim_falls_with_noise_and_is_not_row_wise() -> None:
    image, truth = _images(shape=(40, 40))
    assert ssim(image, truth, 1.0) < ssim((image + truth) / 2, truth, 1.0) < 1
    assert ssim(image.T, truth.T, 1.0) == pytest.approx(ssim(image, truth, 1.0), rel=1e-9)


def test_ssim_mask_selects_window_centres() -> None:
    image, truth = _images(shape=(60, 30))
    image[:20] = truth[:20]
    top, bottom = np.zeros(truth.shape), np.zeros(truth.shape)
    top[:14], bottom[30:] = 1, 1
    assert ssim(image, truth, 1.0, top) == pytest.approx(1.0)
    assert ssim(image, truth, 1.0, bottom) < 0.9


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_a_range_is_demanded(measure: object) -> None:
    image, truth = _images()
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="data_range"):
            measure(image, truth, bad)  # type: ignore[operator]
    with pytest.raises(TypeError, match="data_range"):
        measure(image, truth)  # type: ignore[operator]


def test_empty_masks_never_score() -> None:
    image, truth = _images()
    empty = np.zeros(truth.shape)
    border = np.zeros(truth.shape)
    border[0] = 1
    for call in (
        lambda: psnr(image, truth, 1.0, empty),
        lambda: nmse(image, truth, empty),
        lambda: fit_scale(image, truth, empty),
        lambda: ssim(image, truth, 1.0, empty),
        lambda: ssim(image, truth, 1.0, border),
    ):
        with pytest.raises(ValueError, match="mask: found no selected"):
            call()


def test_refusals_name_what_was_found() -> None:
    image, truth = _images()
    with pytest.raises(TypeError, match="image: found complex128"):
        psnr(image * 1j, truth, 1.0)
    with pytest.raises(ValueError, match=r"image: found shape \(24,\)"):
        psnr(image[:, 0], truth, 1.0)
    with pytest.raises(ValueError, match="image: found 1 values that are not finite"):
        psnr(np.where(image == image.max(), np.nan, image), truth, 1.0)
    with pytest.raises(ValueError, match="truth: found zero"):
        nmse(image, np.zeros_like(truth))
    with pytest.raises(ValueError, match="image: found zero"):
        fit_scale(np.zeros_like(truth), truth)
    with pytest.raises(ValueError, match=r"allowed is one image \(H, W\)"):
        ssim(image[:, :8], truth[:, :8], 1.0)
