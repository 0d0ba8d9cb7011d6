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
from skiagraph.diffusion.grid import Ascending, Grid, Karras, Levels, LogSNR, Partial, Quadratic, Snapped, Uniform
from skiagraph.diffusion.inversion import Latent, inversion_times, invert, inverting
from skiagraph.diffusion.rules import DDIM, DDPM, DPMSolverPP2M, DPMSolverPP2MSDE, Euler, Heun, UniPC
from skiagraph.diffusion.sampling import Rule, Step, final, preferred_grid, trajectory
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
    "DDIM",
    "DDPM",
    "EDM",
    "EMPTY",
    "Ascending",
    "Condition",
    "Cosine",
    "DPMSolverPP2M",
    "DPMSolverPP2MSDE",
    "Denoiser",
    "DiscreteTable",
    "Euler",
    "Grid",
    "Heun",
    "Karras",
    "Latent",
    "Levels",
    "LogSNR",
    "NetworkDenoiser",
    "NetworkTime",
    "Partial",
    "PartialDenoiser",
    "Prediction",
    "Quadratic",
    "Rule",
    "Schedule",
    "Snapped",
    "Step",
    "Streams",
    "UniPC",
    "Uniform",
    "VPLinear",
    "cosine_table",
    "expand_like",
    "final",
    "inversion_times",
    "invert",
    "inverting",
    "linear_table",
    "noise_to_signal",
    "perturb",
    "preferred_grid",
    "trajectory",
]
