"""A U-Net that was taught without labels too: no label, and label -1, add no class embedding."""

from __future__ import annotations

import pytest
import torch

from skiagraph.networks.unet import UNet, UNetConfig

from .filled import filled_unet, noise

CONFIG = UNetConfig(channels=8, multipliers=(1, 2), residual_blocks=1, heads=2, groups=4, classes=3, unlabelled=True)


def test_no_label_is_label_minus_one_is_no_embedding() -> None:
    network = filled_unet(CONFIG)
    x, t = noise(3, 1, 8, 8), torch.tensor([1.0, 2.0, 3.0])
    without = network(x, t)
    assert torch.equal(without, network(x, t, label=torch.full((3,), -1)))
    assert torch.equal(without, network(x, t, embedding=torch.zeros(3, 32)))
    mixed = network(x, t, label=torch.tensor([-1, 1, -1]))
    assert torch.equal(mixed[[0, 2]], without[[0, 2]])
    assert not torch.allclose(mixed[1], without[1])
    labelled = network(x, t, label=torch.tensor([1, 1, 1]))
    torch.testing.assert_close(mixed[1], labelled[1])


def test_rows_without_label_teach_no_class() -> None:
    network = filled_unet(CONFIG)
    network(noise(2, 1, 8, 8), torch.zeros(2), label=torch.tensor([-1, 2])).square().sum().backward()
    gradient = network.label_emb.weight.grad
    assert torch.equal(gradient[:2], torch.zeros(2, 32))
    assert gradient[2].abs().sum() > 0


def test_a_network_that_was_not_taught_refuses() -> None:
    plain = UNet(UNetConfig(channels=8, multipliers=(1,), residual_blocks=1, heads=2, groups=4, classes=3))
    x, t = noise(2, 1, 8, 8), torch.zeros(2)
    with pytest.raises(ValueError, match="give label"):
        plain(x, t)
    with pytest.raises(ValueError, match=r"0 \.\.\. 2"):
        plain(x, t, label=torch.tensor([-1, 0]))
    with pytest.raises(ValueError, match=r"-1 \.\.\. 2"):
        filled_unet(CONFIG)(x, t, label=torch.tensor([-2, 0]))
    with pytest.raises(ValueError, match="unlabelled"):
        UNetConfig(channels=8, multipliers=(1,), heads=2, groups=4, unlabelled=True)
