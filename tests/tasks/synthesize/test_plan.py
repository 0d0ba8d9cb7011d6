"""Which images are drawn: counts, seeds, quotas, whatever the batch or the interruption."""

from __future__ import annotations

import pytest

from skiagraph.errors import DataError, InputError
from skiagraph.tasks.synthesize.plan import Plan, Tally, wanted_counts

CLASSES = ("2", "10", "3")


def test_counts_fill_every_class_up_to_the_same_total() -> None:
    real = {"2": 455, "10": 128, "3": 600}
    assert wanted_counts(CLASSES, balance_to=500, real=real) == (45, 372, 0)
    assert wanted_counts(CLASSES, per_class=4) == (4, 4, 4)
    assert wanted_counts(CLASSES, counts={"10": 5}) == (0, 5, 0)
    assert wanted_counts(CLASSES) is None


def test_unknown_classes_and_nothing_to_do_are_refused() -> None:
    with pytest.raises(InputError, match="counts: found 4; the prior's classes are 2, 10, 3"):
        wanted_counts(CLASSES, counts={"4": 1})
    with pytest.raises(DataError, match="nothing is to be drawn"):
        wanted_counts(CLASSES, balance_to=1, real={"2": 1, "10": 1, "3": 1})


def test_seeds_follow_from_run_class_and_number_alone_and_never_repeat() -> None:
    plan, wider = Plan(CLASSES, (50, 50, 50), 7), Plan((*CLASSES, "x"), (9, 60, 50, 1), 7)
    seeds = [item.seed for item in plan.round({})]
    assert len(set(seeds)) == 150
    assert plan.item(1, 40).seed == wider.item(1, 40).seed
    assert plan.item(1, 40).seed != Plan(CLASSES, (50, 50, 50), 8).item(1, 40).seed


def test_rounds_draw_what_is_missing_until_the_limit() -> None:
    plan = Plan(CLASSES, (4, 2, 0), 0, attempts=2.0)
    assert [(item.label, item.number) for item in plan.round({})] == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (0, 3)]
    later = plan.round({0: Tally(4, 1), 1: Tally(2, 2)})
    assert [(item.label, item.number) for item in later] == [(0, 4), (0, 5), (0, 6)]
    assert [item.number for item in plan.round({0: Tally(7, 1), 1: Tally(2, 2)})] == [7]
    assert plan.round({0: Tally(8, 1), 1: Tally(2, 2)}) == []


def test_machines_share_work_by_the_first_number() -> None:
    one, other = Plan(CLASSES, (3, 0, 0), 0), Plan(CLASSES, (3, 0, 0), 0, first=3)
    numbers = [item.number for plan in (one, other) for item in plan.round({})]
    assert numbers == [0, 1, 2, 3, 4, 5]
    seeds = {item.seed for plan in (one, other) for item in plan.round({})}
    assert len(seeds) == 6


def test_twins_are_the_first_images_across_classes() -> None:
    plan = Plan(CLASSES, (4, 0, 4), 0, twins=3)
    assert [(item.label, item.number) for item in plan.round({}) if item.twin] == [(0, 0), (2, 0), (0, 1)]


SOURCES = (((5, 0), (2, 0)), ((1, 1),), ())


def test_every_source_is_hardened_once_where_no_number_is_given() -> None:
    plan = Plan(CLASSES, None, 0, sources=SOURCES)
    assert [(item.label, item.source) for item in plan.round({})] == [(0, 5), (1, 1), (0, 2)]
    assert plan.round({0: Tally(2, 0), 1: Tally(1, 1)}) == []


def test_more_images_than_sources_need_a_walk_that_draws() -> None:
    with pytest.raises(InputError, match="3 images of '2' are wanted, but only 2 real images"):
        Plan(CLASSES, (3, 0, 0), 0, sources=SOURCES)
    again = Plan(CLASSES, (3, 0, 0), 0, sources=SOURCES, repeat=True).round({})
    assert [item.source for item in again] == [5, 2, 5]
    assert len({item.seed for item in again}) == 3
