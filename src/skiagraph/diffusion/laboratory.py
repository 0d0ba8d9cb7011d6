"""An exact laboratory for guidance: two classes in the plane whose score and noisy classifier are closed-form.

No network and no training: what is found here is a property of the method. Each class is an equal mixture of two
isotropic Gaussians of standard deviation 0.12; the classes are equally frequent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skiagraph.diffusion.guidance.measures import Measure, entropy
from skiagraph.diffusion.guidance.uncertainty import ClassifierTerm
from skiagraph.diffusion.oracle import MixtureDenoiser
from skiagraph.diffusion.schedule import Schedule

__all__ = ["DEVIATION", "HARD", "MEANS", "Judgement", "alternating", "judge", "real_points", "term", "two_classes"]

MEANS = ((-0.5, -0.3), (-0.2, 0.4), (0.5, 0.3), (0.25, -0.4))
"""Centres of the components; the first two are class 0, the last two class 1."""

DEVIATION = 0.12
"""Standard deviation of every component."""

HARD = 0.3
"""Entropy, in nats, above which a point counts as hard."""


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
