"""Results brought back to the scale that the target's scans have."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from skiagraph.diffusion import Streams
from skiagraph.tasks.translate.method import SourceStack, Translation, TranslationMethod

__all__ = ["Rescaled"]


@dataclass(frozen=True, eq=False)
class Rescaled:
    """Another method's result times one number, so that an upper percentile of the foreground is 1 of [0, 1].

    Target scans were scaled like that before the prior saw them. Means of candidates are smooth, which takes their
    brightest values off, and a prior that is unsure of a contrast answers darker than any scan is.

    Args:
        method: whose result is taken.
        percentile: of the prior's scaling.
    """

    method: TranslationMethod
    percentile: float = 99.5

    def __call__(self, source: SourceStack, streams: Streams) -> Translation:
        """The same candidates and deviation, times the number that the mean needs; a black result stays as it is."""
        made = self.method(source, streams)
        found = ((made.images + 1) / 2)[source.mask].numpy()
        reached = float(np.percentile(found, self.percentile)) if found.size else 0.0
        if reached <= 0:
            return made

        def scaled(images: Tensor) -> Tensor:
            return torch.where(source.mask, (images + 1) / reached - 1, images)

        return replace(
            made,
            images=scaled(made.images),
            candidates=None if made.candidates is None else scaled(made.candidates),
            deviation=None if made.deviation is None else made.deviation / reached,
            notes=(*made.notes, f"The result was multiplied by {1 / reached:.2f} to reach the scale of the prior."),
        )
