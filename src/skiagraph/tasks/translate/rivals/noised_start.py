"""SDEdit: the noised source denoised by the target prior (Meng et al. 2022, arXiv 2108.01073).

In a Gaussian mode of mean m and standard deviation s the output has mean m + G (y - m), G = a^2 s^2 / (a^2 s^2 + v^2)
with a, v signal and noise of the start: modes of small variance, the anatomy's edges, are forgotten first and those of
large variance, the source's contrast, last. That is the reverse of what translation needs.
"""

from __future__ import annotations

from dataclasses import dataclass

from skiagraph.diffusion import Streams
from skiagraph.tasks.translate.method import SourceStack, Tools, Translation
from skiagraph.tasks.translate.prior import TargetPrior
from skiagraph.tasks.translate.rivals.walks import RuleName, Walk, noised

__all__ = ["NoisedStart", "sdedit"]


@dataclass(frozen=True, eq=False)
class NoisedStart:
    """The reverse walk from alpha y + sigma e.

    Args:
        prior: of the target, with an unconditional branch.
        walk: its strength is where the walk starts; all its calls are spent below the start.
    """

    prior: TargetPrior
    walk: Walk

    def __call__(self, source: SourceStack, streams: Streams) -> Translation:
        """One walk a slice."""
        denoiser = self.prior.denoiser(None)
        start = noised(denoiser.schedule, source.images, self.walk.strength, streams)
        return Translation(self.walk.run(denoiser, start, streams), self.walk.calls)


def sdedit(tools: Tools, strength: float = 0.5, rule: RuleName = "dpmpp") -> NoisedStart:
    """SDEdit from `strength` of the noise levels with all of the budget.

    Differs from the released form (ancestral steps, noise also in the last) in the solver unless `rule` is "ddpm", and
    in that no noise goes into the clean end.
    """
    return NoisedStart(tools.prior("target"), Walk(tools.calls, rule, strength))
