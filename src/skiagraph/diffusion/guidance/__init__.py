"""Guidance terms: denoisers that wrap a denoiser, so that any term goes with any rule and their order is visible."""

from __future__ import annotations

from skiagraph.diffusion.guidance.classifier_free import ClassifierFree
from skiagraph.diffusion.guidance.clip import Clip, DynamicThreshold
from skiagraph.diffusion.guidance.energy import Energy, EnergyGradient, EnergyTerm
from skiagraph.diffusion.guidance.state_condition import StateCondition

__all__ = [
    "ClassifierFree",
    "Clip",
    "DynamicThreshold",
    "Energy",
    "EnergyGradient",
    "EnergyTerm",
    "StateCondition",
]
