"""Translations that need a prior of the source as well: DDIB and CycleDiffusion. Reported beside, as "needs more".

DDIB: Su et al. 2023 (arXiv 2203.08382). CycleDiffusion: Wu and De la Torre 2023 (arXiv 2210.05559).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from skiagraph.diffusion import (
    DDIM,
    Denoiser,
    Heun,
    Rule,
    Streams,
    Uniform,
    expand_like,
    final,
    invert,
    perturb,
    trajectory,
)
from skiagraph.diffusion.inversion import InversionMode
from skiagraph.diffusion.reverse import reverse_step
from skiagraph.errors import InputError
from skiagraph.tasks.translate.method import SourceStack, Tools, Translation
from skiagraph.tasks.translate.prior import TargetPrior
from skiagraph.tasks.translate.rivals.walks import Walk

__all__ = ["Bridge", "Cycle", "cycle", "cycle_diffusion", "ddib"]

_NEEDS = ("needs a prior of the source",)


@dataclass(frozen=True, eq=False)
class Bridge:
    """Up the source's probability flow and down the target's: the identity where both priors are equal.

    Args:
        source_prior, target_prior: two priors on one schedule.
        steps: levels walked up, and as many down.
        heun: second order, two calls a level each way.
        depth: largest share of noise variance visited.
    """

    source_prior: TargetPrior
    target_prior: TargetPrior
    steps: int
    heun: bool = False
    depth: float = 1.0

    def __call__(self, source: SourceStack, streams: Streams) -> Translation:
        """Deterministic; draws nothing."""
        mode: InversionMode = "heun" if self.heun else "mirrored"
        rule: Rule = Heun() if self.heun else DDIM()
        up, down = self.source_prior.denoiser(None), self.target_prior.denoiser(None)
        latent = invert(up, source.images, Uniform(self.steps), mode, depth=self.depth)
        result = final(trajectory(down, latent.x, latent.times, rule)).clamp(-1, 1)
        calls = 2 * self.steps * (2 if self.heun else 1)
        return Translation(result, calls, notes=_NEEDS)


def cycle(source: Denoiser, target: Denoiser, images: Tensor, times: Tensor, streams: Streams) -> Tensor:
    """The noises of a stochastic walk that ends at the images, found with one prior and spent with the other.

    A path x_T, x_s ~ q(x_s | x_t, x_0 = images) is drawn; its noise at each step is what the source's ancestral step
    lacks, n = (x_s - mean(x_t)) / std, and the target's walk takes the same x_T and n. The identity for equal priors.

    Args:
        source, target: denoisers on one schedule.
        images: (B, C, H, W) clean.
        times: (n + 1,) from the start to the clean end.
        streams: one a sample.
    """
    known = target_state = perturb(source.schedule, images, times[0], streams.normal_like(images))
    for t, s in pairwise(times):
        step = reverse_step(source.schedule, t, s)
        spread = expand_like(torch.exp(0.5 * step.log_small), images)
        of_x0, of_x = expand_like(step.of_x0, images), expand_like(step.of_x, images)
        own, other = source(known, t).x0, target(target_state, t).x0
        clean = float(source.schedule(s)[1]) == 0
        drawn = images if clean else of_x0 * images + of_x * known + spread * streams.normal_like(images)
        lacking = drawn - (of_x0 * own + of_x * known)  # std times n
        target_state = of_x0 * other + of_x * target_state + lacking
        known = drawn
    return target_state


@dataclass(frozen=True, eq=False)
class Cycle:
    """CycleDiffusion.

    Args:
        source_prior, target_prior: two priors on one schedule.
        walk: its calls are shared between the two priors; its strength is where the path starts.
    """

    source_prior: TargetPrior
    target_prior: TargetPrior
    walk: Walk

    def __call__(self, source: SourceStack, streams: Streams) -> Translation:
        """One path a slice."""
        up, down = self.source_prior.denoiser(None), self.target_prior.denoiser(None)
        result = cycle(up, down, source.images, self.walk.grid(up.schedule)(up.schedule), streams).clamp(-1, 1)
        return Translation(result, 2 * self.walk.calls, notes=_NEEDS)


def _half(calls: int, share: int = 2) -> int:
    if calls < share:
        raise InputError(f"calls: found {calls}; at least {share} are needed where two priors share them.")
    return calls // share


def ddib(tools: Tools, heun: bool = False, depth: float = 1.0) -> Bridge:
    """Dual diffusion implicit bridges with half of the budget each way."""
    steps = _half(tools.calls, 4 if heun else 2)
    return Bridge(tools.prior("source"), tools.prior("target"), steps, heun, depth)


def cycle_diffusion(tools: Tools, strength: float = 0.7) -> Cycle:
    """CycleDiffusion with half of the budget for each prior."""
    walk = Walk(_half(tools.calls), "ddpm", strength)
    return Cycle(tools.prior("source"), tools.prior("target"), walk)
