"""Kernels and borders of the blur."""

from __future__ import annotations

import pytest
import torch

from helpers.operators import random_like
from skiagraph.physics.blur import Blur, gaussian_kernel, motion_kernel


def test_kernels_are_normalised_and_centred() -> None:
    for kernel in (gaussian_kernel(1.3), motion_kernel(7, 20), motion_kernel(0), gaussian_kernel(2, 5)):
        assert kernel.sum() == pytest.approx(1, abs=1e-6)
        torch.testing.assert_close(kernel, kernel.flip(-2, -1))
    line = torch.arange(-4.0, 5)
    assert (gaussian_kernel(1.3)[0].sum(0) * line**2).sum() == pytest.approx(1.3**2, rel=0.03)
    assert torch.equal(motion_kernel(0), torch.tensor([[[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]]))


def test_motion_follows_its_angle() -> None:
    across, along = motion_kernel(6, 0, 9)[0], motion_kernel(6, 90, 9)[0]
    torch.testing.assert_close(across[4, 1:8], torch.full((7,), 1 / 7))
    torch.testing.assert_close(along, across.T)
    rising = motion_kernel(8, 45, 11)[0]
    assert rising[3, 7] > 0.05
    assert rising[7, 7] == 0


def test_borders() -> None:
    kernel = torch.tensor([[0.0, 0, 0], [0.25, 0.5, 0.25], [0, 0, 0]])
    x = torch.tensor([[[[4.0, 0, 0, 8.0]]]])
    expected = {"symmetric": [3.0, 1, 2, 6], "circular": [4.0, 1, 2, 5], "zero": [2.0, 1, 2, 4]}
    for border, values in expected.items():
        assert Blur(kernel, border).forward(x).flatten().tolist() == values  # type: ignore[arg-type]


def test_kernel_is_convolved_not_correlated() -> None:
    kernel = torch.zeros(1, 3, 3)
    kernel[0, 1, 2] = 1.0
    x = random_like((1, 1, 4, 5), torch.float32)
    assert torch.equal(Blur(kernel, "circular").forward(x), x.roll(1, -1))


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="std: found 0"):
        gaussian_kernel(0)
    with pytest.raises(ValueError, match="size: found 4"):
        gaussian_kernel(1, 4)
    with pytest.raises(ValueError, match="length: found -1"):
        motion_kernel(-1)
    with pytest.raises(ValueError, match="border: found 'reflect'"):
        Blur(torch.ones(1, 1), "reflect")  # type: ignore[arg-type]
