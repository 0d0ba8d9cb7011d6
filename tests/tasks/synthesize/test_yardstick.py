"""The command's own walks on the method's 2-D laboratory: hard images with their labels, for a tenth of the calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tasks.synthesize.laboratory import Labelled, settings

from skiagraph.diffusion import linear_table
from skiagraph.diffusion.laboratory import Judgement, alternating, judge, real_points, two_classes
from skiagraph.tasks.synthesize.kit import Guide, Kit
from skiagraph.tasks.synthesize.plan import Item
from skiagraph.tasks.synthesize.recipe import Recipe

COUNT = 600
BASE = two_classes(linear_table())
LABELS = alternating(COUNT)


def judged(**values: Any) -> tuple[Judgement, int]:
    """(what became of `COUNT` points, evaluations of both networks for each)."""
    guide = Guide("exact", lambda x, t: BASE.logits(x.double(), t), True)
    chosen = Kit(Labelled(BASE), (2,), ("0", "1"), (guide,))
    random = torch.Generator().manual_seed(0)
    component = torch.randint(0, 2, (COUNT,), generator=random)
    noise = torch.randn(COUNT, 2, generator=random, dtype=torch.float64)
    sources = real_points(LABELS, component, noise).float() if values["mode"] == "harden" else None
    items = [Item(k % 2, k // 2, k, k, k % 2) for k in range(COUNT)]
    given = settings(Path("out"), real=Path("real"), judge=None, **values)
    drawn = Recipe(chosen, given).draw(items, sources)
    return judge(BASE, drawn.images.double(), LABELS), drawn.network_calls + drawn.classifier_calls


@pytest.mark.parametrize(
    ("values", "calls"),
    [
        ({"mode": "harden"}, 69),
        ({"mode": "two-stage"}, 72),
        ({"mode": "two-stage", "first_scale": 10.0}, 141),
        ({"mode": "noise"}, 72),
    ],
)
def test_the_default_is_hard_and_keeps_its_labels_from_every_source(values: dict[str, Any], calls: int) -> None:
    found, spent = judged(**values)
    assert found.hard >= 0.97
    assert found.kept >= 0.99
    assert spent == calls
    assert found.negative_log_density == pytest.approx(3.15, abs=0.1)  # far out under its own class, as published


def test_fresh_noise_in_place_of_inversion_halves_the_calls_again() -> None:
    found, spent = judged(mode="harden", walk={"inversion": "noised"})
    assert (found.hard >= 0.97, found.kept >= 0.99, spent) == (True, True, 46)


def test_the_released_walk_works_against_its_own_first_stage() -> None:
    """Entropy at scale 5 hardly moves images that classifier guidance has made sure of, for 750 evaluations each."""
    sure, spent = judged(mode="two-stage", preset="reference", first_scale=10.0)
    assert sure.hard == pytest.approx(0.153, abs=0.045)
    assert spent == 750 + 500
