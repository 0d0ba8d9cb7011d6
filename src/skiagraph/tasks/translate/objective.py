"""What a target prior learns from: noise taken out of target images, with and without maps of a stand-in source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skiagraph.diffusion import Condition, DiscreteTable, NetworkDenoiser, expand_like
from skiagraph.diffusion.objective import ObjectiveResult, UniformTimes, denoising_loss, velocity_weight
from skiagraph.tasks.translate.conditions import ConditionMaps
from skiagraph.tasks.translate.pseudo import RandomShape, remapped
from skiagraph.tasks.translate.settings import ConditionSettings

__all__ = ["TranslatePriorObjective", "prior_denoiser"]


def prior_denoiser(network: Any, schedule: DiscreteTable, maps: ConditionMaps, neighbours: int) -> NetworkDenoiser:
    """The network as denoiser of (B, 1, *S), its conditions "neighbours" and "maps" joined as channels."""
    names = [name for name, used in (("neighbours", neighbours), ("maps", maps.channels)) if used]
    return NetworkDenoiser(network, schedule, "v", "original_index", concatenated=tuple(names))


@dataclass(frozen=True)
class TranslatePriorObjective:
    """Mean squared error of the velocity of noised target images.

    Differs from the released trainer in the velocity, a mean over pixels, maps dropped for some images, and, unless
    the condition says otherwise, a source of disordered intensities and the same level for state and maps.

    Args:
        schedule: of the prior.
        condition: what the network is shown.
        shape: random changes of the anatomy; None for none.
        neighbours: slices on each side whose noisy states are shown.
        volumes: items are whole volumes.
        emphasis: levels are drawn as T u^(1/emphasis), u uniform.
    """

    schedule: DiscreteTable
    condition: ConditionSettings
    shape: RandomShape | None = None
    neighbours: int = 0
    volumes: bool = False
    emphasis: float = 1.0

    def __call__(self, network: Any, batch: Tensor, streams: Any) -> ObjectiveResult:
        """Loss of each slab (B, D, H, W); draws shape, stand-in source, dropout, time, noise."""
        maps = ConditionMaps(self.condition)
        slabs = batch if self.shape is None else self.shape(batch, streams)
        dropped = (streams.uniform() < self.condition.dropout).to(slabs.device)
        t = self._times(streams).to(slabs.device)
        noise = streams.normal_like(slabs)
        unit = (slabs + 1) / 2
        source = remapped(unit, streams) if self.condition.pseudo_source == "remapped" and maps.channels else unit
        denoiser = prior_denoiser(network, self.schedule, maps, self.neighbours)
        cond = self._conditions(denoiser, slabs, noise, source, t, dropped)
        loss = denoising_loss(denoiser, self._middle(slabs), t, self._middle(noise), cond, velocity_weight)
        return ObjectiveResult(loss, self.schedule.log_snr(t), {"unconditional": dropped.double()})

    def _times(self, streams: Any) -> Tensor:
        if self.emphasis == 1:
            return UniformTimes()(self.schedule, streams)
        share: Tensor = streams.uniform(dtype=torch.float64)
        return (share ** (1 / self.emphasis) * len(self.schedule)).floor().clamp(max=len(self.schedule) - 1)

    def _middle(self, slabs: Tensor) -> Tensor:
        """What is denoised: (B, 1, H, W), or (B, 1, D, H, W) of volumes."""
        return slabs[:, None] if self.volumes else slabs[:, slabs.shape[1] // 2, None]

    def _conditions(
        self, denoiser: NetworkDenoiser, slabs: Tensor, noise: Tensor, source: Tensor, t: Tensor, dropped: Tensor
    ) -> Condition:
        maps, found = ConditionMaps(self.condition), {}
        if self.neighbours:
            found["neighbours"] = self._beside(self._state(slabs, noise, t))
        if not maps.channels:
            return found
        with torch.no_grad():
            if not maps.dynamic:
                made = self._maps(maps, source, None)
            else:
                later = (t + 1).clamp(max=len(self.schedule) - 1) if self.condition.search == "next" else t
                state = self._state(slabs, noise, later)
                made = self._maps(maps, source, (state + 1) / 2)
                if self.condition.search == "x0-hat":
                    first = denoiser(self._middle(state), t, {**found, "maps": made}).x0
                    made = self._maps(maps, source, (self._around(slabs, first) + 1) / 2)
        found["maps"] = torch.where(dropped.reshape(-1, *[1] * (made.ndim - 1)), 0.0, made)
        return found

    def _state(self, slabs: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = self.schedule(t)
        return expand_like(alpha, slabs) * slabs + expand_like(sigma, slabs) * noise

    def _maps(self, maps: ConditionMaps, source: Tensor, searched: Tensor | None) -> Tensor:
        if self.volumes:
            return maps.of_images(source[:, None], None if searched is None else searched[:, None])
        return maps.of_slabs(source, searched)

    def _around(self, slabs: Tensor, middle: Tensor) -> Tensor:
        """A slab of the estimate: all of a volume, else the estimate among the clean neighbours."""
        if self.volumes:
            return middle[:, 0]
        around, centre = slabs.clone(), slabs.shape[1] // 2
        around[:, centre] = middle[:, 0]
        return around

    def _beside(self, states: Tensor) -> Tensor:
        """(B, 2 m, H, W): the noisy slices below and above the middle one, lowest first."""
        centre, reach = states.shape[1] // 2, self.neighbours
        return torch.cat([states[:, centre - reach : centre], states[:, centre + 1 : centre + 1 + reach]], 1)
