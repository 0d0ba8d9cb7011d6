"""Embedding, normalisation and attention against their written-out definitions."""

from __future__ import annotations

import math

import pytest
import torch

from skiagraph.networks.layers import AttentionOrder, ResidualBlock, attend, group_norm, sinusoidal_embedding

from .filled import noise


def test_the_embedding_has_cosines_first_and_falling_frequencies() -> None:
    time = torch.tensor([0.0, 37.0, 999.0], dtype=torch.float64)
    embedding = sinusoidal_embedding(time, 6)
    for row, t in zip(embedding, time.tolist(), strict=True):
        angles = [t * 10_000 ** (-k / 3) for k in range(3)]
        wanted = [math.cos(a) for a in angles] + [math.sin(a) for a in angles]
        torch.testing.assert_close(row, torch.tensor(wanted, dtype=torch.float64))


def test_the_embedding_takes_whole_numbers_and_odd_widths() -> None:
    whole, fractional = torch.tensor([3, 500]), torch.tensor([3.0, 500.0])
    odd = sinusoidal_embedding(whole, 7)
    assert odd.shape == (2, 7)
    assert odd.dtype == torch.float32
    assert torch.equal(odd[:, 6], torch.zeros(2))
    assert torch.equal(odd[:, :6], sinusoidal_embedding(fractional, 6))
    assert sinusoidal_embedding(whole, 1).shape == (2, 1)


@pytest.mark.parametrize(("channels", "groups"), [(32, 32), (256, 32), (48, 16), (40, 8), (33, 1), (8, 8)])
def test_normalisation_groups_divide_the_channels(channels: int, groups: int) -> None:
    assert group_norm(channels).num_groups == groups


@pytest.mark.parametrize("order", ["legacy", "new"])
def test_attention_equals_its_definition_head_by_head(order: AttentionOrder) -> None:
    heads, width, tokens = 2, 3, 5
    qkv = noise(2, 3 * heads * width, tokens).double()
    out = attend(qkv, heads, order)
    for sample in range(2):
        for head in range(heads):
            rows = qkv[sample].reshape(heads, 3, width, tokens)[head] if order == "legacy" else None
            if rows is None:
                rows = qkv[sample].reshape(3, heads, width, tokens)[:, head]
            q, k, v = rows
            weights = torch.softmax(q.T @ k / math.sqrt(width), dim=-1)
            got = out[sample, head * width : (head + 1) * width]
            torch.testing.assert_close(got, v @ weights.T)


def test_a_fresh_block_passes_its_input_through() -> None:
    block = ResidualBlock(2, 4, 4, embedding=8, groups=2)
    x = noise(1, 4, 3, 3)
    assert torch.equal(block(x, noise(1, 8)), x)


def test_scale_and_shift_act_after_the_second_norm_and_a_lone_shift_before_it() -> None:
    x, embedding = noise(1, 4, 5), noise(1, 8, seed=2)
    for scale_shift in (True, False):
        block = ResidualBlock(1, 4, 4, embedding=8, groups=2, scale_shift=scale_shift)
        with torch.no_grad():
            for parameter in block.parameters():
                parameter.copy_(noise(*parameter.shape, seed=parameter.numel()))
        hidden = block.in_layers(x)
        modulation = block.emb_layers(embedding)[..., None]
        if scale_shift:
            hidden = block.out_layers[0](hidden) * (1 + modulation[:, :4]) + modulation[:, 4:]
        else:
            hidden = block.out_layers[0](hidden + modulation)
        torch.testing.assert_close(block(x, embedding), x + block.out_layers[1:](hidden))
