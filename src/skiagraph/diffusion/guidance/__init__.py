"""Guidance terms: denoisers that wrap a denoiser, so that any term goes with any rule and their order is visible."""

from __future__ import annotations

from skiagraph.diffusion.guidance.classifier_free import ClassifierFree
from skiagraph.diffusion.guidance.clip import Clip, DynamicThreshold
from skiagraph.diffusion.guidance.energy import Energy, EnergyGradient, EnergyTerm
from skiagraph.diffusion.guidance.every import Every, LabelFlipWarning, label_flip_risks, warn_of_label_flips
from skiagraph.diffusion.guidance.evidence import Counted, Evidence, GuidanceStep, Tally
from skiagraph.diffusion.guidance.measures import MEASURES, Measure, measure
from skiagraph.diffusion.guidance.state_condition import StateCondition
from skiagraph.diffusion.guidance.sweep import Knee, find_knee
from skiagraph.diffusion.guidance.uncertainty import ClassifierTerm, Ensemble

__all__ = [
    "MEASURES",
    "ClassifierFree",
    "ClassifierTerm",
    "Clip",
    "Counted",
    "DynamicThreshold",
    "Energy",
    "EnergyGradient",
    "EnergyTerm",
    "Ensemble",
    "Every",
    "Evidence",
    "GuidanceStep",
    "Knee",
    "LabelFlipWarning",
    "Measure",
    "StateCondition",
    "Tally",
    "find_knee",
    "label_flip_risks",
    "measure",
    "warn_of_label_flips",
]
