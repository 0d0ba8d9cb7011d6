"""Patches as channels: any size, nothing but zero when fresh, the plain U-Net for patches of one pixel."""

from __future__ import annotations

import pytest
import torch

from skiagraph.networks.patched import PatchedUNet


def small(patch: int, inputs: int = 3) -> PatchedUNet:
    torch.manual_seed(0)
    network = PatchedUNet(inputs, 2, channels=8, multipliers=(1, 2), patch=patch)
    for value in network.parameters():
        torch.nn.init.normal_(value, std=0.1)
    return network


@pytest.mark.parametrize("size", [(16, 16), (15, 18), (7, 5)])
@pytest.mark.parametrize("patch", [1, 2, 3])
def test_any_size_goes_in_and_comes_out(size: tuple[int, int], patch: int) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    out = small(patch)(x, torch.tensor([0.0, 5.0]))
    assert out.shape == (2, 2, *size)
    assert out.std() > 0


def test_fresh_networks_give_zero() -> None:
    network = PatchedUNet(2, 2, channels=8, multipliers=(1,))
    assert not network(torch.randn(1, 2, 8, 8), torch.zeros(1)).any()


def test_patches_of_one_pixel_are_the_plain_network() -> None:
    network, x = small(1), torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(network(x, torch.zeros(1)), network.unet(x, torch.zeros(1)))


def test_patches_without_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="patch: found 0"):
        PatchedUNet(patch=0)
