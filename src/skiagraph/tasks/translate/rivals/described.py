"""Priors conditioned on a descriptor of the source alone: edges (FGDM) or MIND.

The nearest rivals of mutual information: the map needs no state, and differs between training and use only by what the
descriptor keeps of contrast. FGDM: Li et al. 2023 (arXiv 2304.02742), there with an adversarial 4-step prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from skiagraph.diffusion import Streams
from skiagraph.tasks.translate.method import SourceStack, Tools, Translation
from skiagraph.tasks.translate.prior import TargetPrior
from skiagraph.tasks.translate.rivals.walks import RuleName, Walk, noised

__all__ = ["Described", "fgdm", "mind_condition"]


@dataclass(frozen=True, eq=False)
class Described:
    """The conditional walk, from pure noise or from the noised source.

    Args:
        prior: trained with the descriptor.
        walk: solver, budget and start.
        weight: 1 the plain condition, 0 the prior, more is stronger.
        candidates: walks whose mean is the result.
    """

    prior: TargetPrior
    walk: Walk
    weight: float = 1.0
    candidates: int = 1

    def __call__(self, source: SourceStack, streams: Streams) -> Translation:
        """Several walks draw from forks of the slices' streams."""
        found = []
        for number in range(self.candidates):
            own = streams if self.candidates == 1 else streams.fork(f"candidate {number}")
            denoiser = self.prior.denoiser(source, weight=self.weight)
            start = noised(denoiser.schedule, source.images, self.walk.strength, own)
            found.append(self.walk.run(denoiser, start, own))
        calls = self.candidates * self.walk.calls * (1 if self.weight in (0, 1) else 2)
        every = torch.stack(found)
        if self.candidates == 1:
            return Translation(every[0], calls)
        return Translation(every.mean(0), calls, every, every.std(0))


def fgdm(
    tools: Tools, strength: float = 1.0, weight: float = 1.0, rule: RuleName = "dpmpp", candidates: int = 1
) -> Described:
    """The prior "target-edges", trained with Sobel edges of the bilaterally filtered image.

    Differs from the released method in the prior (ours, not an adversarial one of four steps), so that only the map is
    compared, and in that every step is conditional.
    """
    walk = Walk(max(1, tools.calls // candidates), rule, strength)
    return Described(tools.prior("target-edges"), walk, weight, candidates)


def mind_condition(tools: Tools, strength: float = 1.0, weight: float = 1.0, rule: RuleName = "dpmpp") -> Described:
    """The prior "target-mind", trained with MIND descriptors."""
    return Described(tools.prior("target-mind"), Walk(tools.calls, rule, strength), weight)
