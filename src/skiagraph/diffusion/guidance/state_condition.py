"""A condition computed from the state itself, as in translation guided by mutual information."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser, Prediction
from skiagraph.diffusion.schedule import Schedule

__all__ = ["StateCondition"]


@dataclass(frozen=True, eq=False)
class StateCondition:
    """Calls the base with `name` = function(state, t, cond), computed at every evaluation.

    With `passes` > 1 the condition of each further pass is computed from the x0-hat of the pass before (without
    gradient) in place of the state, so that it compares two images instead of image and noise.

    Args:
        base: a denoiser that accepts the condition.
        name: the condition's name; it must not be given by the caller as well.
        function: (state or x0-hat (B, ...), t, the caller's conditions) -> tensor (B, ...).
        passes: evaluations of the base, at least 1.
    """

    base: Denoiser
    name: str
    function: Callable[[Tensor, Tensor, Condition], Tensor]
    passes: int = 1

    def __post_init__(self) -> None:
        if self.passes < 1:
            raise ValueError(f"passes: found {self.passes}; allowed at least 1.")

    @property
    def schedule(self) -> Schedule:
        """The base's schedule."""
        return self.base.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """The base's prediction under the computed condition."""
        if self.name in cond:
            raise ValueError(f"cond: found {self.name!r}, which is computed from the state; do not give it.")
        seen = x
        with torch.no_grad():
            for _ in range(self.passes - 1):
                seen = self._predict(x, seen, t, cond).x0
        return self._predict(x, seen, t, cond)

    def _predict(self, x: Tensor, seen: Tensor, t: Tensor, cond: Condition) -> Prediction:
        return self.base(x, t, {**cond, self.name: self.function(seen, t, cond)})
