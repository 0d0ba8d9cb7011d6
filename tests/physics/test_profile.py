"""Families of masks and foreign masks: distances are total variations, and tell regular from random."""

from __future__ import annotations

import pytest
import torch

from skiagraph.diffusion.streams import Streams
from skiagraph.physics.masks import EquispacedColumns, MaskProfile, RandomColumns, mask_distance, mask_profile
from skiagraph.physics.masks.profile import central_lines


def _draws(family: object, count: int = 200, seed: int = 0) -> torch.Tensor:
    return family.draw(Streams(range(seed, seed + count)))[:, 0, 0]  # type: ignore[attr-defined, no-any-return]


def test_profile_of_one_mask_is_counted_by_hand() -> None:
    mask = torch.zeros(32)
    mask[[0, 4, 8, 14, 15, 16, 17, 20, 28]] = 1
    profile = mask_profile(mask[None])
    expected = torch.zeros(16)
    expected[[0, 2, 4, 10, 14]] = 1 / 9
    expected[[7, 8]] = 2 / 9
    torch.testing.assert_close(torch.tensor(profile.density), expected)
    gaps = torch.zeros(16)  # steps 4, 4, 6 on one side; 3, 8 on the other, from the centre's outer lines
    gaps[[3, 5, 2, 7]] = torch.tensor([0.4, 0.2, 0.2, 0.2])
    torch.testing.assert_close(torch.tensor(profile.gaps), gaps)
    assert (profile.acceleration, profile.centre) == (pytest.approx(32 / 9), 4)
    assert central_lines(mask) == (14, 18)
    distance = mask_distance(mask, profile)
    assert (distance.value, distance.acceleration, distance.centre) == (0, pytest.approx(1), 4)
    assert not distance.foreign(profile)


def test_distances_are_total_variations() -> None:
    left, right = torch.zeros(32), torch.zeros(32)
    left[:16] = 1
    right[16:] = 1
    assert mask_distance(left, mask_profile(right[None])).density == pytest.approx(1)
    half = mask_distance(torch.ones(32), mask_profile(right[None]))
    assert half.density == pytest.approx(0.5)


def test_own_masks_are_at_home_and_others_are_foreign() -> None:
    family = RandomColumns(128, 4.0, 24)
    profile = mask_profile(_draws(family))
    own = [mask_distance(mask, profile).foreign(profile) for mask in _draws(family, 100, 1000)]
    assert sum(own) <= 8
    for other in (EquispacedColumns(128, 4.0, 24), RandomColumns(128, 8.0, 12), RandomColumns(128, 1.5, 24)):
        assert all(mask_distance(mask, profile).foreign(profile) for mask in _draws(other, 20))
    regular = mask_distance(_draws(EquispacedColumns(128, 4.0, 24), 1)[0], profile)
    assert regular.gaps > 0.6
    assert regular.density < 0.2


def test_another_matrix_size_compares() -> None:
    profile = mask_profile(_draws(RandomColumns(128, 4.0, 24)))
    found = [mask_distance(mask, profile).foreign(profile) for mask in _draws(RandomColumns(192, 4.0, 36), 50)]
    assert sum(found) <= 5


def test_a_profile_survives_its_record_and_masks_without_outer_lines_have_no_gaps() -> None:
    profile = mask_profile(_draws(RandomColumns(64, 4.0, 12), 20))
    back = MaskProfile.from_record(profile.record())
    assert back.centre == profile.centre
    assert back.density == pytest.approx(profile.density, abs=1e-5)
    with pytest.raises(ValueError, match="mask profile has other keys"):
        MaskProfile.from_record({"density": [1.0]})
    with pytest.raises(ValueError, match="found 1 bands"):
        MaskProfile.from_record({**profile.record(), "density": [1.0]})
    full = mask_profile(torch.ones(3, 64))
    assert sum(full.gaps) == 0
    assert mask_distance(torch.ones(64), full).value == 0
    centre = torch.zeros(64)
    centre[26:38] = 1
    assert mask_distance(centre, profile).gaps == 1
    assert central_lines(1 - centre) == (32, 32)
    with pytest.raises(ValueError, match="masks: found shape"):
        mask_profile(torch.ones(2, 4, 64))
