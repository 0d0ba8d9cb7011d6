"""The order of the data and the seeds of the draws."""

from __future__ import annotations

import pytest
import torch

from skiagraph.errors import InputError
from skiagraph.training.order import DataOrder, derive_seed, item_seeds


def test_every_epoch_is_a_permutation_and_each_another() -> None:
    order = DataOrder(3, 11)
    epochs = [order.indices(range(epoch * 11, epoch * 11 + 11)) for epoch in range(4)]
    assert all(torch.equal(epoch.sort().values, torch.arange(11)) for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 4


def test_order_depends_on_position_alone() -> None:
    whole = DataOrder(0, 7).indices(range(40))
    order = DataOrder(0, 7)
    late = order.indices(range(23, 40))
    assert torch.equal(late, whole[23:])
    assert torch.equal(order.indices(range(5, 23)), whole[5:23])
    assert not torch.equal(DataOrder(1, 7).indices(range(40)), whole)


def test_seeds_depend_on_run_and_position_alone() -> None:
    assert item_seeds(0, range(4, 8)) == item_seeds(0, range(8))[4:]
    assert len(set(item_seeds(0, range(500)) + item_seeds(1, range(500)))) == 1000
    assert all(0 <= seed < 2**63 for seed in item_seeds(0, range(500)))
    assert derive_seed("a", 1) == derive_seed("a", "1") != derive_seed("a", 2)


def test_empty_data_is_refused() -> None:
    with pytest.raises(InputError, match="found 0 items"):
        DataOrder(0, 0)
