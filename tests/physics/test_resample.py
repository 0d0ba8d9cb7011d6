"""Numbers of section 6.3: the super-resolution matrix, its borders, and the released transpose."""

from __future__ import annotations

import pytest
import torch

from helpers.operators import random_like
from skiagraph.physics.resample import BlockMean, CubicDownsample, cubic_matrix, nearest_upsample


def test_rows_sum_to_one_and_taps_are_reflected() -> None:
    matrix = cubic_matrix(32, 4)
    torch.testing.assert_close(matrix.sum(1), torch.ones(8, dtype=torch.float64))
    assert int((matrix[4] != 0).sum()) == 16
    inner = matrix[4, 10:26]
    torch.testing.assert_close(inner, inner.flip(0))
    first = torch.zeros(32, dtype=torch.float64)
    first[:10] = inner[6:]
    first[:6] += inner[:6].flip(0)
    torch.testing.assert_close(matrix[0], first)


def test_interior_equals_antialiased_bicubic_and_borders_do_not() -> None:
    x = random_like((1, 2, 64, 48), torch.float32)
    ours = CubicDownsample(64, 48).forward(x)
    theirs = torch.nn.functional.interpolate(x, scale_factor=0.25, mode="bicubic", antialias=True)
    assert (ours - theirs)[..., 2:-2, 2:-2].abs().max() < 1e-6
    assert (ours - theirs).abs().max() > 1e-3


def test_eigenvalues_with_the_released_transpose() -> None:
    for size, least in ((128, 0.642), (32, 0.662)):
        upsampling = (
            nearest_upsample(torch.eye(size // 4, dtype=torch.float64)[:, None, None])
            .mean(-2)
            .reshape(size // 4, size)
            .T
        )
        values = torch.linalg.eigvals(cubic_matrix(size) @ upsampling)
        assert values.imag.abs().max() < 1e-9
        assert values.real.min() == pytest.approx(least, abs=1e-3)
        assert values.real.max() == pytest.approx(1.0, abs=1e-9)


def test_nearest_upsampling_repeats_pixels() -> None:
    y = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    rows = [[1.0, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    assert torch.equal(nearest_upsample(y, 2), torch.tensor([[rows]]))
    assert nearest_upsample(y).shape == (1, 1, 8, 8)
    difference = nearest_upsample(y) - CubicDownsample(8, 8).adjoint(y)
    assert difference.abs().max() > 0.1, "it is not the adjoint"


def test_block_mean_closed_forms() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    operator = BlockMean(2)
    assert torch.equal(operator.forward(x), torch.tensor([[[[2.5, 4.5], [10.5, 12.5]]]]))
    assert torch.equal(operator.forward(operator.pinv(x)), x)


def test_matrix_handed_out_is_a_copy() -> None:
    cubic_matrix(16, 4).zero_()
    assert cubic_matrix(16, 4).sum() == pytest.approx(4.0)
