"""What the loop and those who use it agree on: objectives, data, streams, progress and results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from skiagraph.diffusion.objective import ObjectiveResult
from skiagraph.errors import SkiagraphError

__all__ = [
    "IndexedData",
    "Objective",
    "ObjectiveResult",
    "Progress",
    "StreamFactory",
    "TrainingDiverged",
    "TrainingResult",
]

StreamFactory = Callable[[Sequence[int], torch.device], Any]
"""Makes the random streams of a batch, one per item: (seeds, device) -> streams."""


class TrainingDiverged(SkiagraphError):
    """The loss or the gradient was not finite for several steps in a row."""


class Objective(Protocol):
    """A training objective: all its draws come from `streams`, one stream per item of the batch."""

    def __call__(self, network: nn.Module, batch: Any, streams: Any) -> ObjectiveResult:
        """Return the per-item losses of a batch."""
        ...


class IndexedData(Protocol):
    """Data that is asked for by index, a batch at a time, possibly from another thread."""

    def __len__(self) -> int:
        """Return the number of items."""
        ...

    def batch(self, indices: Tensor) -> Any:
        """Return the items at `indices` (B,) int64: a tensor, or a mapping or sequence of tensors (B, ...).

        A pure function of the indices: random augmentation belongs to the objective, which has the streams.
        """
        ...


@dataclass(frozen=True)
class Progress:
    """Where the run stands after a step.

    Args:
        images: images seen.
        total: images to see.
        loss: mean loss of the step; NaN where the step was skipped.
        seconds: seconds of training, over all starts.
    """

    images: int
    total: int
    loss: float
    seconds: float


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run hands back.

    Args:
        network: the trained network (the one passed in), last weights.
        averages: averaged weights by name ("power-0.05", "exponential"), as `named_state` names them.
        images: images seen.
        seconds: seconds of training, over all starts.
        skipped: steps skipped because loss or gradient was not finite.
        last: the last line of metrics.jsonl.
    """

    network: nn.Module
    averages: dict[str, dict[str, Tensor]]
    images: int
    seconds: float
    skipped: int
    last: dict[str, Any]
