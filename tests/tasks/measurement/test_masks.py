"""Mask families by name: counts, covers, released schedules, and banks of the data's own masks."""

from __future__ import annotations

import json

import pytest
import torch

from skiagraph.diffusion.streams import Streams
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.measurement.masks import MaskBank, centre_lines, mask_family, mask_schedule, view_source
from skiagraph.tasks.measurement.settings import MaskSettings

DRAWS = Streams(range(200))
SIZE = (32, 32)


def test_default_cells_keep_ten_of_sixteen_and_pairs_cover() -> None:
    family = mask_family(MaskSettings(), SIZE)
    assert torch.equal(family.draw(DRAWS).mean((1, 2, 3)), torch.full((200,), 0.625))
    source, count = view_source(family, None)
    assert count == 2
    assert bool((source(DRAWS).amax(1) == 1).all())


def test_centre_is_twenty_of_256_in_proportion_unless_stated() -> None:
    random = MaskSettings(family="random")
    assert [centre_lines(random, width) for width in (256, 128, 320)] == [20, 10, 24]
    assert centre_lines(MaskSettings(family="random", centre=7), 256) == 7
    masks = mask_family(random, (256, 256)).draw(Streams(range(400)))
    assert abs(float(masks.mean()) - (20 + 236 / 4) / 256) < 0.005


@pytest.mark.parametrize("family", ["cells", "pixels", "random", "equispaced", "variable-density"])
def test_every_family_has_covering_views_of_its_size(family: str) -> None:
    source, count = view_source(mask_family(MaskSettings.model_validate({"family": family}), SIZE), None)
    sets = source(Streams(range(20)))
    assert sets.shape[:2] == (20, count)
    assert bool((sets.amax(1) == 1).all())


def test_too_few_views_and_impossible_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="views: count: found 1"):
        view_source(mask_family(MaskSettings(), SIZE), 1)
    with pytest.raises(InputError, match="mask: cells"):
        mask_family(MaskSettings(cells=64), SIZE)
    with pytest.raises(InputError, match="mask: centre"):
        mask_family(MaskSettings(family="random", centre=64), SIZE)
    with pytest.raises(InputError, match="cells and random columns only"):
        mask_schedule(MaskSettings(family="equispaced"), SIZE)


def test_released_schedules_have_the_stated_numbers() -> None:
    cells, columns = mask_schedule(MaskSettings(), SIZE), mask_schedule(MaskSettings(family="random"), (256, 256))
    first, memory = cells.draw(DRAWS, None)
    assert torch.equal(first.mean((1, 2, 3)), torch.full((200,), 0.625))
    second, _ = cells.draw(DRAWS, memory)
    assert abs(float(second.mean()) - 0.25) < 0.02
    dense, _ = columns.draw(DRAWS, None)
    assert abs(float(dense.mean()) - (20 + 236 * 2 / 4) / 256) < 0.01


def bank() -> MaskBank:
    masks = torch.zeros(6, 1, 2, 4)
    for index in range(6):
        masks[index % 4, 0, index // 4, index % 4] = 1
        masks[index, 0, :, 1] = 1
    masks[4, 0, 0, :2], masks[5, 0, 1, 2:] = 1, 1
    masks[0, 0, 0, 3] = 1
    masks[1, 0] = 1
    return MaskBank.of(masks)


def test_a_bank_draws_its_own_masks_and_covers() -> None:
    own = bank()
    drawn = own.draw(DRAWS)
    assert all(any(torch.equal(mask, known) for known in own.masks) for mask in drawn[:20])
    assert bool((own.covering(DRAWS).amax(1) == 1).all())
    assert own.covering(DRAWS).shape[1] == own.needed
    stored = MaskBank.from_record(json.loads(json.dumps(own.record())))
    assert torch.equal(stored.masks, own.masks)
    with pytest.raises(DataError, match="damaged"):
        MaskBank.from_record({"shape": [1]})


def test_what_no_item_observed_is_refused() -> None:
    masks = torch.ones(3, 1, 4, 4)
    masks[..., 2] = 0
    with pytest.raises(InputError, match="4 of 16 pixels or lines are observed in no item"):
        MaskBank.of(masks)
    with pytest.raises(InputError, match="keeps no masks"):
        mask_family(MaskSettings(family="own"), SIZE)
