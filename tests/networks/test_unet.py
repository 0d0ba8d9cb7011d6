"""The U-Net: published sizes, exact zeros, conditions, sizes, precision and gradients."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from skiagraph.networks.encoder import pad_to_multiple
from skiagraph.networks.unet import UNet, UNetConfig, parameter_count

from .filled import filled_unet, noise

TINY = UNetConfig(channels=8, multipliers=(1, 2), residual_blocks=1, attention_downsamplings=(2,), heads=2, groups=4)


@pytest.mark.parametrize(
    ("channels", "multipliers", "attention", "count"),
    [(3, (1, 1, 2, 3, 4), (4, 8, 16), 105_195_139), (2, (1, 1, 2, 2, 4, 4), (8, 16, 32), 138_284_162)],
)
def test_published_parameter_counts(
    channels: int, multipliers: tuple[float, ...], attention: tuple[int, ...], count: int
) -> None:
    config = UNetConfig(
        in_channels=channels,
        out_channels=channels,
        channels=128,
        multipliers=multipliers,
        residual_blocks=2,
        attention_downsamplings=attention,
        head_channels=64,
        residual_resampling=True,
    )
    with torch.device("meta"):
        network = UNet(config)
    assert parameter_count(network) == count


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("learned", [False, True])
def test_a_fresh_network_gives_exactly_zero(dimensions: int, residual: bool, learned: bool) -> None:
    config = replace(TINY, dimensions=dimensions, residual_resampling=residual, conv_resampling=learned)
    x = noise(2, 1, *[6] * dimensions)
    out = UNet(config)(x, torch.tensor([0.0, 999.0]))
    assert out.shape == x.shape
    assert torch.equal(out, torch.zeros_like(out))


@pytest.mark.parametrize(
    ("change", "size"),
    [
        ({}, (5, 8)),
        ({"multipliers": (1, 1, 1, 1)}, (1, 3)),
        ({"dimensions": 1}, (7,)),
        ({"dimensions": 3}, (3, 4, 5)),
        ({"dimensions": 3, "downsample_depth": False}, (1, 4, 5)),
        ({"residual_resampling": True}, (9, 11)),
        ({"conv_resampling": False}, (3, 2)),
    ],
)
def test_any_size_goes_in_and_comes_out(change: dict[str, object], size: tuple[int, ...]) -> None:
    network = filled_unet(replace(TINY, out_channels=3, **change))
    out = network(noise(1, 1, *size), torch.tensor(3.0))
    assert out.shape == (1, 3, *size)
    assert torch.isfinite(out).all()
    assert out.std() > 0


def test_depth_is_untouched_when_it_is_not_downsampled() -> None:
    network = filled_unet(replace(TINY, dimensions=3, downsample_depth=False))
    shapes: list[torch.Size] = []
    network.middle_block.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    network(noise(1, 1, 3, 4, 4), torch.tensor(0.0))
    assert shapes == [(1, 16, 3, 2, 2)]


def test_padding_repeats_the_border_and_is_cropped_exactly() -> None:
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    padded, crop = pad_to_multiple(x, (2, 4))
    assert torch.equal(padded[0, 0], torch.tensor([[0.0, 1, 2, 2], [3, 4, 5, 5]]))
    assert torch.equal(padded[crop], x)
    padded, crop = pad_to_multiple(x, (4, 8))
    assert padded.shape == (1, 1, 4, 8)
    assert torch.equal(padded[crop], x)
    assert pad_to_multiple(x, (2, 3))[0] is x


def test_a_divisible_size_is_not_padded_and_an_odd_one_equals_the_padded_input() -> None:
    network, x = filled_unet(TINY), noise(1, 1, 7, 8)
    padded, crop = pad_to_multiple(x, (2, 2))
    time = torch.tensor([5.0])
    assert torch.equal(network(x, time), network(padded, time)[crop])


@pytest.mark.parametrize("scale_shift", [True, False])
def test_time_and_class_change_the_output_and_samples_do_not_mix(scale_shift: bool) -> None:
    network = filled_unet(replace(TINY, classes=3, scale_shift=scale_shift)).double()
    x = noise(1, 1, 8, 8).double().expand(4, 1, 8, 8)
    time, label = torch.tensor([1.0, 1.0, 600.5, 600.5]), torch.tensor([0, 2, 0, 2])
    with torch.no_grad():
        together = network(x, time, label)
        alone = torch.cat([network(x[i : i + 1], time[i : i + 1], label[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)
    distances = torch.pdist(together.flatten(1))
    assert distances.min() > 1e-3


def test_a_row_passed_directly_equals_its_label() -> None:
    network, x, time = filled_unet(replace(TINY, classes=3)), noise(2, 1, 4, 4), torch.tensor(7.0)
    label = torch.tensor([2, 0])
    by_label = network(x, time, label)
    assert torch.equal(network(x, time, embedding=network.class_embedding(label)), by_label)
    unknown = network(x, time, embedding=torch.zeros(2, 32))
    assert (unknown - by_label).abs().max() > 1e-3


def test_a_vector_condition_is_used_and_combines_with_a_label() -> None:
    network, x, time = filled_unet(replace(TINY, classes=2, embedding_inputs=3)), noise(2, 1, 4, 4), torch.tensor(7.0)
    label = torch.tensor([0, 1])
    vectors = noise(2, 3, seed=5)
    out = network(x, time, label, vectors)
    assert (network(x, time, label, vectors + 1) - out).abs().max() > 1e-3
    assert (network(x, time, 1 - label, vectors) - out).abs().max() > 1e-3
    with pytest.raises(ValueError, match=r"needs embedding, shape \(2, 3\)"):
        network(x, time, label)
    with pytest.raises(ValueError, match="has 2 classes; give label"):
        network(x, time, embedding=vectors)


@pytest.mark.parametrize(
    ("classes", "arguments", "message"),
    [
        (0, {"label": torch.tensor([0, 0])}, "no classes; leave it out"),
        (0, {"embedding": torch.zeros(2, 32)}, "embedding was given, but nothing takes it"),
        (3, {}, "has 3 classes; give label"),
        (3, {"label": torch.tensor([0, 3])}, r"label spans 0 ... 3; allowed: 0 ... 2"),
        (3, {"label": torch.tensor([0, -1])}, r"label spans -1 ... 0; allowed: 0 ... 2"),
        (3, {"label": torch.tensor([0, 1, 2])}, r"label has shape \(3,\); give \(\) or \(2,\)"),
        (3, {"label": torch.tensor([0, 1]), "embedding": torch.zeros(2, 32)}, "nothing takes it"),
        (3, {"embedding": torch.zeros(2, 8)}, r"takes \(2, 32\)"),
        (0, {"x": torch.zeros(2, 2, 4, 4)}, r"takes \(B, 1, size, size\)"),
        (0, {"x": torch.zeros(2, 1, 4)}, r"x has shape \(2, 1, 4\)"),
        (0, {"time": torch.zeros(3)}, r"time has shape \(3,\)"),
    ],
)
def test_conditions_are_never_ignored(classes: int, arguments: dict[str, Tensor], message: str) -> None:
    network = UNet(replace(TINY, classes=classes))
    given = {"x": torch.zeros(2, 1, 4, 4), "time": torch.zeros(2), **arguments}
    with pytest.raises(ValueError, match=message):
        network(**given)


def test_a_fractional_label_is_refused() -> None:
    with pytest.raises(TypeError, match="give whole numbers"):
        UNet(replace(TINY, classes=3))(torch.zeros(1, 1, 4, 4), torch.zeros(1), torch.zeros(1))


def test_the_two_attention_orders_share_keys_but_not_outputs() -> None:
    legacy = filled_unet(TINY)
    new = UNet(replace(TINY, attention_order="new")).eval()
    new.load_state_dict(legacy.state_dict())
    x, time = noise(1, 1, 8, 8), torch.tensor(1.0)
    assert (legacy(x, time) - new(x, time)).abs().max() > 1e-4
    single, other = (filled_unet(replace(TINY, heads=1, attention_order=order)) for order in ("legacy", "new"))
    assert torch.equal(single(x, time), other(x, time))


def test_checkpointing_changes_neither_output_nor_gradient() -> None:
    plain = filled_unet(TINY).train()
    saving = UNet(replace(TINY, checkpointing=True)).train()
    saving.load_state_dict(plain.state_dict())
    saving.time_embed.requires_grad_(False)
    gradients = []
    for network in (plain, saving):
        x = noise(2, 1, 6, 6).requires_grad_(True)
        network(x, torch.tensor([1.0, 2.0])).square().sum().backward()
        gradients.append((x.grad, network.middle_block[1].qkv.weight.grad))
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)
    assert saving.time_embed.weight.grad is None


def test_frozen_weights_still_give_the_gradient_of_the_input() -> None:
    network = filled_unet(TINY).requires_grad_(False)
    x = noise(1, 1, 5, 5).requires_grad_(True)
    network(x, torch.tensor(3.0)).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().max() > 0


def test_float64_and_bfloat16_agree_with_float32() -> None:
    network, x, time = filled_unet(TINY), noise(1, 1, 8, 8), torch.tensor(250.0)
    with torch.no_grad():
        single = network(x, time)
        with torch.autocast("cpu", torch.bfloat16):
            half = network(x, time)
        again = network(x, time)
        double = network.double()(x.double(), time.double())
    scale = single.abs().max()
    assert torch.equal(single, again)
    assert (double - single).abs().max() < 1e-5 * scale
    assert (half.float() - single).abs().max() < 0.05 * scale


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # raised inside torch
def test_the_directional_derivative_by_forward_mode_matches_reverse_mode() -> None:
    network = filled_unet(replace(TINY, classes=2)).requires_grad_(False).double()
    x, time = noise(1, 1, 4, 4).double(), torch.tensor(100.0, dtype=torch.float64)
    row, direction = network.class_embedding(torch.tensor([0])), noise(1, 32, seed=3).double()
    cotangent = noise(1, 1, 4, 4, seed=4).double()
    _, pushed = torch.func.jvp(lambda e: network(x, time, embedding=e), (row,), (direction,))
    row = row.detach().requires_grad_(True)
    (pulled,) = torch.autograd.grad(network(x, time, embedding=row), row, cotangent)
    torch.testing.assert_close((pushed * cotangent).sum(), (pulled * direction).sum())


def test_the_configuration_survives_plain_data() -> None:
    plain = asdict(TINY)
    plain["multipliers"] = list(plain["multipliers"])
    assert UNetConfig(**plain) == TINY


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimensions": 4}, "dimensions is 4; allowed: 1, 2, 3"),
        ({"channels": 0}, "channels is 0"),
        ({"multipliers": ()}, "multipliers is"),
        ({"multipliers": (1, 0)}, "multipliers is"),
        ({"dropout": 1.0}, "allowed: 0 <= dropout < 1"),
        ({"attention_order": "old"}, "allowed: 'legacy', 'new'"),
        ({"attention_downsamplings": (4,)}, r"has \[4\]; with 2 levels allowed: \(1, 2\)"),
        ({"heads": 3}, "heads is 3; it must divide the 16 channels"),
        ({"head_channels": 5}, "head_channels is 5; it must divide the 16 channels"),
        ({"classes": -1}, "classes is -1"),
        ({"patch": 0}, "patch is 0"),
        ({"fine": -1}, "fine is -1"),
        ({"patch": 2, "dimensions": 3}, "1 unless dimensions is 2"),
        ({"residual_blocks": True}, "residual_blocks is True"),
    ],
)
def test_impossible_configurations_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_patches_enter_as_channels_and_leave_as_pixels(size: tuple[int, int]) -> None:
    config = replace(TINY, patch=2)
    network, x = filled_unet(config), noise(2, 1, *size)
    assert network(x, torch.tensor(3.0)).shape == x.shape
    if size == (8, 8):
        inner = filled_unet(config.on_patches())
        inner.load_state_dict(network.state_dict())
        expected = inner(functional.pixel_unshuffle(x, 2), torch.tensor(3.0))
        assert torch.equal(network(x, torch.tensor(3.0)), functional.pixel_shuffle(expected, 2))


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_convolutions_on_pixels_follow_the_patches_and_see_the_input(size: tuple[int, int]) -> None:
    config = replace(TINY, patch=2, fine=4)
    network, x, t = filled_unet(config), noise(2, 1, *size), torch.tensor(3.0)
    assert not UNet(config)(x, t).any()
    assert network(x, t).shape == x.shape
    if size == (8, 8):
        inner = filled_unet(config.on_patches())
        inner.load_state_dict({name: value for name, value in network.state_dict().items() if name[:5] != "fine."})
        coarse = functional.pixel_shuffle(inner(functional.pixel_unshuffle(x, 2), t), 2)
        assert coarse.shape == (2, 4, 8, 8)
        assert torch.equal(network(x, t), network.fine(torch.cat([coarse, x], 1)))


@pytest.mark.parametrize("change", [{}, {"patch": 2, "fine": 4}], ids=str)
def test_no_parameter_goes_without_a_gradient(change: dict[str, Any]) -> None:
    network: nn.Module = filled_unet(replace(TINY, classes=2, embedding_inputs=2, **change)).train()
    out = network(noise(2, 1, 8, 8), torch.tensor([1.0, 2.0]), torch.tensor([0, 1]), noise(2, 2))
    out.square().sum().backward()
    silent = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.abs().any()]
    assert silent == []
