"""SynthStrip's network: its weights' names and shapes, its sizes, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from skiagraph.networks.synthstrip import SIDE_MULTIPLE, SynthStripNetwork


def test_the_published_layout() -> None:
    with torch.device("meta"):
        state = SynthStripNetwork().state_dict()
    assert len(state) == 54
    assert sum(value.numel() for value in state.values()) == 2_566_561
    assert tuple(state["unet.decoder.4.0.conv.weight"].shape) == (32, 96, 3, 3, 3)
    assert tuple(state["unet.decoder.5.2.conv.weight"].shape) == (1, 16, 3, 3, 3)


def test_a_constant_goes_through_by_hand() -> None:
    """Kernels that pass the first channel on: what comes out is the input, halved where joined."""
    network = SynthStripNetwork(width=2).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for blocks in (*network.unet.encoder, *network.unet.decoder):
            for block in blocks:
                block.conv.weight[0, 0, 1, 1, 1] = 1.0
        image = torch.rand(1, 1, 64, 64, 64, generator=torch.Generator().manual_seed(0))
        found = network(image)
        wanted = image.amax().expand_as(image)  # the coarsest level is one voxel, the largest of all
    assert SIDE_MULTIPLE == 64
    torch.testing.assert_close(found, wanted)


def test_foreign_weights_are_refused_by_name() -> None:
    network = SynthStripNetwork(width=2)
    state = dict(network.state_dict())
    network.accept(state)
    name = "unet.encoder.0.0.conv.bias"
    for change, words in (
        ({"extra": torch.zeros(1)}, "unknown \\['extra'\\]"),
        ({name: torch.zeros(3)}, "bias is \\(3,\\)"),
        ({name: torch.full((2,), torch.nan)}, "NaN"),
        ({name: "text"}, "bias is str"),
    ):
        with pytest.raises(ValueError, match=words):
            network.accept({**state, **change})
    del state[name]
    with pytest.raises(ValueError, match="missing"):
        network.accept(state)
    with pytest.raises(ValueError, match="x: found shape"):
        network(torch.zeros(1, 1, 64, 64, 32))
