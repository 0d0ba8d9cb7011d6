"""Training: one loop, averages of the weights, exact resume, and the prior folder."""

from __future__ import annotations

from skiagraph.training.interface import (
    IndexedData,
    Objective,
    ObjectiveResult,
    Progress,
    StreamFactory,
    TrainingDiverged,
    TrainingResult,
)
from skiagraph.training.loop import train
from skiagraph.training.settings import TrainingSettings

__all__ = [
    "IndexedData",
    "Objective",
    "ObjectiveResult",
    "Progress",
    "StreamFactory",
    "TrainingDiverged",
    "TrainingResult",
    "TrainingSettings",
    "train",
]
