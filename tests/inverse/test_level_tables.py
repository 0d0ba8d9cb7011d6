"""Tables over the logarithm of a noise level, and networks that are told the noise of their anchors."""

from __future__ import annotations

import math

import pytest
import torch
from tests.inverse.scans import Mixing, scan
from torch import Tensor

from skiagraph.inverse.consistent import Anchors, ConsistentNetwork
from skiagraph.inverse.level_tables import KNOTS, NoiseTables, lookup

SPAN = (math.log(0.01), math.log(1.0))


class Told(Mixing):
    """A backbone that adds what it is told."""

    def forward(self, x: Tensor, time: Tensor, embedding: Tensor | None = None) -> Tensor:
        """See `Mixing`."""
        out = super().forward(x, time)
        return out if embedding is None else out + (embedding @ torch.arange(KNOTS).float())[:, None, None, None]


def test_between_knots_the_logarithm_counts_and_beyond_the_ends() -> None:
    table = torch.arange(KNOTS, dtype=torch.float32)[None]
    middle = math.exp(SPAN[0] + 3.25 / (KNOTS - 1) * (SPAN[1] - SPAN[0]))
    found = lookup(table, torch.tensor([0.001, 0.01, middle, 1.0, 7.0]), SPAN)[:, 0]
    assert torch.allclose(found, torch.tensor([0.0, 0.0, 3.25, KNOTS - 1, KNOTS - 1]), atol=1e-5)


def test_places_add_up_to_one_and_items_without_anchors_have_none() -> None:
    tables = NoiseTables(2, (0.01, 1.0))
    with torch.no_grad():
        tables.values[1] = 3.0
    values, place = tables(torch.tensor([0.02, 0.5, 0.3]), torch.tensor([True, True, False]))
    assert torch.allclose(place.sum(1), torch.tensor([1.0, 1.0, 0.0]))
    assert torch.allclose(values, torch.tensor([[0.0, 3.0], [0.0, 3.0], [0.0, 0.0]]))
    with pytest.raises(ValueError, match="noise_range: found"):
        NoiseTables(1, (0.1, 0.1))


def test_only_networks_with_a_range_are_told_and_only_of_anchors() -> None:
    torch.manual_seed(0)
    batch, backbone = scan(noise=0.02), Told()
    plain, aware = ConsistentNetwork(backbone), ConsistentNetwork(backbone, noise_range=(0.01, 0.4))
    rho, nothing = torch.full((3,), 0.3), torch.zeros_like(batch["mask"])
    lines = (batch["kspace"], rho, nothing, batch["maps"])

    def anchors(noise: float) -> Anchors:
        return Anchors(batch["kspace"], batch["mask"], torch.full((3,), noise))

    # At the lower end the backbone here adds 0: nothing but the data steps has changed.
    assert torch.equal(aware(*lines, anchors(0.01)).image, plain(*lines, anchors(0.01)).image)
    assert not torch.allclose(aware(*lines, anchors(0.1)).image, plain(*lines, anchors(0.1)).image, rtol=0.01)
    free = (batch["kspace"], rho, batch["mask"], batch["maps"])
    assert torch.equal(aware(*free).image, plain(*free).image)
    assert torch.equal(aware(*free, Anchors(*lines[:1], nothing, rho)).image, plain(*free).image)
