"""What the samplers of masked views share: they are rules of the state alone, and every level draws masks and noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from skiagraph.diffusion.denoiser import Condition, PartialDenoiser
from skiagraph.diffusion.schedule import NoiseLevel, Schedule, noise_level
from skiagraph.diffusion.streams import Streams

__all__ = ["ViewRule", "ViewStep"]

Memory = TypeVar("Memory")


@dataclass(frozen=True, eq=False)
class ViewStep:
    """One step of a walk of the full measurement.

    Args:
        denoiser: estimates the image from masked views.
        x: (B, ...) the state.
        t, s: times before and after.
        cond: conditions of the denoiser.
        streams: one stream per sample.
    """

    denoiser: PartialDenoiser
    x: Tensor
    t: Tensor
    s: Tensor
    cond: Condition
    streams: Streams

    @property
    def schedule(self) -> Schedule:
        """The noise schedule of the walk."""
        return self.denoiser.schedule

    @property
    def level(self) -> NoiseLevel:
        """Noise level before the step."""
        return noise_level(self.schedule, self.t)

    @property
    def final(self) -> bool:
        """Whether the step ends at the clean time."""
        return float(self.s) == self.schedule.span[1]


class ViewRule(ABC, Generic[Memory]):
    """A rule (`skiagraph.diffusion.sampling.Rule`) that walks the full measurement by masked views of it."""

    order = 1

    def __call__(
        self,
        denoiser: PartialDenoiser,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        cond: Condition,
        streams: Streams | None,
        carry: Memory | None,
    ) -> tuple[Tensor, Tensor, Memory]:
        """One step of the full measurement x from time t to time s."""
        if streams is None:
            raise ValueError("streams: found None, but every level draws masks and noise; pass one stream per sample.")
        return self.step(ViewStep(denoiser, x, t, s, cond, streams), carry)

    @abstractmethod
    def step(self, now: ViewStep, carry: Memory | None) -> tuple[Tensor, Tensor, Memory]:
        """Take the step: (state at s, estimate, what to remember)."""
