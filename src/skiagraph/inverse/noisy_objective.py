"""The default objective for noisy subsampled measurements: images or k-space, any noise level per item, any time.

    NoisyMeasurementObjective(schedule, times=UniformTimes(), noise_std=None, sure_weight=0.05, kappa=0.005,
                              detach_target=True, parametrisation="eps", time="original_index", sees_mask=False,
                              weight=None, sigma_data=0.5, partial=None)
        (network, batch, streams) -> ObjectiveResult; batch as in `items.py`, its noise or else `noise_std`
    noisy_loss(partial, items, t, noise, probe, top_up, sure_weight, kappa, detach_target, weight) -> NoisyLoss
    stein_risk(estimate, measurement, noise_std, count, probe, kappa) -> (y1, risk (B,))

(measurement-score, section 4, `default`.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import NetworkTime, Parametrisation, PartialDenoiser, TimeKind
from skiagraph.diffusion.objective import MinSNRWeight, ObjectiveResult, UniformTimes, Weight, noise_weight
from skiagraph.diffusion.schedule import Schedule, expand_like
from skiagraph.inverse.consistent import ConsistentDenoiser
from skiagraph.inverse.image_objective import Times, masked_loss
from skiagraph.inverse.items import MeasuredItems, measured_items, squared_norm
from skiagraph.inverse.partial import NetworkPartialDenoiser
from skiagraph.physics.fourier import CoilFourier
from skiagraph.physics.operator import LinearOperator, inner_product

__all__ = ["NoisyLoss", "NoisyMeasurementObjective", "consistent_partial", "noisy_loss", "stein_risk"]

PartialOf = Callable[[Any, Schedule, LinearOperator], PartialDenoiser]
"""Makes a partial denoiser of a network: (network, schedule, T) -> denoiser."""


def consistent_partial(network: Any, schedule: Schedule, operator: LinearOperator) -> PartialDenoiser:
    """A `ConsistentNetwork` as partial denoiser: the parametrisation for k-space that is exact at low noise."""
    if not isinstance(operator, CoilFourier):
        raise ValueError(f"operator: found {type(operator).__name__}; a ConsistentNetwork is for multi-coil k-space.")
    return ConsistentDenoiser(network, schedule, operator.maps)


def stein_risk(
    estimate: Callable[[Tensor], Tensor],
    measurement: Tensor,
    noise_std: Tensor,
    count: Tensor,
    probe: Tensor,
    kappa: float,
) -> tuple[Tensor, Tensor]:
    """Stein's unbiased estimate of an estimator's error, from the noisy measurement alone.

        y1 = f(s),  y2 = f(s + kappa b),  L = |y1 - s|^2 / m - nu^2 + 2 nu^2 / (kappa m) <b, y2 - y1>

    E L = E |y1 - M T x|^2 / m for s = M (T x + nu v), to the second order of kappa (Stein 1981; Ramani et al. 2008).

    Args:
        estimate: f, measurement -> denoised measurement, 0 off the mask.
        measurement: s (B, ...), white noise of `noise_std` on observed entries.
        noise_std: (B,) nu.
        count: (B,) m, number of observed real entries.
        probe: b, standard normal of s's shape.
        kappa: size of the perturbation.

    Returns:
        y1 and L (B,).
    """
    first = estimate(measurement)
    second = estimate(measurement + kappa * probe)
    variance = noise_std.to(count).square()
    divergence = inner_product(probe, second - first) / (kappa * count)
    return first, squared_norm(first - measurement) / count - variance + 2 * variance * divergence


class NoisyLoss(NamedTuple):
    """Per item (B,): the loss, its main term, Stein's risk (0 where an item has no noise), and whether rho > nu."""

    loss: Tensor
    main: Tensor
    sure: Tensor
    above: Tensor


def noisy_loss(
    partial: PartialDenoiser,
    items: MeasuredItems,
    t: Tensor,
    noise: Tensor,
    probe: Tensor,
    top_up: Tensor | None = None,
    *,
    sure_weight: float = 0.05,
    kappa: float = 0.005,
    detach_target: bool = True,
    weight: Weight = noise_weight,
) -> NoisyLoss:
    """The corrected noisy objective, each item at its own time and on its own side of nu.

        rho > nu:   q = s + (rho^2 - S)^1/2 n,  p = M T x0_hat + (S / rho^2) (q - M T x0_hat),  main = w |s - p|^2 / m
        rho <= nu:  q = y1 + rho n,  main = w |y1 - M T x0_hat|^2 / m
        loss = main + w_sure L_sure

    x0_hat at alpha_t q, y1 and L_sure by `stein_risk` at the noise level nu, S the covariance of the noise (nu^2 I as a
    rule), nu^2 its largest eigenvalue: noise that is not white is first made so, s + (nu^2 - S)^1/2 n'. The optimum of
    p's x0_hat is E[z | q] whatever rho.

    Args:
        partial: (s_t, t, M) -> x0_hat.
        items: measurements and their noise.
        t: (B,) times.
        noise: n, standard normal of the measurement's shape.
        probe: b, likewise.
        top_up: n', likewise; needed where the noise is not white.
        sure_weight: w_sure.
        kappa: step of the divergence estimate.
        detach_target: no gradient through y1 in the main term.
        weight: w, weight of the squared error of x0.
    """
    s, mask, schedule = items.measurement, items.mask, partial.schedule
    alpha, sigma = schedule(t)
    rho, level = sigma / alpha, items.noise.level.to(sigma)
    white = s if top_up is None else s + mask * items.noise.added(level, top_up)
    y1, sure = _risk_at(partial, items, white, level, probe, kappa)
    target = y1.detach() if detach_target else y1
    above = rho > level
    choose = above.reshape(-1, *[1] * (s.ndim - 1))
    q = torch.where(choose, s + items.noise.added(rho, noise), target + expand_like(rho, s) * noise)
    clean = items.observed(partial(expand_like(alpha, s) * q, t, mask).x0)
    predicted = clean + items.noise.share(rho, mask * q - clean)
    difference = torch.where(choose, s - predicted, target - clean)
    main = weight(schedule, t).to(items.count) * squared_norm(difference) / items.count
    sure = torch.where(level.to(sure) > 0, sure, torch.zeros_like(sure))
    return NoisyLoss(main + sure_weight * sure, main, sure, above)


