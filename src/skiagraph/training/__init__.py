"""Training: one loop, averages of the weights, exact resume, and the prior folder."""

from __future__ import annotations

from skiagraph.training.architectures import build_network, register_architecture, unet_architecture
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
from skiagraph.training.prior import Prior
from skiagraph.training.processes import process_group
from skiagraph.training.record import PriorRecord, source_commit
from skiagraph.training.settings import TrainingSettings
from skiagraph.training.snapshots import rebuild_average

__all__ = [
    "IndexedData",
    "Objective",
    "ObjectiveResult",
    "Prior",
    "PriorRecord",
    "Progress",
    "StreamFactory",
    "TrainingDiverged",
    "TrainingResult",
    "TrainingSettings",
    "build_network",
    "process_group",
    "rebuild_average",
    "register_architecture",
    "source_commit",
    "train",
    "unet_architecture",
]
