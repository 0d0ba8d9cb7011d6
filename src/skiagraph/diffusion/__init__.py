"""The calculus of diffusion: schedules, grids, denoisers, rules, guidance; everything speaks x0-hat."""

from __future__ import annotations

from skiagraph.diffusion.denoiser import (
    EMPTY,
    Condition,
    Denoiser,
    NetworkDenoiser,
    NetworkTime,
    PartialDenoiser,
    Prediction,
)
from skiagraph.diffusion.grid import Ascending, Grid, Karras, Levels, LogSNR, Partial, Uniform
from skiagraph.diffusion.schedule import (
    EDM,
    Cosine,
    DiscreteTable,
    Schedule,
    VPLinear,
    cosine_table,
    expand_like,
    linear_table,
    noise_to_signal,
    perturb,
)
from skiagraph.diffusion.streams import Streams

__all__ = [
    "EDM",
    "EMPTY",
    "Ascending",
    "Condition",
    "Cosine",
    "Denoiser",
    "DiscreteTable",
    "Grid",
    "Karras",
    "Levels",
    "LogSNR",
    "NetworkDenoiser",
    "NetworkTime",
    "Partial",
    "PartialDenoiser",
    "Prediction",
    "Schedule",
    "Streams",
    "Uniform",
    "VPLinear",
    "cosine_table",
    "expand_like",
    "linear_table",
    "noise_to_signal",
    "perturb",
]
