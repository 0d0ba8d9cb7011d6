"""The steered walk, begun at the noised source whose histogram was brought to the target's, inverted where that helps.

SDEdit's start keeps the source's contrast, which is wrong; a start whose contrast is nearly right leaves the prior less
to do. Everything comes from target slices and the source itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from skiagraph.diffusion import Streams
from skiagraph.tasks.translate.method import SourceStack, Tools, Translation
from skiagraph.tasks.translate.prior import TargetPrior
from skiagraph.tasks.translate.rivals.pointwise import HistogramMatching, histogram_matching
from skiagraph.tasks.translate.rivals.walks import RuleName, Walk, noised

__all__ = ["MatchedStart", "matched_start"]


@dataclass(frozen=True, eq=False)
class MatchedStart:
    """The mean of several walks from the noised match, each steered by the source.

    Args:
        prior: of the target, with the maps of its training.
        matching: makes the start.
        walk: of each candidate; its strength is where it starts.
        candidates: walks.
    """

    prior: TargetPrior
    matching: HistogramMatching
    walk: Walk
    candidates: int = 4

    def __call__(self, source: SourceStack, streams: Streams) -> Translation:
        """Candidates draw from forks of the slices' streams."""
        matched = self.matching(source, streams)
        found = []
        for number in range(self.candidates):
            own = streams.fork(f"candidate {number}")
            denoiser = self.prior.denoiser(source)
            start = noised(denoiser.schedule, matched.images, self.walk.strength, own)
            found.append(torch.where(source.mask, self.walk.run(denoiser, start, own), -1.0))
        every = torch.stack(found)
        calls = self.walk.calls * self.candidates
        return Translation(every.mean(0), calls, every, every.std(0) if len(every) > 1 else None, matched.notes)


def matched_start(
    tools: Tools, strength: float = 0.3, candidates: int = 4, rule: RuleName = "dpmpp", role: str = "target"
) -> MatchedStart:
    """With as many steps as the budget holds for its candidates."""
    walk = Walk(max(1, tools.calls // candidates), rule, strength)
    return MatchedStart(tools.prior(role), histogram_matching(tools, either=True), walk, candidates)
