"""The method of this library: a target prior steered by the source's maps, by a similarity's gradient, or by both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from skiagraph.diffusion import Denoiser, Streams
from skiagraph.diffusion.guidance import Energy
from skiagraph.errors import InputError
from skiagraph.similarity import LocalInformation, SimilarityMap, similarity
from skiagraph.tasks.translate.guidance import SimilarityEnergy
from skiagraph.tasks.translate.method import SourceStack, Tools, Translation
from skiagraph.tasks.translate.planes import PlaneAverage, source_in_plane
from skiagraph.tasks.translate.prior import StackDenoiser, TargetPrior
from skiagraph.tasks.translate.rivals.walks import RuleName, Walk, noised
from skiagraph.tasks.translate.slice_noise import Consistency, coefficient_of

__all__ = ["GuidedTranslation", "Mode", "energy_measure", "guided_translation"]

Mode = Literal["condition", "gradient", "hybrid"]
_RHO = (0.05, 5.0)


@dataclass(frozen=True, eq=False)
class GuidedTranslation:
    """Walks from noise (or from the noised source) to target slices, K times, and reports mean and deviation.

    Args:
        prior: of the target.
        mode: "condition": the network sees the source's maps; "gradient": the prior alone, pushed up the similarity of
            x0-hat and source; "hybrid": both.
        steps: of the solver, for each candidate.
        candidates: K.
        rule: "dpmpp", "ddim" or "ddpm".
        strength: None or 1 starts from noise; below, from the noised source at index round(1000 strength) - 1.
        weight: strength of the maps; other values than 0 and 1 cost two evaluations.
        energy: similarity of the gradient, by name.
        push: share of the size of the noise found, over the whole slice, that an evaluation moves.
        consistency: noise of neighbouring slices.
        planes: cut along which the estimate is made and averaged.
        refresh: evaluations that one state-dependent map serves.
        batch: slices in one network call.
        observe: told (slices evaluated, in all) after every evaluation.
    """

    prior: TargetPrior
    mode: Mode = "condition"
    steps: int = 12
    candidates: int = 4
    rule: RuleName = "dpmpp"
    strength: float | None = None
    weight: float = 1.0
    energy: str = "mind-ssc"
    push: float = 0.1
    consistency: Consistency = "correlated"
    planes: tuple[str, ...] = ("axial",)
    refresh: int = 1
    batch: int = 16
    observe: Callable[[int], None] | None = None

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise InputError(f"mode: found {self.mode!r}; allowed {', '.join(get_args(Mode))}")
        if self.candidates < 1:
            raise InputError(f"candidates: found {self.candidates}; allowed at least 1")
        unknown = sorted(set(self.planes) - set(self.prior.planes))
        if unknown or not self.planes:
            raise InputError(
                f"planes: found {', '.join(self.planes) or 'none'}, but prior {self.prior.prior.record.name!r} has "
                f"learned {', '.join(self.prior.planes)}; leave planes out, or train a prior of these planes"
            )
        if self.mode == "gradient" and not self.prior.unconditional:
            raise InputError(
                f"mode: found 'gradient', but prior {self.prior.prior.record.name!r} was trained with its maps always "
                "given; use 'condition' or 'hybrid', or a prior trained with condition.dropout"
            )

    @property
    def calls(self) -> float:
        """Network evaluations a slice."""
        passes = 2 if self.mode != "gradient" and self.prior.condition.search == "x0-hat" else 1
        branches = 2 if self.mode != "gradient" and self.weight not in (0, 1) else 1
        return self.steps * self.candidates * passes * branches * len(self.planes)

    @property
    def walk(self) -> Walk:
        """Of one candidate."""
        return Walk(self.steps, self.rule, 1.0 if self.strength is None else self.strength)

    @property
    def pushed(self) -> int:
        """Steps at which the similarity pushes."""
        if self.mode == "condition" or self.push == 0:
            return 0
        schedule = self.prior.schedule
        alpha, sigma = schedule(self.walk.grid(schedule)(schedule)[:-1])
        return int(((sigma / alpha >= _RHO[0]) & (sigma / alpha <= _RHO[1])).sum())

    def __call__(self, source: SourceStack, streams: Streams) -> Translation:
        """Translate a stack; candidates draw from forks of the slices' streams."""
        walk = self.walk
        base = self.prior.stack_denoiser(self.batch)
        base.observe = self.observe
        coefficient = coefficient_of(self.consistency, source.spacing_mm[0])
        found = []
        for number in range(self.candidates):
            own = streams.fork(f"candidate {number}").linked(coefficient)
            denoiser = self.denoiser(source, base)
            start = noised(denoiser.schedule, source.images, walk.strength, own)
            # outside the foreground there is nothing to see: background, whatever the network painted there
            found.append(torch.where(source.mask, walk.run(denoiser, start, own), -1.0))
        every = torch.stack(found)
        deviation = every.std(0) if self.candidates > 1 else None
        notes = (*self._notes(source), *self._unpushed())
        return Translation(every.mean(0), self.calls, every, deviation, notes)

    def denoiser(self, source: SourceStack, base: StackDenoiser) -> Denoiser:
        """The steered denoiser of axial stacks."""
        if self.planes == ("axial",):
            return self.steered(source, base)
        return PlaneAverage({plane: self.steered(source_in_plane(source, plane), base) for plane in self.planes})

    def steered(self, source: SourceStack, base: StackDenoiser) -> Denoiser:
        """The steered denoiser of slices of one plane, seen as axial ones."""
        shown = None if self.mode == "gradient" else source
        weight = 1.0 if shown is None else self.weight
        steered = self.prior.denoiser(shown, weight=weight, refresh=self.refresh, base=base)
        if self.mode == "condition" or self.push == 0:
            return steered
        # A slice without foreground has no similarity of its own; there the whole slice counts.
        empty = ~source.mask.flatten(1).any(1)[:, None, None, None]
        term = SimilarityEnergy(source.unit, energy_measure(self.energy), mask=source.mask | empty)
        low, high = (rho**2 / (1 + rho**2) for rho in _RHO)
        return Energy(steered, term, self.push, "x0", interval=(low, high), normalised=True)

    def _notes(self, source: SourceStack) -> tuple[str, ...]:
        inside = [part[mask] for part, mask in zip(source.images, source.mask, strict=True)]
        flat = [number for number, part in enumerate(inside) if part.numel() and float(part.max() - part.min()) < 1e-6]
        if not flat:
            return ()
        return (f"{len(flat)} source slices are constant (first: {flat[0]}); there the result is the prior's guess.",)

    def _unpushed(self) -> tuple[str, ...]:
        """What to say where no step lies at levels at which the similarity pushes."""
        if self.mode == "condition" or self.push == 0 or self.pushed:
            return ()
        return (
            f"None of the {self.steps} steps lies at noise-to-signal ratios from {_RHO[0]:g} to {_RHO[1]:g}, where the "
            f"{self.energy} similarity pushes, so the source had no say in it; allow more steps.",
        )


def energy_measure(name: str) -> SimilarityMap:
    """The similarity of that name in a form that can be differentiated."""
    if name == "lmi":
        return LocalInformation.default(energy=True)
    return similarity(name)


def guided_translation(tools: Tools, role: str = "target", **options: Any) -> GuidedTranslation:
    """The method with a prior of the tools; without steps, as many as the budget holds for its candidates."""
    prior = tools.prior(role)
    if "steps" not in options:
        probe = GuidedTranslation(prior, **{**options, "steps": 1})
        options["steps"] = max(1, int(tools.calls / probe.calls))
    return GuidedTranslation(prior, **options)
