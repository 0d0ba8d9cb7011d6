"""Where the masked views of a sampling step come from: covering sets, independent masks, densities that change.

The density of the masks is what masked sampling pays for (measurement-score, section 9.1): pairs of coordinates that
are rarely seen together are coupled too weakly. Denser masks at low noise cost nothing more per view.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from skiagraph.diffusion.streams import Streams
from skiagraph.physics.masks import CoveringFamily, MaskFamily

__all__ = ["CoveringViews", "DensitySchedule", "IndependentViews", "LevelViews", "ViewSource", "draw_views"]


class ViewSource(Protocol):
    """Draws a set of masks per sample, (B, w, 1, 1 or H, W); covering sets leave no coordinate at 0."""

    def __call__(self, draws: Streams) -> Tensor:
        """One set of w masks for each sample of `draws`."""
        ...


@runtime_checkable
class LevelViews(Protocol):
    """Chooses the source of masks by the noise level."""

    def at(self, rho: float) -> ViewSource:
        """The source for the noise-to-signal ratio rho."""
        ...


def draw_views(views: ViewSource | LevelViews, draws: Streams, rho: float) -> Tensor:
    """One set of masks for each sample at the noise-to-signal ratio rho."""
    source = views.at(rho) if isinstance(views, LevelViews) else views
    masks = source(draws)
    if masks.ndim < 3 or masks.shape[0] != len(draws) or masks.shape[1] < 1:
        raise ValueError(
            f"views: found masks of shape {tuple(masks.shape)} for {len(draws)} samples; allowed is "
            f"({len(draws)}, w >= 1, ...)."
        )
    return masks


@dataclass(frozen=True)
class CoveringViews:
    """Covering sets with the law of training for every mask: the default.

    Args:
        family: mask family of training.
        count: w, masks of a set; None for the smallest number that covers.
    """

    family: CoveringFamily
    count: int | None = None

    def __post_init__(self) -> None:
        if self.count is not None:
            _check_count(self.count)

    def __call__(self, draws: Streams) -> Tensor:
        """(B, w, 1, H or 1, W)."""
        return self.family.covering(draws, self.count)


@dataclass(frozen=True)
class IndependentViews:
    """w independent masks, as published: they need not cover (what they leave out keeps its last estimate).

    Args:
        family: mask family.
        count: w >= 1.
    """

    family: MaskFamily
    count: int = 1

    def __post_init__(self) -> None:
        _check_count(self.count)

    def __call__(self, draws: Streams) -> Tensor:
        """(B, w, 1, H or 1, W)."""
        return torch.stack([self.family.draw(draws) for _ in range(self.count)], 1)


@dataclass(frozen=True)
class DensitySchedule:
    """Other masks at other noise levels, such as denser ones where the noise is low.

    A network sees densities in use that it has not been trained on: train with mixed densities first.

    Args:
        first: source from the noisiest level on.
        later: (rho, source) pairs in falling order of rho: the source from that noise-to-signal ratio down.
    """

    first: ViewSource
    later: tuple[tuple[float, ViewSource], ...] = ()

    def __post_init__(self) -> None:
        bounds = [rho for rho, _ in self.later]
        if any(not rho > 0 for rho in bounds) or any(a <= b for a, b in pairwise(bounds)):
            raise ValueError(f"later: found the ratios {bounds}; allowed are falling numbers above 0.")

    def at(self, rho: float) -> ViewSource:
        """The last source whose ratio is not below rho."""
        chosen = self.first
        for bound, source in self.later:
            if rho <= bound:
                chosen = source
        return chosen


def _check_count(count: int) -> None:
    if count < 1:
        raise ValueError(f"count: found {count}; a level needs at least 1 mask.")
