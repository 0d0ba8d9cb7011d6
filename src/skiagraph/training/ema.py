"""Averages of the weights over training: power-function averages of several lengths, and the plain exponential one.

The power-function average with exponent gamma weighs the weights theta(tau) of the past by a power of time,

    average(t) = (gamma + 1) / t^(gamma + 1) * integral_0^t tau^gamma theta(tau) d tau,

so that its width is a fixed share of the run so far: sigma_rel = sqrt(gamma + 1) / ((gamma + 2) sqrt(gamma + 3)).
Snapshots of two or more lengths allow the average of any other length to be rebuilt afterwards by least squares
(Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models", section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from skiagraph.errors import InputError

__all__ = [
    "Average",
    "ExponentialAverage",
    "PowerAverage",
    "Profile",
    "combine",
    "named_state",
    "posthoc_weights",
    "power_exponent",
    "relative_width",
]


def named_state(network: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and saved buffer of a network once, by name; tied weights keep their first name."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in network.state_dict(keep_vars=True).items():
        if not isinstance(value, Tensor):
            raise InputError(f"network: extra state {name!r} is no tensor; only tensors can be saved.")
        if id(value) not in seen:
            seen.add(id(value))
            found[name] = value.detach()
    return found


def relative_width(exponent: float) -> float:
    """Return sigma_rel = sqrt(gamma + 1) / ((gamma + 2) sqrt(gamma + 3)) of the exponent gamma > -1."""
    return float((exponent + 1.0) ** 0.5 / ((exponent + 2.0) * (exponent + 3.0) ** 0.5))


def power_exponent(length: float) -> float:
    """Return the exponent gamma whose relative width is `length` = sigma_rel, in (0, 1/sqrt(12) = 0.2887).

    gamma is the largest real root of (gamma + 2)^2 (gamma + 3) = (gamma + 1) / sigma_rel^2.
    """
    if not 0.0 < length < 12.0**-0.5:
        raise InputError(f"EMA length sigma_rel: found {length!r}, allowed: between 0 and 0.2887 (0.05 is usual).")
    inverse = length**-2
    roots = np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse])
    return float(max(root.real for root in roots if abs(root.imag) < 1e-6 * max(1.0, abs(root))))


class Average(Protocol):
    """An average of the weights that is updated after every step."""

    name: str
    values: dict[str, Tensor]

    def update(self, state: Mapping[str, Tensor], images: int, step: int) -> None:
        """Take in the weights `state`, reached at `images` images seen after a step of `step` images."""
        ...


def _follow(values: dict[str, Tensor], state: Mapping[str, Tensor], weight: float) -> None:
    averaged = [name for name, value in values.items() if value.is_floating_point()]
    with torch.no_grad():
        torch._foreach_lerp_([values[name] for name in averaged], [state[name].detach() for name in averaged], weight)
        for name in values.keys() - set(averaged):
            values[name].copy_(state[name])


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}


class PowerAverage:
    """Power-function average of one length: average <- beta * average + (1 - beta) * weights.

    beta = (1 - step / images)^(gamma + 1), which is 0 on the first step: the initial weights leave no trace.

    Args:
        state: the weights, as from `named_state`.
        length: relative width sigma_rel in (0, 0.2887).
    """

    def __init__(self, state: Mapping[str, Tensor], length: float) -> None:
        self.name = f"power-{length:g}"
        self.length = length
        self.exponent = power_exponent(length)
        self.values = _copy(state)

    def update(self, state: Mapping[str, Tensor], images: int, step: int) -> None:
        """Take in the weights `state`, reached at `images` images seen after a step of `step` images."""
        kept = (1.0 - step / images) ** (self.exponent + 1.0)
        _follow(self.values, state, 1.0 - kept)


class ExponentialAverage:
    """Plain exponential average: beta = 2^(-step / half-life), the half-life limited to a share of the images seen.

    Args:
        state: the weights, as from `named_state`.
        half_life: images after which a past weight counts half (> 0).
        ramp: the half-life never exceeds `ramp` times the images seen (> 0).
    """

    def __init__(self, state: Mapping[str, Tensor], half_life: float, ramp: float = 0.05) -> None:
        self.name = "exponential"
        self.half_life = half_life
        self.ramp = ramp
        self.values = _copy(state)

    def update(self, state: Mapping[str, Tensor], images: int, step: int) -> None:
        """Take in the weights `state`, reached at `images` images seen after a step of `step` images."""
        kept = 0.5 ** (step / min(self.half_life, self.ramp * images))
        _follow(self.values, state, 1.0 - kept)


@dataclass(frozen=True)
class Profile:
    """One power-function average at one moment.

    Args:
        length: relative width sigma_rel in (0, 0.2887).
        images: images seen (> 0).
    """

    length: float
    images: float


def _overlap(first: Profile, second: Profile) -> float:
    """Return the inner product of two profiles p(tau) = (gamma + 1) tau^gamma / t^(gamma + 1) on 0 < tau < t.

    With t1 <= t2 it is (g1 + 1)(g2 + 1) / (g1 + g2 + 1) * (t1 / t2)^g2 / t2.
    """
    early, late = sorted((first, second), key=lambda profile: profile.images)
    g1, g2 = power_exponent(early.length), power_exponent(late.length)
    scale = (g1 + 1.0) * (g2 + 1.0) / (g1 + g2 + 1.0)
    return float(scale * (early.images / late.images) ** g2 / late.images)


def posthoc_weights(snapshots: Sequence[Profile], target: Profile) -> list[float]:
    """Return the weights of the snapshots whose sum comes closest to the target profile.

    Least squares between the response profiles, with the weights summing to one so that a network that never changed
    is returned exactly. Differs from the paper, which leaves the sum free.

    Args:
        snapshots: length and images seen of each snapshot, at least one.
        target: the wanted length and the images seen at which it ends.
    """
    if not snapshots:
        raise InputError("snapshots: found none; train with snapshot_every set to rebuild other EMA lengths.")
    unit = target.images
    scaled = [Profile(profile.length, profile.images / unit) for profile in snapshots]
    wanted = Profile(target.length, 1.0)
    gram = np.array([[_overlap(row, column) for column in scaled] for row in scaled])
    right = np.array([_overlap(row, wanted) for row in scaled])
    inverse = np.linalg.pinv(gram, rcond=1e-13, hermitian=True)
    free, ones = inverse @ right, inverse @ np.ones(len(scaled))
    return [float(weight) for weight in free + ones * (1.0 - free.sum()) / ones.sum()]


def combine(states: Iterable[Mapping[str, Tensor]], weights: Sequence[float]) -> dict[str, Tensor]:
    """Return the weighted sum of network states in float32, holding two of them at a time, summed in float64.

    Args:
        states: the states; tensors of whole numbers come from the last one.
        weights: one number a state.
    """
    total: dict[str, Tensor] = {}
    for weight, state in zip(weights, states, strict=True):
        for name, value in state.items():
            if value.is_floating_point():
                term = value.double() * weight
                total[name] = total[name] + term if name in total else term
            else:
                total[name] = value.clone()
    return {name: value.float() if value.is_floating_point() else value for name, value in total.items()}
