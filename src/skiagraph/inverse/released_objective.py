"""The released objectives for subsampled data, noiseless and noisy, faults included (measurement-score, sections 3, 4).

    ReferenceMeasurementScoreObjective(schedule, noise_std=0.0, sure_weight=0.05, kappa=0.005, acceleration_rate=1.0,
                                       original=linear_table())
        (network, batch, streams) -> ObjectiveResult; batch as in `items.py`; network(u, tau (B,)) -> eps
    released_noisy_loss(eps_network, items, schedule, t, noise, probe, settings) -> (loss, main, sure), all (B,)

A preset for comparison. `noisy_objective.py` and `image_objective.py` hold the corrected forms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from skiagraph.diffusion.objective import ObjectiveResult, UniformTimes
from skiagraph.diffusion.schedule import DiscreteTable, linear_table
from skiagraph.inverse.items import MeasuredItems, measured_items, squared_norm
from skiagraph.inverse.noise_model import noise_time
from skiagraph.inverse.objective import reference_loss

__all__ = ["ReferenceMeasurementScoreObjective", "ReleasedNoise", "released_noisy_loss"]

EpsNetwork = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class ReleasedNoise:
    """Constants of the released noisy objective.

    Args:
        noise_std: nu > 0.
        time: tau_nu, what the network is told at the noise level nu.
        alpha_bar: abar_nu.
        sure_weight: w_sure.
        kappa: step of the divergence estimate.
        acceleration_rate: divides the number of entries into m; the released image settings give 0.4, a drop rate.
    """

    noise_std: float
    time: float
    alpha_bar: float
    sure_weight: float = 0.05
    kappa: float = 0.005
    acceleration_rate: float = 1.0


def released_noisy_loss(
    eps_network: EpsNetwork,
    items: MeasuredItems,
    schedule: DiscreteTable,
    t: Tensor,
    noise: Tensor,
    probe: Tensor,
    settings: ReleasedNoise,
) -> tuple[Tensor, Tensor, Tensor]:
    """The released noisy objective at one common time.

        v1 = T^H M s,  v2 = T^H M (sqrt(abar_nu) s + kappa b),  y_i = M T (v_i / sqrt(abar_nu) - nu eps(v_i, tau_nu))
        L_sure = sum (y1 - s)^2 / (B m) - nu^2 + 2 nu^2 / (kappa m B) sum b (y2 - y1),  m = C H W / rate (2 H W for MRI)
        rho > nu:   p = M T (c (x0_hat - u) + u),  main = mean (s - p)^2 / rho^2,  c = 1 - nu^2 / rho^2
        rho <= nu:  main = mean (y1 - M T x0_hat)^2 / rho^2 from s_t = alpha (y1 + rho n), gradient through y1 too
        loss = main + w_sure L_sure / rho^2

    Its faults stay: v1 is not scaled, mixing is with u and in the image domain, m is nominal and leaves coils out,
    L_sure is one number for the batch and is divided by rho^2.

    Args:
        eps_network: (u, tau (B,)) -> eps of u's shape.
        items: measurements; their own statement of the noise is not read.
        schedule: respaced table of training.
        t: one time, () or (B,) of equal values.
        noise: n, standard normal of the measurement's shape.
        probe: b, likewise.
        settings: noise level and weights.

    Returns:
        loss, main and L_sure, each (B,).
    """
    if t.ndim and bool((t != t.flatten()[0]).any()):
        raise ValueError(f"t: found {t.tolist()}; the released noisy objective takes one time for the whole batch.")
    alpha, sigma = (float(value) for value in schedule(t.flatten()[0]))
    rho, nu = sigma / alpha, settings.noise_std
    s, mask, operator = items.measurement, items.mask, items.operator
    size = operator.adjoint(s).shape[1:].numel()
    y1, sure = _released_risk(eps_network, items, probe, settings, size / settings.acceleration_rate)
    told = float(schedule.original_index(t.flatten()[0]))

    def estimate(noisy: Tensor) -> tuple[Tensor, Tensor]:
        u = operator.adjoint(mask * noisy)
        return u, u / alpha - rho * eps_network(u, torch.full_like(items.count, told))

    if rho > nu:
        u, x0 = estimate(alpha * (s + (rho**2 - nu**2) ** 0.5 * noise))
        share = (rho**2 - nu**2) / rho**2
        difference = s - items.observed(share * (x0 - u) + u)
    else:
        _, x0 = estimate(alpha * (y1 + rho * noise))
        difference = y1 - items.observed(x0)
    main = squared_norm(difference) / (items.entries * rho**2)
    return main + settings.sure_weight * sure / rho**2, main, sure.expand_as(main)


def _released_risk(
    eps_network: EpsNetwork, items: MeasuredItems, probe: Tensor, settings: ReleasedNoise, m: float
) -> tuple[Tensor, Tensor]:
    """y1 and L_sure, one number for the batch."""
    nu, root, kappa = settings.noise_std, settings.alpha_bar**0.5, settings.kappa
    s, count = items.measurement, items.measurement.shape[0]
    told = torch.full_like(items.count, settings.time)

    def output(entry: Tensor) -> Tensor:
        v = items.operator.adjoint(items.mask * entry)
        return items.observed(v / root - (1 / settings.alpha_bar - 1) ** 0.5 * eps_network(v, told))

    y1, y2 = output(s), output(root * s + kappa * probe)
    product = probe.conj() * (y2 - y1)
    divergence = (product.real if product.is_complex() else product).sum()
    sure = squared_norm(y1 - s).sum() / (count * m) - nu**2 + 2 * nu**2 / (kappa * m * count) * divergence
    return y1, sure


@dataclass(frozen=True)
class ReferenceMeasurementScoreObjective:
    """The released training objective: one time for the batch, eps-prediction, one noise level.

    Args:
        schedule: levels of training, usually `linear_table().respaced("ddim200")`.
        noise_std: nu of all measurements; 0 is the noiseless objective of section 3.
        sure_weight: w_sure (`lr_SURE` in the released settings).
        kappa: step of the divergence estimate (`tau_SURE`).
        acceleration_rate: nominal rate that the number of entries is divided by; read when nu > 0.
        original: the table that `schedule` was respaced from, for tau_nu.

    The time is drawn from the first item's stream, uniform over the levels, so an item's loss depends on its batch, as
    in the released code. The network is told the original index of the level (true stride).
    """

    schedule: DiscreteTable
    noise_std: float = 0.0
    sure_weight: float = 0.05
    kappa: float = 0.005
    acceleration_rate: float = 1.0
    original: DiscreteTable = field(default_factory=linear_table)

    def __post_init__(self) -> None:
        if not self.noise_std >= 0:
            raise ValueError(f"noise_std: found {self.noise_std}; a standard deviation is >= 0.")
        for name in ("kappa", "acceleration_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: found {getattr(self, name)}; allowed is a number above 0.")
        if not self.sure_weight >= 0:
            raise ValueError(f"sure_weight: found {self.sure_weight}; allowed is a number >= 0.")
        places = self.schedule.indices
        if places[-1] >= len(self.original) or any(
            self.original.alpha_bar[place] != level
            for place, level in zip(places, self.schedule.alpha_bar, strict=True)
        ):
            raise ValueError("original: found another table than the one that schedule was respaced from.")
        noise_time(self.original, self.noise_std)

    @property
    def settings(self) -> ReleasedNoise:
        """The noise level with its time and abar."""
        time, alpha_bar = noise_time(self.original, self.noise_std)
        return ReleasedNoise(self.noise_std, time, alpha_bar, self.sure_weight, self.kappa, self.acceleration_rate)

    def __call__(self, network: Any, batch: Mapping[str, Tensor], streams: Any) -> ObjectiveResult:
        """Loss of each item of a batch; draws one time, then n, then (for nu > 0) b."""
        items = measured_items(batch, self.noise_std)
        if not items.noise.white or bool((items.noise.level - self.noise_std).abs().gt(1e-6).any()):
            raise ValueError(
                f"batch: its noise is not {self.noise_std} for every item; the released objective knows one noise "
                "level. Use NoisyMeasurementObjective, or give that level."
            )
        s, streams = items.measurement, items.draws(streams)
        t = UniformTimes()(self.schedule, streams)[:1].to(s.device).expand(s.shape[0])
        noise = streams.normal_like(s)
        level = self.schedule.log_snr(t)
        if self.noise_std == 0:
            told = self.schedule.original_index(t).to(items.count)
            loss = reference_loss(network, self.schedule, items.operator, s, items.mask, t, noise, told)
            padding = (2 if s.is_complex() else 1) * s[0].numel() / items.entries  # the mean leaves it out
            return ObjectiveResult(loss * padding, level)
        probe = streams.normal_like(s)
        loss, main, sure = released_noisy_loss(network, items, self.schedule, t, noise, probe, self.settings)
        return ObjectiveResult(loss, level, {"main": main.detach(), "sure": sure.detach()})
