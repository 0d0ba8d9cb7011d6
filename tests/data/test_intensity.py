"""Scaling and its inverse; N4 takes a known shading out."""

from __future__ import annotations

import numpy as np
import pytest

from skiagraph.data.intensity import Scaling, correct_bias, percentile_scaling, window_scaling
from skiagraph.data.volume import Volume
from skiagraph.errors import DataError, InputError


def test_percentiles_become_zero_and_one_and_come_back() -> None:
    values = np.arange(1001, dtype=np.float64).reshape(7, 11, 13)
    scaling = percentile_scaling(values, percentiles=(10.0, 90.0))
    assert (scaling.low, scaling.high) == (100.0, 900.0)
    scaled = scaling.apply(values)
    assert (float(scaled.min()), float(scaled.max())) == (0.0, 1.0)
    np.testing.assert_allclose(scaling.inverse(scaled), np.clip(values, 100, 900), rtol=1e-6)
    np.testing.assert_allclose(scaling.inverse(scaling.apply(values, clip=False)), values, rtol=1e-5, atol=1e-3)
    assert Scaling(**scaling.record()) == scaling
    assert window_scaling(-160, 240).apply(np.array([-1000.0, 40.0, 3000.0])).tolist() == [0.0, 0.5, 1.0]


def test_only_the_mask_counts() -> None:
    values = np.concatenate([np.zeros(900), np.linspace(1, 2, 100)])
    assert percentile_scaling(values, values > 0, (0.0, 100.0)).low == pytest.approx(1.0)


def test_what_cannot_be_scaled_is_refused() -> None:
    values = np.random.default_rng(0).random((4, 4))
    for make, error, words in (
        (lambda: percentile_scaling(np.full((4, 4), 3.0)), DataError, "both 3"),
        (lambda: percentile_scaling(values, values > 2), DataError, "mask is empty"),
        (lambda: percentile_scaling(values / 0), DataError, "NaN or infinite"),
        (lambda: percentile_scaling(values, np.ones((3, 3), bool)), InputError, "mask has shape"),
        (lambda: percentile_scaling(values, percentiles=(60.0, 40.0)), InputError, "percentiles"),
        (lambda: window_scaling(5, 5), DataError, "low < high"),
    ):
        with pytest.raises(error, match=words), np.errstate(divide="ignore"):
            make()


def test_n4_takes_a_known_shading_out() -> None:
    pytest.importorskip("SimpleITK", reason="bias correction needs SimpleITK")
    side = 32
    line = np.linspace(-1, 1, side)
    x, y, z = np.meshgrid(line, line, line, indexing="ij")
    mask = x**2 + y**2 + z**2 < 0.8
    truth = np.where(mask, np.where(x**2 + y**2 + z**2 < 0.3, 60.0, 100.0), 0.0)
    shading = np.exp(0.3 * x - 0.2 * y * z)
    volume = Volume((truth * shading).astype(np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))
    corrected, field = correct_bias(volume, mask, shrink=2)
    inner = mask & (x**2 + y**2 + z**2 > 0.35)
    before = volume.array[inner].std() / volume.array[inner].mean()
    after = corrected.array[inner].std() / corrected.array[inner].mean()
    assert after < 0.4 * before
    np.testing.assert_allclose(corrected.array * field, volume.array, rtol=1e-5)
    with pytest.raises(DataError, match="mask is empty"):
        correct_bias(volume, np.zeros_like(mask))
    with pytest.raises(InputError, match="mask has shape"):
        correct_bias(volume, mask[1:])
