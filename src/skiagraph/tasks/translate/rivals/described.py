"""Priors conditioned on a descriptor of the source alone: edges (FGDM) or MIND.

The nearest rivals of mutual information: the map needs no state, and differs between training and use only by what the
descriptor keeps of contrast. FGDM: Li et al. 2023 (arXiv 2304.02742), there with an adversarial 4-step prior.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    prior: TargetPrior
    walk: Walk
    weight: float = 1.0

    def __call__(self, source: SourceStack, streams: Streams) -> Translation:
        """One walk a slice."""
        denoiser = self.prior.denoiser(source, weight=self.weight)
        start = noised(denoiser.schedule, source.images, self.walk.strength, streams)
        calls = self.walk.calls * (1 if self.weight in (0, 1) else 2)
        return Translation(self.walk.run(denoiser, start, streams), calls)


def fgdm(tools: Tools, strength: float = 1.0, weight: float = 1.0, rule: RuleName = "dpmpp") -> Described:
    """The prior "target-edges", trained with Sobel edges of the bilaterally filtered image.

    Differs from the released method in the prior (ours, not an adversarial one of four steps), so that only the map is
    compared, and in that every step is conditional.
    """
    return Described(tools.prior("target-edges"), Walk(tools.calls, rule, strength), weight)


def mind_condition(tools: Tools, strength: float = 1.0, weight: float = 1.0, rule: RuleName = "dpmpp") -> Described:
    """The prior "target-mind", trained with MIND descriptors."""
    return Described(tools.prior("target-mind"), Walk(tools.calls, rule, strength), weight)
