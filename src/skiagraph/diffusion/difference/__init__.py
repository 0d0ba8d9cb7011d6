"""Conditional differences: how the estimate of the clean image moves with the label, pixel by pixel."""

from __future__ import annotations

from skiagraph.diffusion.difference.average import AveragePlan, DifferenceMap, average_difference
from skiagraph.diffusion.difference.classifier_term import classifier_slope
from skiagraph.diffusion.difference.derivative import Slope, label_slope
from skiagraph.diffusion.difference.pair import ConditionPair
from skiagraph.diffusion.difference.trajectory import TrajectoryMap, TrajectoryPlan, guided_step, trajectory_map

__all__ = [
    "AveragePlan",
    "ConditionPair",
    "DifferenceMap",
    "Slope",
    "TrajectoryMap",
    "TrajectoryPlan",
    "average_difference",
    "classifier_slope",
    "guided_step",
    "label_slope",
    "trajectory_map",
]
