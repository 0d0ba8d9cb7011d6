"""What a network is shown of a source: the same for every monotone change of its intensities."""

from __future__ import annotations

import pytest
import torch

from skiagraph.tasks.translate.ranked import RANKED_CHANNELS, ranked


def dome(side: int = 32) -> torch.Tensor:
    """(1, 1, side, side): 0 outside a disc, rising from 0.1 at its rim to 0.9 in the middle."""
    line = torch.linspace(-1, 1, side)
    radius = (line[:, None].square() + line.square()).sqrt()
    return torch.where(radius < 0.9, 0.9 - 0.8 * radius / 0.9, 0.0)[None, None]


def test_values_ranks_and_foreground_of_a_dome() -> None:
    image = dome()
    found = ranked(image)
    assert found.shape == (1, RANKED_CHANNELS, 32, 32)
    values, ranks, inside = found[0]
    assert torch.equal(inside > 0, image[0, 0] > 0)
    assert not found[0, :, inside == 0].any()
    levels = image[0, 0][inside > 0]
    order = levels.argsort()
    assert bool((ranks[inside > 0][order].diff() >= 0).all())
    share = (levels[:, None] > levels).float().mean(1)  # the share of pixels below each
    torch.testing.assert_close(ranks[inside > 0], 2 * share - 1, rtol=0, atol=0.05)
    assert float(values.min()) == pytest.approx(-1, abs=0.1)
    assert float(values.max()) == pytest.approx(1, abs=0.2)


def test_ranks_are_unchanged_by_any_rising_or_falling_map() -> None:
    image = dome()
    plain = ranked(image)
    for other in (image.square(), image.sqrt(), 1 - image, 1 - image**3):
        shown = torch.where(image > 0, other.clamp(min=0.01), 0.0)
        torch.testing.assert_close(ranked(shown)[:, 1], plain[:, 1], rtol=0, atol=0.05)


def test_one_direction_for_the_slices_of_a_scan() -> None:
    image, turned = dome(), torch.where(dome() > 0, 1 - dome(), 0.0)
    scan = torch.cat([image, image, torch.where(turned > 0.5, turned, 0.0)])
    alone, whole = ranked(scan), ranked(scan, together=True)
    torch.testing.assert_close(whole[2, :2], -alone[2, :2])
    torch.testing.assert_close(whole[:2], alone[:2])


def test_constant_and_nearly_empty_images_say_nothing_wrong() -> None:
    flat = torch.where(dome() > 0, 0.5, 0.0)
    assert not ranked(flat)[:, 1].any()
    dot = torch.zeros(1, 1, 16, 16)
    dot[..., 3, 3] = 1
    assert not ranked(dot)[:, :2].any()
    assert not ranked(torch.zeros(1, 1, 16, 16)).any()


def test_volumes_are_ranked_as_a_whole() -> None:
    volume = dome().repeat(4, 1, 1, 1).transpose(0, 1)[None]
    found = ranked(volume)
    assert found.shape == (1, RANKED_CHANNELS, 4, 32, 32)
    torch.testing.assert_close(found[0, 1, 0], ranked(dome())[0, 1], rtol=0, atol=0.02)
