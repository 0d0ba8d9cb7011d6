"""EGSDE-like: SDEdit pushed by energies of the noisy pair (Zhao et al. 2022, arXiv 2207.06635).

The zero-shot form has the domain-independent energy only, E = -|phi(x_t) - phi(y_t)|^2 with a low-pass phi; similarity
of x0-hat and source (mutual information, MIND) may take its place. Nothing is differentiated through the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from skiagraph.diffusion import Condition, Denoiser, Streams, perturb
from skiagraph.diffusion.guidance import Energy
from skiagraph.diffusion.schedule import Schedule
from skiagraph.errors import InputError
from skiagraph.similarity import MIND, LocalInformation, SimilarityMap
from skiagraph.tasks.translate.guidance import SimilarityEnergy
from skiagraph.tasks.translate.method import SourceStack, Tools, Translation
from skiagraph.tasks.translate.prior import TargetPrior
from skiagraph.tasks.translate.rivals.low_pass import BlockLowPass
from skiagraph.tasks.translate.rivals.walks import RuleName, Walk, noised

__all__ = ["NoisyEnergy", "NoisyPair", "egsde"]

EnergyName = Literal["low-pass", "lmi", "mind-ssc"]


@dataclass(frozen=True, eq=False)
class NoisyPair:
    """-|phi(x_t) - phi(y_t)|^2 per sample, y_t = alpha_t y + sigma_t n with fresh noise at every call.

    Args:
        source: (B, C, H, W), y.
        part: phi.
        schedule: of the prior.
        noise: streams of y_t.
    """

    source: Tensor
    part: Callable[[Tensor], Tensor]
    schedule: Schedule
    noise: Streams

    def __call__(self, x: Tensor, t: Tensor, x0: Tensor, cond: Condition) -> Tensor:
        """(B,)."""
        other = perturb(self.schedule, self.source, t, self.noise.normal_like(self.source))
        return -(self.part(x) - self.part(other)).square().flatten(1).sum(1)


@dataclass(frozen=True, eq=False)
class NoisyEnergy:
    """SDEdit whose x0-hat is pushed along an energy's gradient.

    Args:
        prior: of the target, with an unconditional branch.
        walk: its strength is where the walk starts.
        energy: "low-pass", or the similarity of x0-hat with the source.
        weight: size of the push as a share of the noise found in the state; 0 is SDEdit bit for bit.
        factor: block side of the low-pass.
    """

    prior: TargetPrior
    walk: Walk
    energy: EnergyName = "low-pass"
    weight: float = 0.1
    factor: int = 4

    def guided(self, denoiser: Denoiser, source: SourceStack, streams: Streams) -> Denoiser:
        """The denoiser with its push."""
        if self.energy == "low-pass":
            term = NoisyPair(source.images, BlockLowPass(self.factor), denoiser.schedule, streams.fork("egsde"))
            return Energy(denoiser, term, self.weight, through="state", normalised=True)
        measure: SimilarityMap = MIND() if self.energy == "mind-ssc" else LocalInformation.default(energy=True)
        return Energy(denoiser, SimilarityEnergy(source.unit, measure), self.weight, through="x0", normalised=True)

    def __call__(self, source: SourceStack, streams: Streams) -> Translation:
        """One walk a slice."""
        denoiser = self.prior.denoiser(None)
        start = noised(denoiser.schedule, source.images, self.walk.strength, streams)
        return Translation(self.walk.run(self.guided(denoiser, source, streams), start, streams), self.walk.calls)


def egsde(
    tools: Tools,
    strength: float = 0.5,
    energy: EnergyName = "low-pass",
    weight: float = 0.1,
    factor: int = 4,
    rule: RuleName = "dpmpp",
) -> NoisyEnergy:
    """EGSDE's domain-independent part on top of SDEdit.

    Differs from the released code in that there is no two-domain classifier, which needs source data, and that the push
    is stated relative to the noise.
    """
    if energy not in get_args(EnergyName):
        raise InputError(f"energy: found {energy!r}; allowed {', '.join(get_args(EnergyName))}.")
    return NoisyEnergy(tools.prior("target"), Walk(tools.calls, rule, strength), energy, weight, factor)
