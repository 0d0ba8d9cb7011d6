"""The words that settings of `synthesize` choose from."""

from __future__ import annotations

from typing import Literal

__all__ = ["GridName", "Inversion", "Measure", "Mode", "PresetName", "Through"]

Mode = Literal["noise", "two-stage", "harden"]
PresetName = Literal["default", "reference"]
GridName = Literal["quadratic", "uniform"]
Inversion = Literal["mirrored", "heun", "reference", "noised"]
Through = Literal["state", "x0", "network"]
Measure = Literal[
    "none",
    "log_prob",
    "entropy",
    "margin",
    "least_confidence",
    "log_odds_target",
    "log_odds_abs",
    "entropy_normalised",
    "bald",
    "energy",
]
