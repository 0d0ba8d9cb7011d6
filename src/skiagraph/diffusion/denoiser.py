"""Denoisers: whatever estimates the clean image from a noisy one, E[x_0 | x_t], is one; networks become one here.

x0-hat is the common language: every parametrisation is turned into it at this rim, and clipping, guidance, data
consistency and solvers are all stated on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

from skiagraph.diffusion.reverse import learned_log_variance
from skiagraph.diffusion.schedule import DiscreteTable, Schedule, as_time, expand_like

__all__ = [
    "EMPTY",
    "Condition",
    "Denoiser",
    "NetworkDenoiser",
    "NetworkTime",
    "Parametrisation",
    "PartialDenoiser",
    "Prediction",
    "TimeKind",
]

Condition = Mapping[str, Any]
"""Named conditions (label, embedding, channels ...), each a tensor whose first axis is the batch, or None."""

Parametrisation = Literal["eps", "x0", "v", "edm"]
TimeKind = Literal["index", "original_index", "rescaled", "log_snr", "log_rho", "continuous"]


class _Empty(Mapping[str, Any]):
    """The empty condition: immutable, and itself again after copying or pickling."""

    def __getitem__(self, name: str) -> Any:
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "EMPTY"

    def __reduce__(self) -> str:
        return "EMPTY"


EMPTY: Condition = _Empty()


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a denoiser says about x_0.

    Args:
        x0: estimate of the clean image, of the state's shape.
        log_var: learned log-variance of the ancestral step from level t to level t - 1 of a discrete table, of x0's
            shape; None where the network predicts no variance.
    """

    x0: Tensor
    log_var: Tensor | None = None


@runtime_checkable
class Denoiser(Protocol):
    """E[x_0 | x_t]; guidance terms are denoisers that wrap a denoiser."""

    @property
    def schedule(self) -> Schedule:
        """The noise schedule that x_t follows."""
        ...

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """Estimate the clean image of x (B, ...) at times t, () or (B,)."""
        ...


@runtime_checkable
class PartialDenoiser(Protocol):
    """A denoiser that sees only the measured part of the state, and which part that is."""

    @property
    def schedule(self) -> Schedule:
        """The noise schedule that x_t follows."""
        ...

    def __call__(self, x: Tensor, t: Tensor, mask: Tensor, cond: Condition = EMPTY) -> Prediction:
        """Estimate the clean image from the part of x where `mask` is 1."""
        ...


@dataclass(frozen=True)
class NetworkTime:
    """What a network is told as time: a property of the trained prior, stored with it, never a flag of a sampler.

    Args:
        kind: "index" (position in the present table), "original_index" (position in the table of training),
            "rescaled" (original index times 1000 / length), "log_snr" (log(alpha^2 / sigma^2)), "log_rho"
            (log(sigma / alpha) / 4, as in EDM) or "continuous" (the schedule's own time).
        scale: factor on the result; 999 or 1000 suits sinusoidal embeddings of continuous times in [0, 1].
    """

    kind: TimeKind = "original_index"
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(TimeKind):
            raise ValueError(f"kind: found {self.kind!r}; allowed {', '.join(map(repr, get_args(TimeKind)))}.")

    def check(self, schedule: Schedule) -> None:
        """Raise if the schedule cannot give this kind of time."""
        if self.kind in ("index", "original_index", "rescaled") and not isinstance(schedule, DiscreteTable):
            raise TypeError(
                f"time: found {self.kind!r} with {type(schedule).__name__}, which has no indices; allowed 'log_snr', "
                "'log_rho' or 'continuous'."
            )

    def __call__(self, schedule: Schedule, t: Tensor | float) -> Tensor:
        """The network's time, float64, of t's shape."""
        self.check(schedule)
        return self.scale * self._unscaled(schedule, as_time(t))

    def _unscaled(self, schedule: Schedule, t: Tensor) -> Tensor:
        if isinstance(schedule, DiscreteTable):
            if self.kind == "original_index":
                return schedule.original_index(t)
            if self.kind == "rescaled":
                return schedule.original_index(t) * (1000 / schedule.original_steps)
        if self.kind == "log_snr":
            return schedule.log_snr(t)
        if self.kind == "log_rho":
            return -0.125 * schedule.log_snr(t)
        return t


