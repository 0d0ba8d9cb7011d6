"""What guidance did during a walk, in objects that the caller makes and passes in: guidance remembers nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser, Prediction
from skiagraph.diffusion.schedule import Schedule

__all__ = ["Counted", "Evidence", "GuidanceStep", "Tally"]


@dataclass(frozen=True, eq=False)
class GuidanceStep:
    """One evaluation of a guidance term, for B samples.

    Args:
        t: () or (B,) time on the denoiser's schedule.
        value: (B,) the term's value before the push.
        acts: (B,) bool, whether the sample was pushed.
        size: (B,) root mean square of the push in units of the noise, before any trust region.
        limited: (B,) bool, whether the trust region shortened it.
        outside: (B,) share of numbers of the guided x0-hat beyond [-1, 1].
    """

    t: Tensor
    value: Tensor
    acts: Tensor
    size: Tensor
    limited: Tensor
    outside: Tensor


@dataclass(eq=False)
class Evidence:
    """Collects the steps of one walk: `Energy(..., observe=evidence)`. All steps must be of the same samples.

    Args:
        steps: what was collected, in order.
    """

    steps: list[GuidanceStep] = field(default_factory=list)

    def __call__(self, step: GuidanceStep) -> None:
        """Keep a step, on the CPU."""
        values = (step.t, step.value, step.acts, step.size, step.limited, step.outside)
        self.steps.append(GuidanceStep(*(value.detach().cpu() for value in values)))

    @property
    def calls(self) -> int:
        """Evaluations of the term."""
        return len(self.steps)

    @property
    def limited(self) -> Tensor:
        """(B,) share of a sample's pushes that the trust region shortened; 0 where there were none."""
        return self._sum("limited") / self._sum("acts").clamp(min=1)

    @property
    def outside(self) -> Tensor:
        """(B,) share of numbers of x0-hat beyond [-1, 1], averaged over the evaluations."""
        return self._sum("outside") / max(len(self.steps), 1)

    @property
    def first(self) -> Tensor:
        """(B,) the term at the first evaluation; values at different noise levels do not compare."""
        return self._steps()[0].value

    @property
    def last(self) -> Tensor:
        """(B,) the term at the last evaluation, before its push."""
        return self._steps()[-1].value

    def _steps(self) -> list[GuidanceStep]:
        if not self.steps:
            raise ValueError("evidence: found no step; was guidance on (scale above 0), and was the walk made?")
        return self.steps

    def _sum(self, name: str) -> Tensor:
        return torch.stack([getattr(step, name).double() for step in self._steps()]).sum(0)


@dataclass
class Tally:
    """Evaluations of a network.

    Args:
        calls: number of calls.
        samples: sum of their batch sizes; divided by the images made, the evaluations per image.
    """

    calls: int = 0
    samples: int = 0


@dataclass(frozen=True, eq=False)
class Counted:
    """A denoiser that adds every call to a tally of the caller. Wrap the network itself, inside all guidance.

    Args:
        base: the denoiser.
        tally: where calls are counted.
    """

    base: Denoiser
    tally: Tally

    @property
    def schedule(self) -> Schedule:
        """The base's schedule."""
        return self.base.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """The base's prediction."""
        self.tally.calls += 1
        self.tally.samples += x.shape[0]
        return self.base(x, t, cond)
