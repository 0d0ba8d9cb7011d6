"""The released sampler of mutual-information guided translation, step by step.

Wang et al., IEEE TMI 2024, DOI 10.1109/TMI.2024.3382043. For i = N - 1 ... 0, with c2 = LMI(y, y) and all in [0, 1]:

    c1 = LMI(y, x);  eps = F([x, c1, c2], i)
    x <- (x - beta_i / sqrt(1 - abar_i) eps) / sqrt(1 - beta_i) + exp(logvar_i / 2) n,   n ~ N(0, 1), also at i = 0

abar is a float32 product of 1 - beta, x0-hat is never formed or clipped, and a shorter walk still begins at pure noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skiagraph.diffusion import Streams
from skiagraph.errors import InputError
from skiagraph.tasks.translate.conditions import ConditionMaps
from skiagraph.tasks.translate.method import SourceStack, Tools, Translation
from skiagraph.tasks.translate.prior import TargetPrior

__all__ = ["ReleasedTables", "ReleasedTranslation", "released_translation"]


@dataclass(frozen=True, eq=False)
class ReleasedTables:
    """beta_i, abar_i (float32 product) and the log-variance of the released sampler, (T,) float32 each."""

    beta: Tensor
    alpha_bar: Tensor
    log_variance: Tensor

    @classmethod
    def linear(cls, levels: int = 1000) -> ReleasedTables:
        """betas from 1e-4 to 0.02; variance beta_i, at i = 0 the posterior variance of i = 1 ("fixedlarge")."""
        wide = torch.linspace(1e-4, 0.02, levels, dtype=torch.float64)
        product = torch.cumprod(1 - wide, 0)
        posterior = wide[1] * (1 - product[0]) / (1 - product[1])
        variance = torch.cat([posterior[None], wide[1:]])
        beta = wide.float()
        return cls(beta, torch.cumprod(1 - beta, 0), variance.log().float())

    def step(self, x: Tensor, eps: Tensor, index: int, noise: Tensor) -> Tensor:
        """The state at level index - 1."""
        beta = self.beta[index]
        mean = (x - beta / torch.sqrt(1 - self.alpha_bar[index]) * eps) / torch.sqrt(1 - beta)
        return mean + torch.exp(0.5 * self.log_variance[index]) * noise


@dataclass(frozen=True, eq=False)
class ReleasedTranslation:
    """The released translation of slices, one by one as far as noise goes.

    Args:
        prior: of released maps: condition kind lmi-reference without flag channel, predicting eps.
        levels: N; 1000 as released.
        normalise: of the maps in sampling; None as the prior states. Four of five released configurations differ.
        batch: slices in one call.
        observe: told the number of slices after every evaluation.
    """

    prior: TargetPrior
    levels: int = 1000
    normalise: bool | None = None
    batch: int = 16
    observe: Callable[[int], None] | None = None

    def __post_init__(self) -> None:
        record, condition = self.prior.prior.record, self.prior.condition
        fits = condition.kind == "lmi-reference" and not condition.flag and condition.shown == "hidden"
        if not fits or record.parametrisation != "eps" or self.prior.dimensions != 2:
            raise InputError(
                f"preset: found 'reference' with prior {record.name!r} of {condition.kind} maps; it needs a network of "
                "the released form (state, cross map, self map; eps), see `skiagraph import-checkpoint`"
            )
        if not 1 <= self.levels <= 1000:
            raise InputError(f"steps: found {self.levels}; the released sampler walks 1 to 1000 levels")

    @property
    def calls(self) -> float:
        """One evaluation a level."""
        return float(self.levels)

    def __call__(self, source: SourceStack, streams: Streams) -> Translation:
        """Translate a stack; the start noise is drawn first, then one draw a level."""
        maps, tables = self._maps(), ReleasedTables.linear()
        y, done = source.unit, 0
        x = streams.normal_like(y)
        with torch.inference_mode():
            for index in reversed(range(self.levels)):
                eps = torch.cat([self.noise(part, seen, index, maps) for part, seen in self._parts(x, y)])
                x = tables.step(x, eps, index, streams.normal_like(x))
                done += len(x)
                if self.observe is not None:
                    self.observe(done)
        return Translation(2 * x.clamp(0, 1) - 1, self.calls, notes=self._notes())

    def _parts(self, x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
        return list(zip(torch.split(x, self.batch), torch.split(y, self.batch), strict=True))

    def _maps(self) -> ConditionMaps:
        chosen = self.prior.condition
        return ConditionMaps(
            chosen if self.normalise is None else chosen.model_copy(update={"normalise": self.normalise})
        )

    def noise(self, x: Tensor, y: Tensor, index: int, maps: ConditionMaps | None = None) -> Tensor:
        """The noise that the network sees in states x (B, 1, H, W) of a level, shown the maps with images y."""
        # The self map could be kept; it costs as much as the cross map, a hundredth of the network.
        given = torch.cat([x, (maps or self._maps()).of_images(y, x)], 1)
        found: Tensor = self.prior.prior.network(given, torch.full((len(x),), float(index)))
        return found

    def _notes(self) -> tuple[str, ...]:
        notes = []
        if self.levels < 1000:
            notes.append(
                f"steps {self.levels}: the released truncated walk begins at pure noise where the level still holds "
                "signal; use `strength` of the default preset for the exact marginal."
            )
        if self.normalise is not None and self.normalise != self.prior.condition.normalise:
            notes.append(
                f"normalise {self.normalise} in sampling, {self.prior.condition.normalise} in training: the maps are "
                "on another scale than the network has learned."
            )
        return tuple(notes)


def released_translation(tools: Tools, role: str = "target", **options: object) -> ReleasedTranslation:
    """The released sampler with a prior of the tools."""
    return replace(ReleasedTranslation(tools.prior(role)), **options)  # type: ignore[arg-type]
