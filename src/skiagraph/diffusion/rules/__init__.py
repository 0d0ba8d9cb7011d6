"""Solvers: each rule takes one step and carries its memory explicitly; a new solver is one new file."""

from __future__ import annotations

from skiagraph.diffusion.rules.ancestral import DDPM, MeanDrift
from skiagraph.diffusion.rules.ddim import DDIM
from skiagraph.diffusion.rules.edm import Churn, Euler, Heun
from skiagraph.diffusion.rules.multistep import DPMSolverPP2M, DPMSolverPP2MSDE
from skiagraph.diffusion.rules.unipc import UniPC

__all__ = ["DDIM", "DDPM", "Churn", "DPMSolverPP2M", "DPMSolverPP2MSDE", "Euler", "Heun", "MeanDrift", "UniPC"]
