"""Of several draws the hardest is kept: the same images as drawing each alone, and never a softer one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tests.tasks.synthesize.laboratory import kit, settings
from tests.tasks.synthesize.test_recipe import ITEMS, draw
from torch import Tensor

from skiagraph.errors import InputError
from skiagraph.tasks.synthesize.candidates import candidate
from skiagraph.tasks.synthesize.recipe import Recipe
from skiagraph.tasks.synthesize.settings import SweepSettings
from skiagraph.tasks.synthesize.verdicts import ask

STILL: dict[str, Any] = {"guide": {"scale": 0.0}, "walk": {"levels": 16}}
PUSHED: dict[str, Any] = {"guide": {"scale": 1.0}, "walk": {"levels": 16}}


def measured(images: Tensor) -> Tensor:
    chosen, labels = kit(), torch.tensor([item.label for item in ITEMS])
    recipe = Recipe(chosen, settings(Path("out"), mode="noise", **STILL))
    assert recipe.measure is not None
    return recipe.measure(ask(chosen.guides, chosen, images.clamp(-1, 1), labels)[1], labels)


@pytest.mark.parametrize("values", [STILL, PUSHED])
def test_each_image_is_the_hardest_of_its_own_draws(values: dict[str, Any]) -> None:
    alone = [draw(items=[candidate(item, number) for item in ITEMS], **values) for number in range(3)]
    scores = torch.stack([measured(drawn.images) for drawn in alone])
    found, place = draw(candidates=3, **values), scores.argmax(0)
    assert len(set(place.tolist())) > 1
    for at, number in enumerate(place.tolist()):
        assert torch.equal(found.images[at], alone[number].images[at])
        assert found.seeds[at] == candidate(ITEMS[at], number).seed
        assert found.limited[at] == alone[number].limited[at]
    assert (measured(found.images) == scores.amax(0)).all()


def test_the_seed_that_is_written_draws_the_image_alone() -> None:
    found = draw(candidates=3, **STILL)
    again = draw(items=[replace(item, seed=seed) for item, seed in zip(ITEMS, found.seeds, strict=True)], **STILL)
    assert torch.equal(again.images, found.images)


def test_more_candidates_never_make_an_image_softer_and_are_counted() -> None:
    few, more = draw(candidates=2, **PUSHED), draw(candidates=4, **PUSHED)
    assert (measured(more.images) >= measured(few.images)).all()
    assert more.network_calls == 2 * few.network_calls
    assert more.classifier_calls == 2 * few.classifier_calls
    stated = Recipe(kit(), settings(Path("out"), mode="noise", candidates=4, **PUSHED))
    assert stated.calls() == {"network": more.network_calls, "classifier": more.classifier_calls}


def test_candidates_do_not_depend_on_the_batch() -> None:
    whole = draw(candidates=3, **PUSHED)
    parts = [draw(items=[item], candidates=3, **PUSHED).images for item in ITEMS]
    assert torch.equal(torch.cat(parts), whole.images)


def test_the_unpushed_twin_belongs_to_the_chosen_draw() -> None:
    items = [replace(item, twin=True) for item in ITEMS]
    found = draw(items=items, candidates=3, **PUSHED)
    own = [replace(item, seed=seed) for item, seed in zip(items, found.seeds, strict=True)]
    before = draw(items=own, **PUSHED).before
    assert found.before is not None
    assert before is not None
    assert torch.equal(found.before, before)


def test_candidates_without_a_measure_or_without_noise_are_refused() -> None:
    with pytest.raises(InputError, match=r"candidates: found 3, .* name a measure"):
        draw(candidates=3, guide={"measure": "none"})
    with pytest.raises(ValidationError, match="candidates has an effect with mode noise only"):
        draw(candidates=3, mode="harden")
    with pytest.raises(ValidationError, match="candidates has no effect on a sweep"):
        SweepSettings(prior=Path("prior"), output=Path("out"), candidates=2)
