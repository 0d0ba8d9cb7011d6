"""Noise schedules: pure functions from time to (alpha, sigma) of x_t = alpha_t x_0 + sigma_t eps, always in float64.

Each schedule also speaks log-SNR, log(alpha^2 / sigma^2), and its inverse, so that grids and solvers never need to know
which schedule they work on.
"""

from __future__ import annotations

from skiagraph.diffusion.schedule.continuous import EDM, Cosine, VPLinear
from skiagraph.diffusion.schedule.interface import Schedule, as_time, expand_like, noise_to_signal, perturb
from skiagraph.diffusion.schedule.level import NoiseLevel, noise_level, remembered
from skiagraph.diffusion.schedule.table import DiscreteTable, cosine_table, linear_table

__all__ = [
    "EDM",
    "Cosine",
    "DiscreteTable",
    "NoiseLevel",
    "Schedule",
    "VPLinear",
    "as_time",
    "cosine_table",
    "expand_like",
    "linear_table",
    "noise_level",
    "noise_to_signal",
    "perturb",
    "remembered",
]
