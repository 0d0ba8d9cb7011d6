"""How well a target prior denoises heads that it has not learned from, with and without maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skiagraph.diffusion.streams import Streams
from skiagraph.errors import InputError
from skiagraph.similarity import similarity
from skiagraph.tasks.translate.conditions import ConditionMaps
from skiagraph.tasks.translate.frame import to_slices
from skiagraph.tasks.translate.objective import TranslatePriorObjective
from skiagraph.tasks.translate.settings import TranslatePriorSettings
from skiagraph.tasks.translate.target_data import TargetHead, fitted, slabs_of
from skiagraph.tasks.translate.translatability import TranslatabilityRange

__all__ = ["held_out_errors", "usual_range"]

_MOST, _COMPARED = 96, 32


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


def usual_range(
    settings: TranslatePriorSettings, heads: list[TargetHead], judged: list[TargetHead]
) -> TranslatabilityRange | None:
    """What self maps of the target are usually like, from 32 slices learned from and 32 held out; None for too few."""
    try:
        learned, kept = (_slices(part, settings) for part in (heads, judged))
        return TranslatabilityRange.fit("lmi", similarity("lmi"), learned, kept)
    except InputError:
        return None


def _slices(heads: list[TargetHead], settings: TranslatePriorSettings) -> tuple[Tensor, Tensor]:
    """Evenly spaced axial slices with at least 100 pixels of foreground, in [0, 1], and their masks."""
    size = (settings.size[-2], settings.size[-1])
    images = np.concatenate([fitted(to_slices(head.image), size, np.float32(-1)) for head in heads])
    masks = np.concatenate([fitted(to_slices(head.mask), size, False) for head in heads])
    filled = np.flatnonzero(masks.sum((1, 2)) >= 100)
    if not len(filled):
        raise InputError("data: no axial slice has 100 pixels of foreground")
    chosen = filled[np.linspace(0, len(filled) - 1, min(_COMPARED, len(filled))).round().astype(int)]
    return torch.from_numpy((images[chosen, None] + 1) / 2), torch.from_numpy(masks[chosen, None])
