"""Column masks: line counts, training fractions and covering sets (measurement-score, sections 6.4 and 13, item 11)."""

from __future__ import annotations

import math

import pytest
import torch

from skiagraph.diffusion.streams import Streams
from skiagraph.physics.masks import (
    CoveringFamily,
    EquispacedColumns,
    ExactColumns,
    RandomColumns,
    VariableDensityColumns,
    centre_columns,
    coverage,
    effective_acceleration,
    exact_lines,
    nominal_lines,
    uncovered,
)

FAMILIES = [RandomColumns, ExactColumns, EquispacedColumns, VariableDensityColumns]
MANY = range(600)


def test_centre_stands_about_zero_frequency() -> None:
    assert centre_columns(256, 20).nonzero().flatten().tolist() == list(range(118, 138))
    assert centre_columns(9, 3).nonzero().flatten().tolist() == [3, 4, 5]
    assert not centre_columns(8, 0).any()


def test_line_counts() -> None:
    assert nominal_lines(256, 4, 20) == 79
    assert exact_lines(256, 4, 20) == 64
    assert exact_lines(256, 6) == 43
    assert ExactColumns(256, 4, 20).lines == 64
    assert ExactColumns(256, 4, 20, "nominal").lines == 79
    with pytest.raises(ValueError, match="centre: found 40 lines, more than the 32"):
        ExactColumns(256, 8, 40)


@pytest.mark.parametrize("acceleration", [4, 6, 8])
def test_training_fraction_and_effective_acceleration(acceleration: int) -> None:
    masks = RandomColumns(256, acceleration, 20).draw(Streams(MANY))
    assert masks.shape == (600, 1, 1, 256)
    assert masks[..., 118:138].all()
    expected = (20 + 236 / acceleration) / 256
    assert float(masks.mean()) == pytest.approx(expected, abs=0.005)
    assert coverage(masks).acceleration == pytest.approx({4: 3.2, 6: 4.3, 8: 5.2}[acceleration], abs=0.1)
    each = effective_acceleration(masks)
    assert each.shape == (600,)
    assert float(each[0]) == 256 / float(masks[0].sum())


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("acceleration", [1, 2, 2.5, 4])
def test_covering_sets_cover_and_have_the_law_of_single_masks(kind: type, acceleration: float) -> None:
    family: CoveringFamily = kind(34, acceleration, 4)
    single, sets = family.draw(Streams(range(2000))), family.covering(Streams(range(2000)))
    assert sets.shape[2:] == (1, 1, 34)
    assert not uncovered(sets).any()
    if acceleration == 1:
        assert single.all()
        assert sets[:, 0].all()
    for masks in sets.unbind(1):
        assert (coverage(masks).inclusion - coverage(single).inclusion).abs().max() < 0.06
        assert float(masks.mean()) == pytest.approx(float(single.mean()), abs=0.02)


@pytest.mark.parametrize("acceleration", [2, 3, 4, 6, 8])
def test_default_sets_have_equal_line_counts(acceleration: int) -> None:
    sets = RandomColumns(256, acceleration, 20).covering(Streams(range(20)))
    assert sets.shape == (20, acceleration, 1, 1, 256)
    assert (sets.sum(-1) == 20 + math.ceil(236 / acceleration)).all()
    assert sets[..., 118:138].all()
    overlap = sets[..., torch.cat([torch.arange(118), torch.arange(138, 256)])].sum(1)
    assert overlap.mean() < 1.05, "little more than a partition"


def test_more_masks_than_needed_are_filled_at_random() -> None:
    sets = RandomColumns(32, 2, 4).covering(Streams(MANY), 5)
    assert sets.shape[1] == 5
    assert (sets.sum(-1) == 4 + 14).all()
    assert not uncovered(sets[:, :2]).any()
    assert coverage(sets[:, 4]).inclusion[0] == pytest.approx(0.5, abs=0.06)
    with pytest.raises(ValueError, match="count: found 1"):
        RandomColumns(32, 2, 4).covering(Streams([0]), 1)
    with pytest.raises(ValueError, match="count: found 3"):
        EquispacedColumns(32, 4, 4).covering(Streams([0]), 3)
    with pytest.raises(ValueError, match="count: found 2"):
        VariableDensityColumns(32, 4, 4).covering(Streams([0]), 2)


def test_exact_columns_pair_probability() -> None:
    statistics = coverage(ExactColumns(20, 2, 0).draw(Streams(range(4000))))
    assert statistics.pairs is not None
    assert statistics.inclusion.mean() == 0.5
    assert (statistics.inclusion - 0.5).abs().max() < 0.04
    others = statistics.pairs[~torch.eye(20, dtype=torch.bool)]
    assert others.mean() == pytest.approx(10 * 9 / (20 * 19))
    assert (others - 9 / 38).abs().max() < 0.04


def test_equispaced_distance_and_fractional_acceleration() -> None:
    columns = EquispacedColumns(30, 3, 0).draw(Streams(range(5)))[:, 0, 0].nonzero()
    for sample in range(5):
        assert (columns[columns[:, 0] == sample, 1].diff() == 3).all()
    gaps = EquispacedColumns(300, 2.5, 0).draw(Streams([3]))[0, 0, 0].nonzero().flatten().diff()
    assert set(gaps.tolist()) == {2, 3}


def test_variable_density_falls_off_and_keeps_its_mean() -> None:
    family = VariableDensityColumns(128, 4, 8)
    probability = family.probability()
    assert float(probability.sum()) == pytest.approx(nominal_lines(128, 4, 8))
    assert (probability[64:].diff() <= 1e-12).all()
    assert probability.min() >= 0.5 / 4
    drawn = coverage(family.draw(Streams(range(3000)))).inclusion
    assert (drawn - probability).abs().max() < 0.05


def test_masks_depend_on_the_seed_of_their_sample_only() -> None:
    for kind in FAMILIES:
        family = kind(32, 4, 4)
        together, alone = family.draw(Streams([5, 0, 7])), family.draw(Streams([0]))
        assert torch.equal(together[1:2], alone)
        assert not torch.equal(together[:1], alone)
        assert torch.equal(family.covering(Streams([5, 0]))[1:], family.covering(Streams([0])))


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match=r"acceleration: found 0\.5"):
        RandomColumns(32, 0.5, 4)
    with pytest.raises(ValueError, match="centre: found 33"):
        EquispacedColumns(32, 4, 33)
    with pytest.raises(ValueError, match="width: found 0"):
        RandomColumns(0, 4, 0)
    with pytest.raises(ValueError, match="counting: found 'about'"):
        ExactColumns(32, 4, 4, "about")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="floor: found 0"):
        VariableDensityColumns(32, 4, 4, floor=0)
    with pytest.raises(ValueError, match="power: found -1"):
        VariableDensityColumns(32, 4, 4, power=-1)
