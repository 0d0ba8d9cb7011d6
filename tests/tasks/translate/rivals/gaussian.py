"""A prior in closed form in the place of a trained one, and stacks of constant slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch

from skiagraph.diffusion import Denoiser, linear_table
from skiagraph.diffusion.oracle import GaussianDenoiser
from skiagraph.tasks.translate.method import SourceStack, Tools
from skiagraph.tasks.translate.prior import TargetPrior

TABLE = linear_table()
MEAN, VARIANCE = 0.3, 0.25**2


@dataclass(frozen=True)
class ExactPrior:
    """N(mean, variance) in every pixel; a source makes no difference."""

    mean: float = MEAN
    variance: float = VARIANCE

    def denoiser(self, source: SourceStack | None, weight: float = 1.0) -> Denoiser:
        return GaussianDenoiser(TABLE, torch.tensor(self.mean), torch.tensor(self.variance))


def tools(calls: int = 50, **priors: ExactPrior) -> Tools:
    """With exact priors by role, "-" written as "_"."""
    found: Any = {name.replace("_", "-"): cast(TargetPrior, prior) for name, prior in priors.items()}
    return Tools(found, calls)


def stack(value: float, slices: int = 2, side: int = 64) -> SourceStack:
    """Slices of one value."""
    images = torch.full((slices, 1, side, side), value)
    return SourceStack(images, torch.ones_like(images, dtype=torch.bool))


def textured(slices: int = 3, side: int = 24) -> SourceStack:
    """Slices of smooth random values within (-0.4, 0.4)."""
    coarse = torch.randn(slices, 1, 6, 6, generator=torch.Generator().manual_seed(3))
    images = 0.4 * torch.tanh(torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic"))
    return SourceStack(images, torch.ones_like(images, dtype=torch.bool))
