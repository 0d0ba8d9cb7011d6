"""An exact laboratory for guidance: two classes in the plane whose score and noisy classifier are closed-form.

No network and no training: what is found here is a property of the method. Each class is an equal mixture of two
isotropic Gaussians of standard deviation 0.12; the classes are equally frequent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from skiagraph.diffusion.grid import Grid, Levels
from skiagraph.diffusion.guidance.clip import Clip
from skiagraph.diffusion.guidance.energy import Energy
from skiagraph.diffusion.guidance.measures import Measure, entropy
from skiagraph.diffusion.guidance.uncertainty import ClassifierTerm
from skiagraph.diffusion.inversion import InversionMode, Latent, invert
from skiagraph.diffusion.oracle import MixtureDenoiser
from skiagraph.diffusion.rules import DDIM, Heun
from skiagraph.diffusion.sampling import final, trajectory
from skiagraph.diffusion.schedule import Schedule, linear_table

__all__ = [
    "DEVIATION",
    "HARD",
    "MEANS",
    "SOURCES",
    "UNIFORM",
    "Draws",
    "Judgement",
    "Laboratory",
    "alternating",
    "draw",
    "judge",
    "real_points",
    "root_mean_square",
    "term",
    "two_classes",
]

MEANS = ((-0.5, -0.3), (-0.2, 0.4), (0.5, 0.3), (0.25, -0.4))
"""Centres of the components; the first two are class 0, the last two class 1."""

DEVIATION = 0.12
"""Standard deviation of every component."""

HARD = 0.3
"""Entropy, in nats, above which a point counts as hard."""

UNIFORM = {25: Levels(40), 50: Levels(20), 100: Levels(10), 250: Levels(4)}
"""Uniform grids over the table of 1000 levels, by their number of levels."""

SOURCES = ("real", "unguided", "s = 10")
"""Where stage 2 starts from."""


@dataclass(frozen=True)
class Judgement:
    """What became of a set of points.

    Args:
        hard: share whose label the exact classifier is unsure of (entropy above 0.3 nats).
        kept: share whose intended label the exact classifier prefers.
        negative_log_density: mean of -log p(x | y), nats; high means far out under the point's own class.
        entropy: mean entropy, nats.
    """

    hard: float
    kept: float
    negative_log_density: float
    entropy: float


@dataclass(frozen=True, eq=False)
class Draws:
    """Every random number of the laboratory's tables; all else is deterministic.

    Args:
        round_trips: noise (B, 2) of the round trips at 25, 50 and 250 levels.
        component: (B,) of the real points.
        real: noise (B, 2) of the real points.
        confident: noise from which classifier guidance makes its points.
        unguided: noise of the unguided points.
        one_stage: noise of the points guided straight from noise.
    """

    round_trips: dict[int, Tensor]
    component: Tensor
    real: Tensor
    confident: Tensor
    unguided: Tensor
    one_stage: Tensor


def draw(count: int = 4000, seed: int = 0) -> Draws:
    """Draws in a fixed order from torch's CPU generator, float64."""
    generator = torch.Generator().manual_seed(seed)

    def normal() -> Tensor:
        return torch.randn(count, 2, generator=generator, dtype=torch.float64)

    trips = {levels: normal() for levels in (25, 50, 250)}
    component = torch.randint(0, 2, (count,), generator=generator)
    return Draws(trips, component, normal(), normal(), normal(), normal())


def two_classes(schedule: Schedule) -> MixtureDenoiser:
    """The exact denoiser; cond["label"] (B,) of 0 and 1 restricts it to a class, and its `logits` are the classifier.

    log p_t(x | y) = logsumexp_m [-|x - alpha mu_ym|^2 / (2 V)] - log(2 pi V) - log 2, V = 0.0144 alpha^2 + sigma^2.
    """
    means = torch.tensor(MEANS, dtype=torch.float64)
    variances = torch.full((4,), DEVIATION**2, dtype=torch.float64)
    return MixtureDenoiser(schedule, torch.full((4,), 0.25).double(), means, variances, torch.tensor([0, 0, 1, 1]))


def term(base: MixtureDenoiser, measure: Measure | str) -> ClassifierTerm:
    """A measure of the exact noisy classifier, at its calibrated temperature 1."""
    return ClassifierTerm(base.logits, measure)


def alternating(count: int) -> Tensor:
    """Labels 0, 1, 0, 1, ... (count,)."""
    return torch.arange(count) % 2


def real_points(labels: Tensor, component: Tensor, noise: Tensor) -> Tensor:
    """Draws from the classes.

    Args:
        labels: (B,) class.
        component: (B,) 0 or 1, which component of the class.
        noise: (B, 2) standard normal.
    """
    return torch.tensor(MEANS, dtype=noise.dtype)[2 * labels + component] + DEVIATION * noise


