"""What a run will take, said before it is started: images, evaluations, time, memory."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor

from skiagraph.tasks.synthesize.kit import Kit, load_kit
from skiagraph.tasks.synthesize.make import batch_size
from skiagraph.tasks.synthesize.presets import filled
from skiagraph.tasks.synthesize.real import read_real
from skiagraph.tasks.synthesize.recipe import Recipe
from skiagraph.tasks.synthesize.run import make_plan
from skiagraph.tasks.synthesize.settings import SweepSettings, SynthesizeSettings

__all__ = ["expectation", "seconds_per_call"]

TRIED = 8


def expectation(settings: SynthesizeSettings) -> dict[str, Any]:
    """What a run costs, without starting it; networks and images that are not there yet are said to be missing."""
    settings = filled(settings)
    paths = [settings.prior, *settings.classifier, *([settings.judge] if settings.judge else [])]
    missing = [str(path) for path in (*paths, *([settings.real] if settings.real else [])) if not path.exists()]
    if missing:
        return {"missing": f"not there yet: {', '.join(missing)}; evaluations, time and memory follow from them"}
    kit = load_kit(settings)
    recipe = Recipe(kit, settings)
    if isinstance(settings, SweepSettings):
        wanted = {name: settings.images * len({0.0, *settings.scales}) for name in kit.classes}
        most = sum(wanted.values())
    else:
        plan = make_plan(settings, kit, read_real(settings, kit), recipe)
        wanted = {name: plan.target(label) for label, name in enumerate(plan.classes)}
        most = sum(plan.limit(label) for label in range(len(plan.classes)))
    calls, images, batch = recipe.calls(), sum(wanted.values()), batch_size(kit, settings.batch)
    if isinstance(settings, SweepSettings):
        calls = _swept(recipe, calls, len({0.0, *settings.scales}))
    network, classifier = seconds_per_call(kit, recipe, min(batch, max(images, 1)))
    seconds = images * (calls["network"] * network + calls["classifier"] * classifier)
    return {
        "preset": settings.preset,
        "images": images,
        "images_by_class": wanted,
        "images_at_most": most,
        "network_evaluations_per_image": calls["network"],
        "classifier_evaluations_per_image": calls["classifier"],
        "levels": len(recipe.times) - 1,
        "batch": min(batch, max(images, 1)),
        "seconds_at_this_machines_present_speed": round(seconds) if seconds > 10 else round(seconds, 1),
        "memory_gib": round(_memory(kit, recipe, min(batch, max(images, 1))), 2),
        "warnings": list(recipe.risks()),
    }


def _swept(recipe: Recipe, calls: dict[str, int], scales: int) -> dict[str, int]:
    """Mean calls of an image at one scale: what comes before the push is done once for all."""
    shared = calls["network"] * (1 - recipe.steps()[2] / max(sum(recipe.steps()), 1))
    network = calls["network"] - shared + shared / scales
    return {"network": round(network), "classifier": calls["classifier"]}


def seconds_per_call(kit: Kit, recipe: Recipe, batch: int) -> tuple[float, float]:
    """Seconds of one evaluation of the network, and of the classifier with its gradient, for one image."""
    count = min(batch, TRIED)
    x = torch.zeros(count, *kit.shape, device=kit.device)
    label = torch.zeros(count, dtype=torch.int64, device=kit.device)
    t = torch.tensor(float(len(kit.table) // 2), dtype=torch.float64)

    def network() -> None:
        with torch.no_grad():
            kit.base(x, t, {"label": label})

    def classifier() -> None:
        if recipe.measure is None or not recipe.pushes:
            return
        state: Tensor = x.clone().requires_grad_()
        term = recipe.term(recipe.measure)
        torch.autograd.grad(term(state, t, state, {"label": label}).sum(), state)

    return _timed(network, kit.device) / count, _timed(classifier, kit.device) / count


def _timed(call: Any, device: torch.device) -> float:
    """The best of three, after one that is not counted."""
    best = math.inf
    for _ in range(4):
        started = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - started)
    return best


def _memory(kit: Kit, recipe: Recipe, batch: int) -> float:
    """GiB: the program, the weights, and what one evaluation of a batch keeps; an estimate."""
    network = getattr(kit.base, "network", None)
    weights = sum(value.numel() for value in network.parameters()) if isinstance(network, torch.nn.Module) else 0
    kept: list[int] = []
    hooks = []
    if isinstance(network, torch.nn.Module):
        for module in network.modules():
            if not any(True for _ in module.children()):
                hooks.append(module.register_forward_hook(lambda _, __, out: kept.append(out.numel())))
        x = torch.zeros(1, *kit.shape, device=kit.device)
        with torch.no_grad():
            kit.base(x, torch.tensor(0.0, dtype=torch.float64), {"label": torch.zeros(1, dtype=torch.int64)})
        for hook in hooks:
            hook.remove()
    share = 1.0 if recipe.settings.guide.through == "network" else 0.25
    return (4 * weights * 2 + 4 * batch * share * sum(kept)) / 2**30 + 0.6
