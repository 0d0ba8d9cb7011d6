"""How well a target prior denoises heads that it has not learned from, with and without maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from skiagraph.diffusion.streams import Streams
from skiagraph.tasks.translate.conditions import ConditionMaps
from skiagraph.tasks.translate.objective import TranslatePriorObjective
from skiagraph.tasks.translate.settings import TranslatePriorSettings
from skiagraph.tasks.translate.target_data import TargetHead, slabs_of

__all__ = ["held_out_errors"]

_MOST = 96


def held_out_errors(
    network: Any, objective: TranslatePriorObjective, settings: TranslatePriorSettings, heads: list[TargetHead]
) -> dict[str, float]:
    """Mean loss of evenly spaced held-out items, anatomy unchanged, one draw of level and noise each.

    Args:
        network: averaged weights, in evaluation mode.
        objective: of the training.
        settings: of the run.
        heads: not learned from.
    """
    maps = ConditionMaps(settings.condition)
    items = slabs_of(heads, settings, max(settings.neighbours, maps.reach))
    chosen = torch.linspace(0, len(items) - 1, min(_MOST, len(items))).round().long()
    device = next(network.parameters()).device
    found: dict[str, float] = {}
    shares = {"held_out_with_maps": 0.0, "held_out_without_maps": 1.0} if maps.channels else {"held_out": 0.0}
    for name, dropout in shares.items():
        # model_copy: a dropout of 1 is no setting of a training
        condition = settings.condition.model_copy(update={"dropout": dropout})
        judged = replace(objective, condition=condition, shape=None)
        losses = []
        with torch.no_grad():
            for part in torch.split(chosen, 16):
                streams = Streams([settings.seed + int(index) for index in part], device)
                losses.append(judged(network, items.batch(part).to(device), streams).loss.cpu())
        found[name] = float(torch.cat(losses).mean())
    return found