def judge(base: MixtureDenoiser, points: Tensor, labels: Tensor) -> Judgement:
    """Judge clean points (B, 2) by the exact classifier and the exact density of their class."""
    clean = torch.tensor(base.schedule.span[1], dtype=torch.float64)
    logits = base.logits(points, clean)
    uncertainty = entropy(logits, labels)
    likely = torch.log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0].exp()
    density = base.log_density(points, clean, labels)
    return Judgement(
        float((uncertainty > HARD).double().mean()),
        float((likely > 0.5).double().mean()),
        float(-density.mean()),
        float(uncertainty.mean()),
    )


def root_mean_square(difference: Tensor) -> float:
    """Over all numbers."""
    return float(difference.square().mean().sqrt())


@dataclass(frozen=True)
class Laboratory:
    """The exact denoiser and classifier, the points of the published tables, and the two ways to guide them.

    Args:
        count: points of every kind; 4000 in the tables.
        seed: of the random stream; 0 in the tables.
    """

    count: int = 4000
    seed: int = 0
    base: MixtureDenoiser = field(default_factory=lambda: two_classes(linear_table()))

    @cached_property
    def _latents(self) -> dict[tuple[str, Grid, InversionMode, float | None], Latent]:
        return {}

    @cached_property
    def draws(self) -> Draws:
        """Every random number."""
        return draw(self.count, self.seed)

    @property
    def labels(self) -> Tensor:
        """0, 1, 0, 1, ..."""
        return alternating(self.count)

    @cached_property
    def sources(self) -> dict[str, Tensor]:
        """Real points; unguided samples; samples of classifier guidance with s = 10. Both at 250 uniform levels."""
        confident = self.guided("log_prob", 10.0)
        return {
            "real": real_points(self.labels, self.draws.component, self.draws.real),
            "unguided": self.walk(Clip(self.base), self.draws.unguided, UNIFORM[250]),
            "s = 10": self.walk(confident, self.draws.confident, UNIFORM[250]),
        }

    def guided(self, measure: Any, scale: float, classifier: Any = None, **options: Any) -> Energy:
        """Clipped, then guided: the released order."""
        known = term(self.base, measure) if classifier is None else ClassifierTerm(classifier, measure)
        return Energy(Clip(self.base), known, scale, **options)

    def late(self, x: Tensor, t: Tensor) -> Tensor:
        """The classifier told a time four times too late, as when it was trained on indices of a spaced chain."""
        index = (t / 4).round()
        return self.base.logits(x, 4 * (4 * index).clamp(max=249))

    def walk(self, denoiser: Any, x: Tensor, grid: Grid | Tensor, rule: Any = None) -> Tensor:
        """From noise to points, label in hand."""
        return final(trajectory(denoiser, x, grid, rule or DDIM(), cond={"label": self.labels}))

    def one_stage(self, measure: Any, scale: float, grid: Grid, **options: Any) -> Judgement:
        """Guided straight from noise."""
        return self.judge(self.walk(self.guided(measure, scale, **options), self.draws.one_stage, grid))

    def two_stage(
        self, source: str, denoiser: Any, grid: Grid, mode: InversionMode = "reference", depth: float | None = None
    ) -> Tensor:
        """Points of a source, encoded (once for all denoisers) and decoded again by a guided denoiser."""
        key = (source, grid, mode, depth)
        if key not in self._latents:
            self._latents[key] = self.encode(self.base, self.sources[source], grid, mode, depth)
        latent = self._latents[key]
        return self.walk(denoiser, latent.x, latent.times, Heun() if mode == "heun" else DDIM())

    def encode(
        self, base: Any, points: Tensor, grid: Grid, mode: InversionMode = "mirrored", depth: float | None = None
    ) -> Latent:
        """Encode points under their own labels."""
        return invert(base, points, grid, mode, {"label": self.labels}, depth)

    def judge(self, points: Tensor) -> Judgement:
        """Shares, entropy and density of points."""
        return judge(self.base, points, self.labels)

    def round_trip(self, levels: int, mode: InversionMode) -> float:
        """Error of encoding and decoding samples that were made on the same grid."""
        noise = self.draws.round_trips.get(levels, self.draws.round_trips[250])
        made = self.walk(Clip(self.base), noise, UNIFORM[levels])
        latent = self.encode(self.base, made, UNIFORM[levels], mode, 1.0)
        back = self.walk(Clip(self.base), latent.x, latent.times, Heun() if mode == "heun" else DDIM())
        return root_mean_square(back - made)