@dataclass(frozen=True, eq=False)
class NetworkDenoiser:
    """A network as denoiser.

    With rho = sigma / alpha and s_d = `sigma_data`, and F the network's output:

        eps:  x0 = x / alpha - rho F(x)
        x0:   x0 = F(x)
        v:    x0 = (alpha / n^2) x - (sigma / n) F(x / n), n^2 = alpha^2 + sigma^2 (1 when variance preserving)
        edm:  x0 = c_skip x / alpha + c_out F(c_in x / alpha), c_skip = s_d^2 / (rho^2 + s_d^2),
              c_out = rho s_d / sqrt(rho^2 + s_d^2), c_in = 1 / sqrt(rho^2 + s_d^2)

    Ho et al. 2020; Salimans and Ho 2022 (arXiv 2202.00512); Karras et al. 2022, table 1.

    Args:
        network: called as network(x, time, **conditions) with x (B, C, ...) and time (B,) in float32.
        schedule: the schedule of the state.
        parametrisation: what the network predicts.
        time: what it is told as time.
        learned_variance: the output has 2 C channels, the second half placing the log-variance between its bounds.
        sigma_data: standard deviation of the data, for "edm".
        accepts: names of conditions passed on to the network by keyword.
        concatenated: names of conditions joined to the state as further input channels, in this order; required.
    """

    network: Any
    schedule: Schedule
    parametrisation: Parametrisation = "eps"
    time: NetworkTime | TimeKind = NetworkTime()
    learned_variance: bool = False
    sigma_data: float = 0.5
    accepts: frozenset[str] = frozenset()
    concatenated: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.parametrisation not in get_args(Parametrisation):
            allowed = ", ".join(map(repr, get_args(Parametrisation)))
            raise ValueError(f"parametrisation: found {self.parametrisation!r}; allowed {allowed}.")
        if not self.sigma_data > 0:
            raise ValueError(f"sigma_data: found {self.sigma_data}; allowed a positive number.")
        if self.learned_variance and not isinstance(self.schedule, DiscreteTable):
            raise TypeError(f"learned_variance: needs a DiscreteTable, found {type(self.schedule).__name__}.")
        object.__setattr__(self, "accepts", frozenset(self.accepts))
        object.__setattr__(self, "concatenated", tuple(self.concatenated))
        self.network_time.check(self.schedule)

    @property
    def network_time(self) -> NetworkTime:
        """`time` as an object."""
        return self.time if isinstance(self.time, NetworkTime) else NetworkTime(self.time)

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """Estimate the clean image of x (B, C, ...) at times t, () or (B,)."""
        self._check_names(cond)
        t = as_time(t)
        skip, out, scale = (expand_like(value, x) for value in self._coefficients(t))
        inputs = torch.cat([scale * x, *self._channels(x, cond)], dim=1) if self.concatenated else scale * x
        time = self.network_time(self.schedule, t).to(device=x.device, dtype=torch.float32)
        named = {name: value for name, value in cond.items() if name in self.accepts}
        output = self.network(inputs, time.expand(x.shape[0]), **named)
        output, fraction = self._split(output, x)
        log_var = None if fraction is None else learned_log_variance(self.schedule, t, fraction)
        return Prediction(skip * x + out * output, log_var)

    def _coefficients(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """c_skip, c_out, c_in of x0 = c_skip x + c_out F(c_in x)."""
        alpha, sigma = self.schedule(t)
        one = torch.ones_like(alpha)
        if self.parametrisation == "eps":
            return 1 / alpha, -sigma / alpha, one
        if self.parametrisation == "x0":
            return 0 * one, one, one
        if self.parametrisation == "v":
            squared = alpha**2 + sigma**2
            return alpha / squared, -sigma / squared.sqrt(), squared.rsqrt()
        total = sigma**2 + (alpha * self.sigma_data) ** 2  # alpha^2 (rho^2 + s_d^2)
        return alpha * self.sigma_data**2 / total, sigma * self.sigma_data / total.sqrt(), total.rsqrt()

    def _check_names(self, cond: Condition) -> None:
        allowed = self.accepts.union(self.concatenated)
        unknown = sorted(name for name in cond if name not in allowed)
        if unknown:
            known = ", ".join(sorted(allowed)) if allowed else "none at all (the network is unconditional)"
            raise ValueError(f"cond: found unknown condition {', '.join(unknown)}; allowed {known}.")

    def _channels(self, x: Tensor, cond: Condition) -> list[Tensor]:
        missing = [name for name in self.concatenated if cond.get(name) is None]
        if missing:
            raise ValueError(f"cond: found no {', '.join(missing)}; this network needs {', '.join(self.concatenated)}.")
        return [cond[name].to(x) for name in self.concatenated]

    def _split(self, output: Tensor, x: Tensor) -> tuple[Tensor, Tensor | None]:
        channels = x.shape[1] * (2 if self.learned_variance else 1)
        if output.shape != (x.shape[0], channels, *x.shape[2:]):
            raise ValueError(
                f"network: found an output of shape {tuple(output.shape)} for a state of shape {tuple(x.shape)}; "
                f"expected {channels} channels (learned_variance={self.learned_variance})."
            )
        if not self.learned_variance:
            return output, None
        return output[:, : x.shape[1]], output[:, x.shape[1] :]
