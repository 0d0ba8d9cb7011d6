"""Partial denoisers: what a network (or the exact Gaussian) says about an image from a masked noisy measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import (
    EMPTY,
    Condition,
    NetworkDenoiser,
    NetworkTime,
    Parametrisation,
    Prediction,
    TimeKind,
)
from skiagraph.diffusion.schedule import Schedule, expand_like
from skiagraph.physics.operator import LinearOperator

__all__ = ["EpsPartialDenoiser", "GaussianPartialDenoiser", "NetworkPartialDenoiser"]


@dataclass(frozen=True)
class EpsPartialDenoiser:
    """The released parametrisation: x0_hat = u / alpha_t - rho_t eps(u, tau), u = T^H M z_t.

    Args:
        network: (u, tau (B,)) -> eps of u's shape.
        schedule: noise schedule.
        operator: T, image -> full measurement.
        network_time: t -> the time that the network is told (e.g. the index in the unrespaced table).
    """

    network: Callable[[Tensor, Tensor], Tensor]
    schedule: Schedule
    operator: LinearOperator
    network_time: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor, t: Tensor, mask: Tensor, cond: Condition = EMPTY) -> Prediction:
        """Image estimate from the masked part of the full noisy measurement x."""
        if cond:
            raise ValueError(
                f"cond: found {sorted(cond)}, but this denoiser takes no condition; pass an empty mapping."
            )
        alpha, sigma = self.schedule(t)
        u = self.operator.adjoint(mask * x)
        time = self.network_time(t).to(device=u.device, dtype=u.dtype).expand(u.shape[0])
        eps = self.network(u, time)
        return Prediction(u / expand_like(alpha, u) - expand_like(sigma / alpha, u) * eps)


@dataclass(frozen=True)
class NetworkPartialDenoiser:
    """A network of any parametrisation in the image domain: x0_hat from u = T^H M z_t, and from the mask if it sees it.

    Args:
        network: (input, time (B,)) -> output of u's shape; the input is u or, with `sees_mask`, u and one channel more.
        schedule: noise schedule of z_t.
        operator: T, image -> full measurement.
        parametrisation: what the network predicts: "eps" (as released), "x0", "v" or "edm".
        time: what the network is told as time.
        sees_mask: give the mask, spread over the image's size, as last input channel.
        sigma_data: standard deviation of the data, for "edm".
    """

    network: Any
    schedule: Schedule
    operator: LinearOperator
    parametrisation: Parametrisation = "eps"
    time: NetworkTime | TimeKind = "original_index"
    sees_mask: bool = False
    sigma_data: float = 0.5

    def __call__(self, x: Tensor, t: Tensor, mask: Tensor, cond: Condition = EMPTY) -> Prediction:
        """Image estimate from the masked part of the full noisy measurement x."""
        if cond:
            raise ValueError(
                f"cond: found {sorted(cond)}, but this denoiser takes no condition; pass an empty mapping."
            )
        kept = mask.to(x.dtype.to_real())
        u = self.operator.adjoint(kept * x)
        named = {"mask": kept.expand(u.shape[0], 1, *u.shape[2:])} if self.sees_mask else EMPTY
        image = NetworkDenoiser(
            self.network,
            self.schedule,
            self.parametrisation,
            self.time,
            sigma_data=self.sigma_data,
            concatenated=("mask",) if self.sees_mask else (),
        )
        return image(u, t, named)


@dataclass(frozen=True)
class GaussianPartialDenoiser:
    """Exact partial denoiser of x ~ N(0, Sigma), T = identity, on the last axis: the method page's yardstick (9.1).

        x0_hat_S = Sigma_SS (Sigma_SS + rho_t^2 I)^-1 (z_t / alpha_t)_S, zero off S

    Args:
        schedule: noise schedule.
        covariance: Sigma (n, n), float64.
    """

    schedule: Schedule
    covariance: Tensor

    def __call__(self, x: Tensor, t: Tensor, mask: Tensor, cond: Condition = EMPTY) -> Prediction:
        """Conditional mean on the observed coordinates of x (B, ..., n); mask broadcasts to x."""
        alpha, sigma = self.schedule(t)
        rho2 = float(sigma / alpha) ** 2
        kept = mask.expand_as(x).to(x.dtype)
        covariance = self.covariance.to(x)
        inner = kept.unsqueeze(-1) * covariance * kept.unsqueeze(-2)
        system = inner + rho2 * torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
        q = (kept * x / float(alpha)).unsqueeze(-1)
        solved = torch.cholesky_solve(q, torch.linalg.cholesky(system)).transpose(-1, -2)
        return Prediction((inner * solved).sum(-1))  # not a matrix product: its rounding depends on the batch
