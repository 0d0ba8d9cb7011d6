"""From a source to the channels that a target prior is shown: similarity maps, the source itself, a flag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from skiagraph.similarity import Descriptor, LocalInformation, SimilarityMap, similarity
from skiagraph.tasks.translate.guidance import condition_maps
from skiagraph.tasks.translate.ranked import RANKED_CHANNELS, ranked
from skiagraph.tasks.translate.settings import ConditionSettings

__all__ = ["ConditionMaps"]

_SHOWN = {"hidden": 0, "values": 1, "ranked": RANKED_CHANNELS}
_REACH = {"mind-ssc": 2, "mind": 2, "lmi": 2, "edges": 5}


@dataclass(frozen=True)
class ConditionMaps:
    """Maps of slices or volumes, as a condition is stated.

    Args:
        settings: kind, windows, further channels.
    """

    settings: ConditionSettings

    @property
    def measure(self) -> SimilarityMap | None:
        """The similarity; None for kind "none"."""
        kind = self.settings.kind
        if kind == "none":
            return None
        if kind == "lmi-reference":
            chosen = self.settings
            return LocalInformation.reference(chosen.patch, chosen.sigma, chosen.normalise)
        if kind == "lmi":
            return LocalInformation.default(self.settings.windows)
        return similarity(kind)

    @property
    def dynamic(self) -> bool:
        """Whether the maps depend on the state."""
        return self.settings.kind.startswith("lmi")

    @property
    def reach(self) -> int:
        """Slices on each side that a map of one slice looks at."""
        return _REACH.get(self.settings.kind, 0) if self.settings.windows == 3 else 0

    @property
    def channels(self) -> int:
        """Channels in all: maps, source, flag; 0 for kind "none"."""
        measure = self.measure
        if measure is None:
            return 0
        maps = measure.channels(self.settings.windows) * (2 if self.dynamic else 1)
        return maps + _SHOWN[self.settings.shown] + int(self.settings.flag)

    def of_images(self, source: Tensor, searched: Tensor | None = None, together: bool = False) -> Tensor:
        """(B, C, *S) with flag 1, of images (B, 1, *S) in [0, 1] with as many axes as the windows have.

        Args:
            source: stands for the known image.
            searched: what it is compared with, for dynamic maps.
            together: the images are slices of one scan, whose contrast has one direction.
        """
        return self._joined(self._maps(source, searched), source, together)

    def of_slabs(self, source: Tensor, searched: Tensor | None = None) -> Tensor:
        """(B, C, H, W) of the middle slices of slabs (B, D, H, W) in [0, 1]; values and ranks are the slice's own."""
        middle = source.shape[1] // 2
        own = source[:, middle, None]
        if self.settings.windows == 2:
            return self.of_images(own, None if searched is None else searched[:, middle, None])
        maps = self._maps(source[:, None], None if searched is None else searched[:, None])
        return self._joined(maps[:, :, middle], own, False)

    def of_stack(self, source: Tensor, searched: Tensor | None = None) -> Tensor:
        """(N, C, H, W) of a stack of neighbouring slices (N, 1, H, W) in [0, 1]."""
        if self.settings.windows == 2:
            return self.of_images(source, searched, together=True)
        seen = None if searched is None else searched.transpose(0, 1)[None]
        maps = self._maps(source.transpose(0, 1)[None], seen)
        return self._joined(maps[0].transpose(0, 1), source, True)

    def cross_of_stack(self, source: Tensor, searched: Tensor) -> Tensor:
        """The first channels of `of_stack` for dynamic maps: all of it that depends on the state."""
        measure = self.measure
        if measure is None:
            raise ValueError("kind: found 'none'; there are no maps to make.")
        if self.settings.windows == 2:
            return measure(source, searched)
        found = measure(source.transpose(0, 1)[None], searched.transpose(0, 1)[None])
        return found[0].transpose(0, 1)

    def _maps(self, source: Tensor, searched: Tensor | None) -> Tensor:
        measure = self.measure
        if measure is None:
            raise ValueError("kind: found 'none'; there are no maps to make.")
        if not self.dynamic:
            return cast(Descriptor, measure).describe(source)
        if searched is None:
            raise ValueError("searched: found none; local mutual information compares two images.")
        return condition_maps(measure, source, searched)

    def _joined(self, maps: Tensor, source: Tensor, together: bool) -> Tensor:
        """Maps, what is shown of the source, flag."""
        parts = [maps]
        if self.settings.shown == "values":
            parts.append(source)
        elif self.settings.shown == "ranked":
            parts.append(ranked(source, together))
        if self.settings.flag:
            parts.append(torch.ones_like(source))
        return torch.cat(parts, 1)
