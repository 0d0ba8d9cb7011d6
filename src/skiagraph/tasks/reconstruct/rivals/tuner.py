"""Tune grid, fresh noise and strength of a sampler on slices of training heads, one number after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from skiagraph.tasks.reconstruct.rivals.figures import score
from skiagraph.tasks.reconstruct.rivals.plug_in import PlugIn
from skiagraph.tasks.reconstruct.simulated import SimulatedSlices

__all__ = ["TunedPlugIn", "candidates", "tune_plug_in"]


@dataclass(frozen=True, eq=False)
class TunedPlugIn:
    """The outcome of `tune_plug_in`.

    Args:
        rival: the sampler with the numbers that did best.
        tried: numbers and mean PSNR of every trial, in their order.
    """

    rival: PlugIn
    tried: tuple[Mapping[str, Any], ...]

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {"name": self.rival.name, "chosen": self.rival.settings.model_dump(), "tried": list(self.tried)}


def candidates(rival: PlugIn) -> list[tuple[str, Sequence[float]]]:
    """The numbers that matter to a method, in the order they are tuned, with the values to try."""
    noisiest = ("noisiest", (0.15, 0.3, 1.0, 5.0))
    finest = ("finest", (0.002, 0.005, 0.01, 0.02))
    eta = ("eta", (0.5, 0.85, 1.0))
    steps = ("steps", (20, 50))
    if rival.method == "ddnm":
        return [noisiest, eta, finest, steps]
    factors = (0.1, 0.3, 3.0, 10.0) if rival.method in ("dps", "diffpir") else (0.1, 0.3, 3.0)
    strength = ("strength", tuple(rival.settings.strength * factor for factor in factors))
    return [strength, noisiest, eta, finest, steps]


def tune_plug_in(rival: PlugIn, slices: SimulatedSlices) -> TunedPlugIn:
    """Try the candidates of one number at a time, keep the best (mean PSNR of the samples' mean), go on to the next.

    Args:
        rival: the sampler with the numbers to start from.
        slices: slices of training heads, never those that are reported.
    """
    best = rival
    tried: list[dict[str, Any]] = []
    found = _trial(best, slices, tried)
    for name, values in candidates(rival):
        start = best
        for value in values:
            if value == getattr(start.settings, name):
                continue
            try:
                settings = type(start.settings)(**{**start.settings.model_dump(), name: value})
            except ValidationError:  # numbers that contradict each other
                continue
            trial = replace(start, settings=settings)
            psnr = _trial(trial, slices, tried)
            if psnr > found:
                best, found = trial, psnr
    return TunedPlugIn(best, tuple(tried))


def _trial(rival: PlugIn, slices: SimulatedSlices, tried: list[dict[str, Any]]) -> float:
    images = rival(slices.scan, slices.names).images
    psnr = float(score(images, slices.truth, slices.head)["psnr_db"].mean())
    tried.append({**rival.settings.model_dump(), "psnr_db": round(psnr, 3)})
    return psnr
