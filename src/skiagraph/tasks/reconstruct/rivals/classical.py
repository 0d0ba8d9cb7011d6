"""Methods without a learned prior, as rivals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from skiagraph.tasks.reconstruct.baselines import TunedBaseline
from skiagraph.tasks.reconstruct.rivals.interface import Estimates, TrainedOn
from skiagraph.tasks.reconstruct.scan import PreparedScan

__all__ = ["Classical"]


@dataclass(frozen=True)
class Classical:
    """A baseline with its strength from the table of training heads.

    Args:
        baseline: the baseline.
    """

    baseline: TunedBaseline
    trained_on: ClassVar[TrainedOn] = "nothing"
    evaluations: ClassVar[int] = 0

    @property
    def name(self) -> str:
        """Name of the baseline."""
        return self.baseline.name

    def __call__(self, scan: PreparedScan, names: Sequence[str]) -> Estimates:
        """See `Rival`."""
        return Estimates(self.baseline(scan))
