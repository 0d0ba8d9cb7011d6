"""Poisson disc and radial masks."""

from __future__ import annotations

import pytest
import torch

from skiagraph.diffusion.streams import Streams
from skiagraph.physics.masks import PoissonDisc2D, RadialOnGrid, coverage, effective_acceleration


def test_poisson_disc_has_an_exact_count_and_keeps_its_centre() -> None:
    for acceleration in (1, 1.3, 4, 9):
        family = PoissonDisc2D(30, 41, acceleration, 5)
        masks = family.draw(Streams(range(3)))
        assert masks.shape == (3, 1, 30, 41)
        assert (masks.sum((1, 2, 3)) == round(30 * 41 / acceleration)).all()
        assert masks[..., 13:18, 18:23].all()


def test_poisson_disc_keeps_its_distance() -> None:
    family = PoissonDisc2D(48, 48, 8, slope=0)
    radius = float(family.radius()[0, 0])
    points = family.draw(Streams([0]))[0, 0].nonzero().double()
    distance = torch.cdist(points, points) + 1e9 * torch.eye(len(points), dtype=torch.float64)
    assert distance.min() >= 0.9**2 * radius
    assert distance.min() > 1.5, "a random set of this density has neighbours"


def test_poisson_disc_is_denser_in_the_middle() -> None:
    inclusion = coverage(PoissonDisc2D(32, 32, 5, slope=0.6).draw(Streams(range(60)))).inclusion.reshape(32, 32)
    middle, corner = inclusion[12:20, 12:20].mean(), inclusion[:6, :6].mean()
    assert middle > 2 * corner
    assert corner > 0


def test_spokes_pass_through_the_centre() -> None:
    masks = RadialOnGrid(33, 40, 8).draw(Streams(range(4)))
    assert masks.shape == (4, 1, 33, 40)
    assert masks[..., 16, 20].all()
    assert masks[..., 15:18, 19:22].all(), "spokes fill the middle"
    assert (effective_acceleration(masks) > 3).all()
    one = RadialOnGrid(33, 33, 1).draw(Streams(range(20)))
    mirrored = one.flip(-2, -1)
    assert ((one != mirrored).sum((1, 2, 3)) <= 4).all(), "a diameter is its own mirror image, up to ties of rounding"


def test_more_spokes_sample_more() -> None:
    fractions = [float(RadialOnGrid(64, 64, spokes, "golden").draw(Streams([1])).mean()) for spokes in (4, 16, 64, 256)]
    assert fractions == sorted(fractions)
    assert fractions[0] == pytest.approx(4 / 64 * 1.1, rel=0.3)


def test_masks_depend_on_the_seed_of_their_sample_only() -> None:
    for family in (PoissonDisc2D(16, 16, 4), RadialOnGrid(16, 16, 3)):
        assert torch.equal(family.draw(Streams([3, 0]))[1:], family.draw(Streams([0])))
        assert not torch.equal(family.draw(Streams([3])), family.draw(Streams([0])))


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="centre: found 17"):
        PoissonDisc2D(16, 16, 4, 17)
    with pytest.raises(ValueError, match="square of 100 points, more than the 64"):
        PoissonDisc2D(16, 16, 4, 10)
    with pytest.raises(ValueError, match="slope: found 1"):
        PoissonDisc2D(16, 16, 4, slope=1)
    with pytest.raises(ValueError, match="acceleration: found 0"):
        PoissonDisc2D(16, 16, 0)
    with pytest.raises(ValueError, match="spokes: found 0"):
        RadialOnGrid(16, 16, 0)
    with pytest.raises(ValueError, match="angles: found 'odd'"):
        RadialOnGrid(16, 16, 3, "odd")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="height, width"):
        RadialOnGrid(0, 16, 3)
