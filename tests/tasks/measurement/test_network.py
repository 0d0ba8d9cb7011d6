"""The U-Net by image size: published sizes and costs."""

from __future__ import annotations

import pytest

from skiagraph.errors import InputError
from skiagraph.tasks.measurement.network import multipliers_for, network_cost, unet_config
from skiagraph.tasks.measurement.settings import UNetSettings


@pytest.mark.parametrize(
    ("channels", "size", "parameters", "gigaoperations", "attention"),
    [(3, 128, 105_195_139, 156, (4, 8, 16)), (2, 256, 138_284_162, 563, (8, 16, 32))],
)
def test_published_networks(
    channels: int, size: int, parameters: int, gigaoperations: int, attention: tuple[int, ...]
) -> None:
    config = unet_config(UNetSettings(), channels, (size, size), mask_channel=False)
    assert config.attention_downsamplings == attention
    cost = network_cost(config, (size, size))
    assert cost.parameters == parameters
    assert round(cost.operations / 1e9) == gigaoperations


def test_multipliers_follow_the_image_size_and_nothing_else() -> None:
    assert multipliers_for((128, 128)) == (1, 1, 2, 3, 4)
    assert multipliers_for((256, 256)) == (1, 1, 2, 2, 4, 4)
    assert multipliers_for((64, 64)) == (1, 2, 3, 4)
    assert multipliers_for((32, 32)) == multipliers_for((16, 16)) == (1, 1, 2, 3, 4)
    assert multipliers_for((200, 96)) == (1, 1, 2, 3, 4)


def test_mask_channel_and_refusals() -> None:
    config = unet_config(UNetSettings(channels=64), 2, (64, 64), mask_channel=True)
    assert (config.in_channels, config.out_channels) == (3, 2)
    with pytest.raises(InputError, match="network: head_channels"):
        unet_config(UNetSettings(channels=8), 1, (32, 32), mask_channel=False)


def test_patches_make_a_network_cheaper_and_attention_has_a_limit() -> None:
    plain = UNetSettings(channels=16, multipliers=[1, 2, 2], residual_blocks=1, head_channels=16, groups=8)
    patched = plain.model_copy(update={"patch": 2, "attention": 8})
    config = unet_config(patched, 1, (64, 64), mask_channel=False)
    assert (config.patch, config.attention_downsamplings) == (2, (4,))
    assert unet_config(plain, 1, (64, 64), mask_channel=False).attention_downsamplings == (2, 4)
    costs = [network_cost(unet_config(s, 1, (64, 64), mask_channel=False), (64, 64)) for s in (plain, patched)]
    assert costs[1].operations < costs[0].operations / 3
