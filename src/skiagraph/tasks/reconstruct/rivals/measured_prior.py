"""The priors of `train`, learned from undersampled scans, as rivals of all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from skiagraph.inverse.consistent import ConsistentNetwork
from skiagraph.tasks.reconstruct.posterior import (
    SamplerSettings,
    conditional_mean,
    evaluations_per_slice,
    posterior_samples,
    slice_seeds,
)
from skiagraph.tasks.reconstruct.rivals.interface import Estimates, TrainedOn
from skiagraph.tasks.reconstruct.scan import PreparedScan
from skiagraph.tasks.reconstruct.shifts import over_shifts

__all__ = ["MeasuredPrior"]


@dataclass(frozen=True, eq=False)
class MeasuredPrior:
    """Posterior mean as the network gives it, with samples for its error bars.

    Args:
        name: its name in the table.
        network: the network.
        sampler: how samples are drawn.
        spread: factor on their standard deviation.
        trained_on: what it learned from.
        seed: seed of the samples.
    """

    name: str
    network: ConsistentNetwork
    sampler: SamplerSettings
    spread: float = 1.0
    trained_on: TrainedOn = "undersampled scans"
    seed: int = 0

    @property
    def evaluations(self) -> int:
        """All samples and the mean."""
        return evaluations_per_slice(self.network, self.sampler)

    def __call__(self, scan: PreparedScan, names: Sequence[str]) -> Estimates:
        """See `Rival`."""
        mean = over_shifts(self._mean, scan, self.sampler.shifts)
        samples = posterior_samples(
            self.network, scan, self.sampler, slice_seeds(self.seed, names, self.sampler.samples)
        )
        return Estimates(mean, samples if self.sampler.samples > 1 else None, self.spread)

    def _mean(self, scan: PreparedScan) -> Tensor:
        return conditional_mean(self.network, scan, self.sampler.rows)
