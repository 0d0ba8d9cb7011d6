"""Cell and pixel masks: exact counts, complementary pairs (measurement-score, section 13, items 9 and 10)."""

from __future__ import annotations

import pytest
import torch

from skiagraph.diffusion.streams import Streams
from skiagraph.physics.masks import Cells, Pixels, coverage, hole_mask, uncovered


def test_training_masks_keep_exactly_ten_of_sixteen_cells() -> None:
    masks = Cells(32).draw(Streams(range(50)))
    assert masks.shape == (50, 1, 32, 32)
    assert (masks.mean((1, 2, 3)) == 0.625).all()
    still = Cells(32, roll=0).draw(Streams(range(50)))
    assert torch.equal(still, still[..., ::8, ::8].repeat_interleave(8, -2).repeat_interleave(8, -1))


def test_offsets_are_inclusive_independent_and_per_sample() -> None:
    offsets = Cells(16).offsets(Streams(range(400)))
    assert offsets.min(0).values.tolist() == [0, 0]
    assert offsets.max(0).values.tolist() == [4, 4]
    assert len({tuple(pair) for pair in offsets.tolist()}) == 25
    shared = Cells(16, shared_offset=True).offsets(Streams(range(8)))
    assert (shared == shared[0]).all()


def test_rolling_moves_down_and_right() -> None:
    family = Cells(8, roll=(1, 2))
    cells = torch.zeros(1, 16, dtype=torch.bool)
    cells[0, 0] = True
    painted = family.paint(cells, torch.tensor([[1, 2]]))
    expected = torch.zeros(8, 8)
    expected[1:3, 2:4] = 1
    assert torch.equal(painted[0], expected)


def test_pairs_cover_and_have_the_training_law() -> None:
    sets = Cells(8, roll=0).covering(Streams(range(6000)))
    assert sets.shape == (6000, 2, 1, 8, 8)
    assert not uncovered(sets).any()
    cells = sets[..., ::2, ::2].flatten(2)
    assert (cells.sum(-1) == 10).all()
    assert (cells.prod(1).sum(-1) == 4).all(), "4 of the first ten are seen twice"
    for masks in cells.unbind(1):
        statistics = coverage(masks)
        assert statistics.pairs is not None
        assert (statistics.inclusion - 0.625).abs().max() < 0.03
        pairs = statistics.pairs[~torch.eye(16, dtype=torch.bool)]
        assert pairs.mean() == pytest.approx(0.375)
        assert (pairs - 0.375).abs().max() < 0.03


def test_pairs_share_their_offset_and_cover_every_pixel() -> None:
    sets = Cells((12, 20), cells=(3, 5), drop=6).covering(Streams(range(100)))
    assert sets.shape == (100, 2, 1, 12, 20)
    assert not uncovered(sets).any()
    sparse = Cells(8, drop=13).covering(Streams(range(20)))
    assert sparse.shape[1] == 6
    assert not uncovered(sparse).any()


def test_one_dimension() -> None:
    family = Cells((1, 32), (1, 16))
    assert family.largest_offset == (1, 2)
    masks = family.draw(Streams(range(30)))
    assert masks.shape == (30, 1, 1, 32)
    assert (masks.sum(-1) == 20).all()


def test_pixels() -> None:
    exact = Pixels((6, 7), 0.25, "exact")
    assert (exact.draw(Streams(range(9))).sum((1, 2, 3)) == 11).all()
    sets = exact.covering(Streams(range(9)))
    assert sets.shape == (9, 4, 1, 6, 7)
    assert not uncovered(sets).any()
    loose = Pixels(8, 0.4)
    assert float(loose.draw(Streams(range(200))).mean()) == pytest.approx(0.4, abs=0.02)
    sets = loose.covering(Streams(range(200)))
    assert sets.shape == (200, 3, 1, 8, 8)
    assert not uncovered(sets).any()
    assert float(sets[:, 2].mean()) == pytest.approx(0.4, abs=0.02)


def test_hole() -> None:
    mask = hole_mask(128, 64, 35)
    assert mask.shape == (1, 1, 128, 128)
    rows = (mask[0, 0].min(1).values == 0).nonzero().flatten()
    assert (int(rows[0]), int(rows[-1]), int((mask == 0).sum())) == (35, 98, 64 * 64)
    assert hole_mask((5, 7), (1, 3))[0, 0, 2].tolist() == [1, 1, 0, 0, 0, 1, 1]
    with pytest.raises(ValueError, match="hole: found 64 x 64 at"):
        hole_mask(128, 64, 65)


def test_masks_depend_on_the_seed_of_their_sample_only() -> None:
    for family in (Cells(16), Pixels(8, 0.5), Pixels(8, 0.5, "exact")):
        assert torch.equal(family.draw(Streams([3, 0]))[1:], family.draw(Streams([0])))
        assert torch.equal(family.covering(Streams([3, 0]))[1:], family.covering(Streams([0])))


def test_statistics_of_few_and_of_many_coordinates() -> None:
    masks = torch.tensor([[1.0, 0, 1, 0], [1, 0, 0, 0]])
    found = coverage(masks)
    assert found.inclusion.tolist() == [1, 0, 0.5, 0]
    assert found.pairs is not None
    assert found.pairs[0].tolist() == [1, 0, 0.5, 0]
    assert (found.acceleration, found.missed) == (4 / 1.5, 2)
    assert coverage(torch.ones(2, 1, 80, 80), pairs=False).pairs is None
    with pytest.raises(ValueError, match="pairs: found 6400"):
        coverage(torch.ones(2, 1, 80, 80))
    with pytest.raises(ValueError, match="masks: found"):
        coverage(torch.ones(4))


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="drop: found 16"):
        Cells(16, drop=16)
    with pytest.raises(ValueError, match="cells: found 4 on an image of 3"):
        Cells(3)
    with pytest.raises(ValueError, match="size: found 0"):
        Cells(0)
    with pytest.raises(ValueError, match="roll: found -1"):
        Cells(16, roll=-1)
    with pytest.raises(ValueError, match="keep: found 0"):
        Pixels(8, 0)
    with pytest.raises(ValueError, match="counting: found 'some'"):
        Pixels(8, 0.5, "some")  # type: ignore[arg-type]
