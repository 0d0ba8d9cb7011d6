"""The default objective for noiseless subsampled images: judged on observed entries only, one time per item.

    MaskedImageObjective(schedule, times=UniformTimes(), parametrisation="eps", time="original_index", sees_mask=False,
                         weight=noise_weight, sigma_data=0.5)
        (network, batch, streams) -> ObjectiveResult; batch as in `items.py`; network(u, time (B,)) -> eps (or x0, v)
    masked_loss(partial, items, t, noise, weight) -> (B,)

(measurement-score, section 3, `default`.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from skiagraph.diffusion.denoiser import NetworkTime, Parametrisation, PartialDenoiser, TimeKind
from skiagraph.diffusion.objective import ObjectiveResult, TimeDraws, UniformTimes, Weight, noise_weight
from skiagraph.diffusion.schedule import Schedule, expand_like
from skiagraph.inverse.items import MeasuredItems, measured_items, squared_norm
from skiagraph.inverse.partial import NetworkPartialDenoiser

__all__ = ["MaskedImageObjective", "Times", "masked_loss"]

Times = Callable[[Schedule, TimeDraws], Tensor]
"""Draws one time per item, (B,) float64."""


def masked_loss(partial: PartialDenoiser, items: MeasuredItems, t: Tensor, noise: Tensor, weight: Weight) -> Tensor:
    """weight_t sum over observed entries of (s - M T x0_hat)^2 / their number, per item (B,).

    s_t = alpha_t (s + rho_t n). With the weight 1 / rho^2 on images it is the mean squared error of eps on the observed
    entries: the released loss divided by the kept fraction.

    Args:
        partial: (s_t, t, M) -> x0_hat.
        items: noiseless measurements.
        t: () or (B,) times.
        noise: n, standard normal of the measurement's shape.
        weight: function of schedule and times.
    """
    s = items.measurement
    alpha, sigma = partial.schedule(t)
    x0 = partial(expand_like(alpha, s) * s + expand_like(sigma, s) * noise, t, items.mask).x0
    factor = weight(partial.schedule, t).to(items.count)
    return factor * squared_norm(s - items.observed(x0)) / items.count


@dataclass(frozen=True)
class MaskedImageObjective:
    """Learn a partial denoiser from noiseless subsampled images.

    Differs from the released objective in that every item has its own time and the sum is divided by the number of
    observed entries, so that sparse items count as much as dense ones. Multi-coil k-space is allowed (give "maps"), but
    an eps-network in the image domain must then grow like 1 / rho: prefer `MeasurementObjective`, or parametrisation
    "v" with a bounded weight such as `MinSNRWeight`.

    Args:
        schedule: noise schedule.
        times: draws the time of every item.
        parametrisation: what the network predicts.
        time: what the network is told as time.
        sees_mask: give the network the mask as one more channel.
        weight: weight of the squared error of x0; 1 / rho^2 is the eps objective.
        sigma_data: standard deviation of the data, for "edm".
    """

    schedule: Schedule
    times: Times = field(default_factory=UniformTimes)
    parametrisation: Parametrisation = "eps"
    time: NetworkTime | TimeKind = "original_index"
    sees_mask: bool = False
    weight: Weight = noise_weight
    sigma_data: float = 0.5

    def denoiser(self, network: Any, items: MeasuredItems) -> PartialDenoiser:
        """The network as partial denoiser of these items."""
        return NetworkPartialDenoiser(
            network, self.schedule, items.operator, self.parametrisation, self.time, self.sees_mask, self.sigma_data
        )

    def __call__(self, network: Any, batch: Mapping[str, Tensor], streams: Any) -> ObjectiveResult:
        """Loss of each item of a batch; draws a time, then n."""
        items = measured_items(batch)
        if bool((items.noise.level > 0).any()):
            raise ValueError(
                "batch: states noise above 0, but this objective is for noiseless measurements; use "
                "NoisyMeasurementObjective."
            )
        streams = items.draws(streams)
        t = self.times(self.schedule, streams).to(items.count.device)
        noise = streams.normal_like(items.measurement)
        loss = masked_loss(self.denoiser(network, items), items, t, noise, self.weight)
        return ObjectiveResult(loss, self.schedule.log_snr(t))