def _risk_at(
    partial: PartialDenoiser, items: MeasuredItems, white: Tensor, level: Tensor, probe: Tensor, kappa: float
) -> tuple[Tensor, Tensor]:
    """y1 and Stein's risk of the denoiser at the measurement's own noise level."""
    schedule = partial.schedule
    least = torch.exp(-0.5 * schedule.log_snr(schedule.finest)).to(level)
    t = schedule.time_of(-2 * torch.where(level > 0, level, least).log())
    alpha, _ = schedule(t)

    def estimate(measurement: Tensor) -> Tensor:
        return items.observed(partial(expand_like(alpha, measurement) * measurement, t, items.mask).x0)

    return stein_risk(estimate, white, level, items.count, probe, kappa)


@dataclass(frozen=True)
class NoisyMeasurementObjective:
    """Learn a partial denoiser from noisy subsampled images or k-space whose noise is known.

    Differs from the released objective in every point of the method page's section 4.3: both inputs of Stein's risk are
    scaled, mixing is in measurement space, entries are counted, weights are constant, y1 is detached, and times, noise
    levels and branches are per item. Items without noise get the noiseless objective.

    Args:
        schedule: noise schedule; its largest rho must exceed the noise.
        times: draws the time of every item.
        noise_std: nu where a batch states no noise; None reads as 0.
        sure_weight: w_sure.
        kappa: step of the divergence estimate.
        detach_target: no gradient through the denoised target below the noise level.
        parametrisation: what the network predicts.
        time: what the network is told as time.
        sees_mask: give the network the mask as one more channel.
        weight: weight of the squared error of x0; None for 1 / rho^2 on images and min(1 / rho^2, 100) on k-space.
        sigma_data: standard deviation of the data, for "edm".
        partial: makes the partial denoiser of other networks, (network, schedule, T) -> denoiser, such as
            `consistent_partial`; parametrisation, time, sees_mask and sigma_data are then not read.
    """

    schedule: Schedule
    times: Times = field(default_factory=UniformTimes)
    noise_std: float | None = None
    sure_weight: float = 0.05
    kappa: float = 0.005
    detach_target: bool = True
    parametrisation: Parametrisation = "eps"
    time: NetworkTime | TimeKind = "original_index"
    sees_mask: bool = False
    weight: Weight | None = None
    sigma_data: float = 0.5
    partial: PartialOf | None = None

    def __post_init__(self) -> None:
        if self.noise_std is not None:
            self._check(self.noise_std)
        if not self.kappa > 0:
            raise ValueError(f"kappa: found {self.kappa}; allowed is a number above 0.")
        if not self.sure_weight >= 0:
            raise ValueError(f"sure_weight: found {self.sure_weight}; allowed is a number >= 0.")

    def _check(self, level: float) -> None:
        largest = float(torch.exp(-0.5 * self.schedule.log_snr(self.schedule.span[0])))
        if not 0 <= level < largest:
            raise ValueError(
                f"noise_std: found {level:g}; allowed 0 to the schedule's largest noise-to-signal ratio, {largest:g}."
            )

    def denoiser(self, network: Any, items: MeasuredItems) -> PartialDenoiser:
        """The network as partial denoiser of these items."""
        if self.partial is not None:
            return self.partial(network, self.schedule, items.operator)
        return NetworkPartialDenoiser(
            network, self.schedule, items.operator, self.parametrisation, self.time, self.sees_mask, self.sigma_data
        )

    def __call__(self, network: Any, batch: Mapping[str, Tensor], streams: Any) -> ObjectiveResult:
        """Loss of each item of a batch; draws a time, n, then (with noise) b and (where it is not white) n'."""
        items = measured_items(batch, self.noise_std)
        streams = items.draws(streams)
        s, highest = items.measurement, float(items.noise.level.max())
        self._check(highest)
        t = self.times(self.schedule, streams).to(items.count.device)
        noise, partial = streams.normal_like(s), self.denoiser(network, items)
        weight = self.weight or (MinSNRWeight(100.0) if s.is_complex() else noise_weight)
        level = self.schedule.log_snr(t)
        if highest == 0:
            return ObjectiveResult(masked_loss(partial, items, t, noise, weight), level)
        probe = streams.normal_like(s)
        found = noisy_loss(
            partial,
            items,
            t,
            noise,
            probe,
            None if items.noise.white else streams.normal_like(s),
            sure_weight=self.sure_weight,
            kappa=self.kappa,
            detach_target=self.detach_target,
            weight=weight,
        )
        return ObjectiveResult(found.loss, level, {"main": found.main.detach(), "sure": found.sure.detach()})
