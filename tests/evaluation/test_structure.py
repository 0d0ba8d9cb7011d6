"""Structure measures against formulas written out and against what they must not notice."""

from __future__ import annotations

import numpy as np
import pytest

from skiagraph.evaluation.fidelity import ssim
from skiagraph.evaluation.structure import gradient_deviation, multiscale_ssim, normalised_information, slice_change

GENERATOR = np.random.default_rng(0)
ROWS, COLUMNS = np.meshgrid(np.linspace(0, 3, 64), np.linspace(0, 3, 48), indexing="ij")
TRUTH = 0.5 + 0.4 * np.sin(2 * ROWS) * np.cos(3 * COLUMNS)
NOISY = TRUTH + 0.1 * GENERATOR.normal(size=TRUTH.shape)
MASK = (ROWS - 1.5) ** 2 + (COLUMNS - 1.5) ** 2 < 1.2


def test_equal_images_are_perfect() -> None:
    assert multiscale_ssim(TRUTH, TRUTH, 1.0, MASK) == pytest.approx(1)
    assert gradient_deviation(TRUTH, TRUTH, 1.0, MASK) == 0
    assert normalised_information(TRUTH, TRUTH, MASK) == pytest.approx(2)


def test_what_lies_outside_the_mask_does_not_count() -> None:
    other = np.where(MASK, TRUTH, 9.0)
    assert multiscale_ssim(other, TRUTH, 1.0, MASK) == pytest.approx(1)
    assert normalised_information(other, TRUTH, MASK) == pytest.approx(2)


def test_one_scale_is_single_scale_ssim() -> None:
    """MONAI's windows lie inside the image, as those of `ssim`, and the box of no mask is the whole image."""
    assert multiscale_ssim(NOISY, TRUTH, 1.0, scales=1) == pytest.approx(ssim(NOISY, TRUTH, 1.0), abs=2e-3)
    assert multiscale_ssim(NOISY, TRUTH, 1.0) > multiscale_ssim(NOISY, TRUTH, 1.0, scales=1)


def test_gradient_deviation_is_its_formula() -> None:
    """A ramp against twice the ramp on one half: the similarity has two values, its deviation is known."""
    ramp = np.repeat(np.linspace(0, 1, 40)[None], 40, 0)
    other = ramp.copy()
    other[20:] *= 2
    step = 2 / 39
    slope, constant = 2 * step, 170 / 255**2  # Prewitt over 3: a third of three differences over two halved pixels
    similar = (2 * 2 * slope**2 + constant) / (5 * slope**2 + constant)
    inner = np.zeros((40, 40), bool)
    inner[4:16, 4:36] = inner[24:36, 4:36] = True
    assert gradient_deviation(other, ramp, 1.0, inner) == pytest.approx((1 - similar) / 2, rel=1e-6)


def test_information_survives_an_inversion_and_vanishes_between_strangers() -> None:
    assert normalised_information(1 - TRUTH, TRUTH) == pytest.approx(2)
    strangers = normalised_information(GENERATOR.normal(size=(200, 200)), GENERATOR.normal(size=(200, 200)), bins=8)
    assert strangers == pytest.approx(1, abs=5e-3)


def test_slice_change_is_the_mean_step_where_both_slices_count() -> None:
    volume = np.arange(4.0)[:, None, None] ** 2 * np.ones((4, 3, 3))
    mask = np.ones((4, 3, 3), bool)
    mask[3] = False
    assert slice_change(volume, mask) == pytest.approx((1 + 3) / 2)
    assert slice_change(np.moveaxis(volume, 0, 2), np.moveaxis(mask, 0, 2), axis=2) == pytest.approx(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: multiscale_ssim(TRUTH, TRUTH, 1.0, scales=5), "scales: found 5"),
        (lambda: multiscale_ssim(TRUTH[:8], TRUTH[:8], 1.0), "at least 11"),
        (lambda: gradient_deviation(TRUTH[:, :4], TRUTH[:, :4], 1.0), "at least 6"),
        (lambda: normalised_information(np.ones(9), np.arange(9.0)), "image: found one value"),
        (lambda: slice_change(TRUTH[None]), "needs two"),
        (lambda: slice_change(np.ones((2, 2, 2)), np.array([1, 0])[:, None, None]), "no voxel"),
    ],
)
def test_what_cannot_be_measured_is_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]
