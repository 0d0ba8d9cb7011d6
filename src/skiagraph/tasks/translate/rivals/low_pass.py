"""ILVR: after every step the source's part phi takes the place of the sample's (Choi et al. 2021, arXiv 2108.02938).

x_s <- x_s + phi(y_s) - phi(x_s), y_s = alpha_s y + sigma_s n. Where phi is a projection phi(result) = phi(y) exactly: a
low-pass phi forces the source's contrast on the result; its complement takes only the source's fine structure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor
from torch.nn import functional

from skiagraph.diffusion import Rule, Streams, perturb
from skiagraph.errors import InputError
from skiagraph.physics.resample import BlockMean
from skiagraph.tasks.translate.method import SourceStack, Tools, Translation
from skiagraph.tasks.translate.prior import TargetPrior
from skiagraph.tasks.translate.rivals.walks import RuleName, Walk, noised

__all__ = ["BlockLowPass", "Replacement", "Replacing", "ilvr"]

Part = Literal["low-pass", "high-pass"]


@dataclass(frozen=True)
class BlockLowPass:
    """Means of blocks, repeated: down- and upsampling by a factor, a projection.

    Args:
        factor: side of a block, >= 1; sides that are no multiple of it are continued by their edge.
        complement: what the means leave, x - phi(x), a projection as well.
    """

    factor: int
    complement: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        height, width = x.shape[-2:]
        block = BlockMean(self.factor)
        padded = functional.pad(x, (0, -width % self.factor, 0, -height % self.factor), mode="replicate")
        low = block.pinv(block.forward(padded))[..., :height, :width]
        return x - low if self.complement else low


@dataclass(frozen=True, eq=False)
class Replacing:
    """A rule followed by the replacement, down to a cleanest level.

    Args:
        rule: makes the step.
        source: (B, C, H, W), y.
        part: phi.
        noise: streams of y_s, apart from those of the rule.
        until: share of the noise variance, sigma^2 / (alpha^2 + sigma^2), below which nothing is replaced; 0 replaces
            to the clean end.
    """

    rule: Rule
    source: Tensor
    part: Callable[[Tensor], Tensor]
    noise: Streams
    until: float = 0.0

    @property
    def order(self) -> int:
        """First: the replacement breaks what a solver remembers."""
        return 1

    def __call__(
        self, denoiser: Any, x: Tensor, t: Tensor, s: Tensor, cond: Any, streams: Streams | None, carry: Any
    ) -> tuple[Tensor, Tensor, Any]:
        """One step."""
        state, x0, carry = self.rule(denoiser, x, t, s, cond, streams, carry)
        alpha, sigma = denoiser.schedule(s)
        if float(sigma**2 / (alpha**2 + sigma**2)) < self.until:
            return state, x0, carry
        other = perturb(denoiser.schedule, self.source, s, self.noise.normal_like(self.source))
        return state + self.part(other) - self.part(state), x0, None


@dataclass(frozen=True, eq=False)
class Replacement:
    """ILVR from pure noise.

    Args:
        prior: of the target, with an unconditional branch.
        walk: solver and budget.
        part: phi.
        until: see `Replacing`.
    """

    prior: TargetPrior
    walk: Walk
    part: Callable[[Tensor], Tensor]
    until: float = 0.0

    def __call__(self, source: SourceStack, streams: Streams) -> Translation:
        """One walk a slice."""
        denoiser = self.prior.denoiser(None)
        start = noised(denoiser.schedule, source.images, self.walk.strength, streams)
        other = streams.fork("ilvr")

        def wrap(rule: Rule) -> Rule:
            return Replacing(rule, source.images, self.part, other, self.until)

        return Translation(self.walk.run(denoiser, start, streams, wrap), self.walk.calls)


def ilvr(
    tools: Tools, factor: int = 4, part: Part = "low-pass", until: float = 0.0, rule: RuleName = "ddpm"
) -> Replacement:
    """ILVR with block means of `factor` pixels, or with what they leave ("high-pass"), from pure noise."""
    if part not in get_args(Part):
        raise InputError(f"part: found {part!r}; allowed {', '.join(get_args(Part))}.")
    walk = Walk(tools.calls, rule)
    return Replacement(tools.prior("target"), walk, BlockLowPass(factor, part == "high-pass"), until)
