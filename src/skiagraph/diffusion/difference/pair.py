"""The two conditions that a difference is taken between, as vectors that can be mixed and differentiated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import Condition

__all__ = ["ConditionPair"]


@dataclass(frozen=True, eq=False)
class ConditionPair:
    """f(c) and f(0): what a denoiser is told for "present" and for "absent".

    Args:
        present: condition of one sample, such as a row (E,) of a network's class table.
        absent: the same for "absent".
        name: under which the denoiser takes it, (B, ...).
    """

    present: Tensor
    absent: Tensor
    name: str = "embedding"

    def __post_init__(self) -> None:
        if self.present.shape != self.absent.shape:
            raise ValueError(
                f"present, absent: found shapes {tuple(self.present.shape)} and {tuple(self.absent.shape)}; allowed "
                "two vectors of one shape."
            )
        if bool((self.present == self.absent).all()):
            raise ValueError("present, absent: found equal conditions, whose difference is 0 everywhere; give two.")

    @property
    def direction(self) -> Tensor:
        """Delta = f(c) - f(0)."""
        return self.present - self.absent

    def mixed(self, tau: float) -> Tensor:
        """e_tau = tau f(c) + (1 - tau) f(0); exactly f(c) at tau = 1 and f(0) at tau = 0."""
        if tau == 1:
            return self.present
        return tau * self.present + (1 - tau) * self.absent

    def told(self, value: Tensor, batch: int) -> Condition:
        """The condition that tells every sample of a batch the same value."""
        return {self.name: value.expand(batch, *value.shape)}

    def to(self, device: torch.device | str, dtype: torch.dtype) -> ConditionPair:
        """The same pair elsewhere."""
        return ConditionPair(self.present.to(device, dtype), self.absent.to(device, dtype), self.name)
