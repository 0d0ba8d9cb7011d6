"""Hard images by choice: of several draws for each image the one that scores highest, wherever the prior put it.

The rival that mines the initial noise and stays on what the generator draws (the idea of NAM, CVPR 2026): the push may
be weak or off, selection does the rest. Costs as many walks as there are candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from skiagraph.tasks.synthesize.drawn import Drawn, OnStep
from skiagraph.tasks.synthesize.plan import Item
from skiagraph.tasks.synthesize.verdicts import ask
from skiagraph.training.order import derive_seed

if TYPE_CHECKING:
    from skiagraph.tasks.synthesize.recipe import Recipe

__all__ = ["best_of", "candidate"]


def candidate(item: Item, number: int) -> Item:
    """The item with the seed of its candidate; number 0 keeps its own, so more candidates never change the first."""
    return item if number == 0 else replace(item, seed=derive_seed(item.seed, "candidate", number))


def best_of(recipe: Recipe, items: Sequence[Item], count: int, on_step: OnStep | None = None) -> Drawn:
    """Draw every image `count` times from noise and keep the draw of the highest measure at the clean level.

    Args:
        recipe: with a measure.
        items: what to draw.
        count: candidates for each, >= 2; ties go to the earlier one.
        on_step: see `Recipe.draw`.

    Returns the chosen images with the seeds they came from; evaluations are those of all candidates.
    """
    best: Drawn | None = None
    values = torch.full((len(items),), -torch.inf, dtype=torch.float64)
    network = classifier = 0
    for number in range(count):
        found = recipe.one([candidate(item, number) for item in items], on_step=on_step)
        network, classifier = network + found.network_calls, classifier + found.classifier_calls
        value = _measured(recipe, found.images, items)
        better = value > values
        values = torch.where(better, value, values)
        best = found if best is None else _merged(best, found, better)
    assert best is not None
    return replace(best, network_calls=network, classifier_calls=classifier)


def _measured(recipe: Recipe, images: Tensor, items: Sequence[Item]) -> Tensor:
    """(B,) the measure of clean images, on the CPU."""
    assert recipe.measure is not None
    labels = torch.tensor([item.label for item in items])
    _, logits = ask(recipe.kit.guides, recipe.kit, images.clamp(-1, 1), labels)
    return recipe.measure(logits, labels.to(logits.device)).double().cpu()


def _merged(old: Drawn, new: Drawn, better: Tensor) -> Drawn:
    """Sample by sample the new draw where it is better."""
    wide = better.reshape(-1, *[1] * (old.images.dim() - 1))
    before = None if old.before is None or new.before is None else torch.where(wide, new.before, old.before)
    return Drawn(
        torch.where(wide, new.images, old.images),
        before,
        old.has_before,
        torch.where(better, new.limited, old.limited),
        torch.where(better, new.outside, old.outside),
        old.network_calls,
        old.classifier_calls,
        tuple(b if use else a for a, b, use in zip(old.seeds, new.seeds, better.tolist(), strict=True)),
    )
