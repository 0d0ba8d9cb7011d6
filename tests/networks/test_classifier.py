"""The encoder classifier: pools, sizes, gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from skiagraph.networks.classifier import AttentionPool, ClassifierConfig, EncoderClassifier
from skiagraph.networks.unet import parameter_count

from .filled import filled_classifier, noise

ADAPTIVE = ClassifierConfig(
    out_channels=3, channels=8, multipliers=(1, 2), residual_blocks=1, heads=2, groups=4, pool="adaptive"
)
ATTENTION = replace(ADAPTIVE, pool="attention", image_size=(6, 8), residual_resampling=True)


def test_the_released_128_pixel_classifier_has_its_size() -> None:
    config = ClassifierConfig(
        in_channels=3,
        out_channels=1000,
        channels=128,
        multipliers=(1, 1, 2, 3, 4),
        residual_blocks=2,
        attention_downsamplings=(4, 8, 16),
        head_channels=64,
        residual_resampling=True,
        image_size=(128, 128),
    )
    with torch.device("meta"):
        network = EncoderClassifier(config)
    names = network.state_dict()
    assert tuple(names["out.2.positional_embedding"].shape) == (512, 65)
    assert tuple(names["out.2.c_proj.weight"].shape) == (1000, 512, 1)
    assert 42e6 < parameter_count(network) < 44e6


@pytest.mark.parametrize("config", [ADAPTIVE, ATTENTION])
def test_logits_depend_on_image_and_time_and_samples_do_not_mix(config: ClassifierConfig) -> None:
    network = filled_classifier(config).double()
    x, time = noise(3, 1, 6, 8).double(), torch.tensor([1.0, 500.0, 999.0])
    with torch.no_grad():
        together = network(x, time)
        alone = torch.cat([network(x[i : i + 1], time[i : i + 1]) for i in range(3)])
        earlier = network(x, time - 1)
    assert together.shape == (3, 3)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)
    assert (together - earlier).abs().amax(dim=1).min() > 1e-5


@pytest.mark.parametrize(("dimensions", "size"), [(1, (5,)), (2, (5, 3)), (3, (3, 5, 4))])
def test_mean_pooling_takes_any_size_and_dimension(dimensions: int, size: tuple[int, ...]) -> None:
    network = filled_classifier(replace(ADAPTIVE, dimensions=dimensions))
    assert network(noise(2, 1, *size), torch.tensor(3.0)).shape == (2, 3)


def test_attention_pooling_works_in_three_dimensions_and_odd_sizes() -> None:
    network = filled_classifier(replace(ATTENTION, dimensions=3, image_size=(3, 5, 4)))
    assert network.config.pooled_positions == 2 * 3 * 2
    assert network(noise(1, 1, 3, 5, 4), torch.tensor(3.0)).shape == (1, 3)


def test_attention_pooling_refuses_another_size() -> None:
    with pytest.raises(ValueError, match=r"spatial size \(8, 8\), but attention pooling was built for \(6, 8\)"):
        filled_classifier(ATTENTION)(noise(1, 1, 8, 8), torch.tensor(3.0))


def test_the_pool_of_equal_tokens_is_their_projection() -> None:
    pool = AttentionPool(positions=4, channels=6, heads=2, outputs=3)
    with torch.no_grad():
        pool.positional_embedding.zero_()
    token = noise(1, 6, 1)
    wanted = pool.c_proj(pool.qkv_proj(token)[:, 12:])[..., 0]
    torch.testing.assert_close(pool(token[..., None].expand(1, 6, 2, 2)), wanted)


def test_frozen_classifiers_give_gradients_of_the_image_only() -> None:
    network = filled_classifier(ATTENTION).requires_grad_(False)
    x = noise(1, 1, 6, 8).requires_grad_(True)
    network(x, torch.tensor(10.0)).log_softmax(dim=-1)[:, 1].sum().backward()
    assert x.grad is not None
    assert x.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pool": "max"}, "allowed: 'attention', 'adaptive'"),
        ({"image_size": (8, 8)}, "no effect with pool 'adaptive'"),
        ({"pool": "attention"}, "image_size is None; attention pooling needs 2 sizes"),
        ({"pool": "attention", "image_size": (8,)}, r"image_size is \(8,\)"),
    ],
)
def test_impossible_configurations_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(ADAPTIVE, **change)
