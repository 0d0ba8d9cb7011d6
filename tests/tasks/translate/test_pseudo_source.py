"""Target images that stand for a source, and their bent anatomy."""

from __future__ import annotations

import pytest
import torch

from helpers.local_information_by_hand import phantom
from skiagraph.diffusion import Streams, linear_table
from skiagraph.tasks.translate.objective import TranslatePriorObjective
from skiagraph.tasks.translate.pseudo import RandomShape, remapped
from skiagraph.tasks.translate.settings import ConditionSettings, ShapeSettings

IMAGES = phantom("T1", "A", 32)[None, None].expand(40, 1, 32, 32).contiguous()


def test_background_stays_and_the_rest_is_in_range() -> None:
    found = remapped(IMAGES, Streams(range(40)))
    assert bool((found[IMAGES == 0] == 0).all())
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1


def test_contrast_is_sometimes_turned_over_and_sometimes_kept() -> None:
    dark, bright = IMAGES[0] == IMAGES[0][IMAGES[0] > 0].min(), IMAGES[0] == IMAGES[0].max()
    found = remapped(IMAGES, Streams(range(40)))
    difference = torch.stack([one[bright].mean() - one[dark].mean() for one in found])
    assert int((difference < -0.1).sum()) >= 5
    assert int((difference > 0.1).sum()) >= 5


def test_an_image_is_the_same_alone_and_in_a_batch() -> None:
    shape = RandomShape(ShapeSettings())
    for function in (lambda x, s: remapped(x, s), lambda x, s: shape(2 * x - 1, s)):
        whole = function(IMAGES[:3], Streams(range(3)))
        alone = function(IMAGES[1:2], Streams([1]))
        torch.testing.assert_close(whole[1:2], alone)


def test_no_change_is_the_identity_and_a_mirror_is_a_mirror() -> None:
    still = RandomShape(ShapeSettings(flip=False, rotation=0, scale=0, shift=0, bend=0))
    torch.testing.assert_close(still(2 * IMAGES[:2] - 1, Streams([0, 1])), 2 * IMAGES[:2] - 1, rtol=0, atol=1e-5)
    mirror = RandomShape(ShapeSettings(rotation=0, scale=0, shift=0, bend=0))
    found = mirror(2 * IMAGES[:8] - 1, Streams(range(8)))
    plain, turned = 2 * IMAGES[:8] - 1, 2 * IMAGES[:8].flip(3) - 1
    kept = ((found - plain).abs().flatten(1).amax(1) < 1e-4) | ((found - turned).abs().flatten(1).amax(1) < 1e-4)
    assert bool(kept.all())
    assert not torch.allclose(found, plain, atol=1e-4)
    assert not torch.allclose(found, turned, atol=1e-4)


def test_what_comes_in_from_outside_is_background() -> None:
    shifted = RandomShape(ShapeSettings(flip=False, rotation=0, scale=0, shift=10, bend=0))
    assert float(shifted(torch.ones(4, 1, 16, 16), Streams(range(4))).min()) == -1


def test_a_moved_rim_is_as_bright_as_the_inside() -> None:
    rows, columns = torch.meshgrid(torch.arange(48.0), torch.arange(40.0), indexing="ij")
    disc = ((rows - 24) ** 2 + (columns - 20) ** 2 < 144)[None, None].expand(6, 2, 48, 40)
    images = torch.where(disc, torch.tensor([0.2, 0.8]).reshape(1, 2, 1, 1), -1.0)
    found = RandomShape(ShapeSettings())(images, Streams(range(6)))
    for slice_, value in enumerate((0.2, 0.8)):
        part = found[:, slice_]
        torch.testing.assert_close(part[part > -1], torch.full_like(part[part > -1], value), rtol=0, atol=1e-5)
    assert found[0].ne(images[0]).any()


def test_the_foreground_can_be_given_for_all_slices() -> None:
    images = torch.full((1, 2, 16, 16), -1.0)
    images[:, 0, 4:12, 4:12] = 0.5
    images[:, 1, 4:12, 4:8] = 1.0  # a share of a tissue: its -1 beside it is a value, not background
    still = RandomShape(ShapeSettings(flip=False, rotation=0, scale=0, shift=0, bend=1.0))
    found = still(images, Streams([0]), images[:, :1] > -0.9)
    inside = found[:, 0] > -1
    torch.testing.assert_close(found[:, 0][inside], torch.full_like(found[:, 0][inside], 0.5), rtol=0, atol=1e-5)
    between = found[:, 1][inside]
    assert bool(((between > -0.9) & (between < 0.9)).any())


def test_trim_takes_rims_of_every_depth_off() -> None:
    images = torch.full((40, 1, 20, 20), -1.0)
    images[:, :, 4:16, 4:16] = 0.5
    trimmed = RandomShape(ShapeSettings(flip=False, rotation=0, scale=0, shift=0, bend=0, trim=2))
    sides = (trimmed(images, Streams(range(40))) > -1).flatten(1).sum(1).sqrt().int()
    assert sorted(set(sides.tolist())) == [8, 10, 12]


def test_pieces_come_from_anywhere_and_are_the_same_alone() -> None:
    ramp = (torch.arange(32.0)[:, None] * 32 + torch.arange(32.0))[None, None].expand(6, 2, 32, 32) / 512 - 1
    still = {"flip": False, "rotation": 0, "scale": 0, "shift": 0, "bend": 0}
    found = RandomShape(ShapeSettings.model_validate(still | {"crop": [12, 8]}))(ramp, Streams(range(6)))
    assert found.shape == (6, 2, 12, 8)
    corners = ((found[:, 0, 0, 0] + 1) * 512).round().int().tolist()
    assert len(set(corners)) == 6
    for piece, corner in zip(found, corners, strict=True):
        row, column = divmod(corner, 32)
        torch.testing.assert_close(piece, ramp[0, :, row : row + 12, column : column + 8], rtol=0, atol=1e-4)
    alone = RandomShape(ShapeSettings.model_validate(still | {"crop": [12, 8]}))(ramp[3:4], Streams([3]))
    torch.testing.assert_close(alone[0], found[3])


def test_emphasis_draws_noisy_levels_more_often() -> None:
    objective = TranslatePriorObjective(linear_table(), ConditionSettings(kind="none"), emphasis=3.0)
    times = objective._times(Streams(range(2000)))
    assert float(times.mean()) == pytest.approx(750, abs=15)  # E[T u^(1/3)] = 3 T / 4
    assert float(times.min()) >= 0
    assert float(times.max()) <= 999
