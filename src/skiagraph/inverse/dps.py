"""Diffusion posterior sampling: gradient of the residual through the network (Chung et al. 2023, arXiv 2209.14687)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser, Prediction
from skiagraph.diffusion.sampling import Rule
from skiagraph.diffusion.schedule import Schedule
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.data_consistency import check_measurement
from skiagraph.physics.operator import LinearOperator

__all__ = ["DPS"]


@dataclass(frozen=True)
class DPS:
    """Rule around a rule: x_s <- x_s - zeta grad_{x_t} |y - A x0(x_t)|_2, the norm taken per sample.

    Differs from common implementations, which take one norm over the batch, so that samples disturb each other.

    Args:
        rule: the unconditional step, one that asks for one prediction; ancestral DDPM in the paper.
        operator: A.
        measurement: y.
        strength: zeta > 0.
    """

    rule: Rule
    operator: LinearOperator
    measurement: Tensor
    strength: float = 1.0
    order: int = 1

    def __post_init__(self) -> None:
        check_measurement(self.measurement)
        if not self.strength > 0:
            raise ValueError(f"strength: found {self.strength}; allowed a positive number.")

    def __call__(
        self, denoiser: Denoiser, x: Tensor, t: Tensor, s: Tensor, cond: Condition, streams: Streams | None, carry: Any
    ) -> tuple[Tensor, Tensor, Any]:
        """One step from time t to time s."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            prediction = denoiser(leaf, t, cond)
            residual = (self.measurement - self.operator.forward(prediction.x0)).flatten(1)
            (gradient,) = torch.autograd.grad(torch.linalg.vector_norm(residual, dim=1).sum(), leaf)
        log_var = None if prediction.log_var is None else prediction.log_var.detach()
        known = _Known(denoiser.schedule, Prediction(prediction.x0.detach(), log_var), x, t)
        x_s, x0, carry = self.rule(known, x, t, s, cond, streams, carry)
        return x_s - self.strength * gradient, x0, carry


@dataclass(frozen=True)
class _Known:
    """A prediction already made, as denoiser, so that the inner rule need not call the network again."""

    schedule: Schedule
    prediction: Prediction
    state: Tensor
    time: Tensor

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        if float(t) != float(self.time) or not (x is self.state or torch.equal(x, self.state)):
            raise ValueError(
                "rule: asks for a second prediction within a step; DPS takes rules that ask once, as DDPM."
            )
        return self.prediction
