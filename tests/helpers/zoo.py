"""Every rule and every guidance term once, so that each inherits the tests that all must pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser
from skiagraph.diffusion.guidance import ClassifierFree, ClassifierTerm, Clip, DynamicThreshold, Energy, StateCondition
from skiagraph.diffusion.oracle import GaussianDenoiser, MixtureDenoiser
from skiagraph.diffusion.rules import DDIM, DDPM, Churn, DPMSolverPP2M, DPMSolverPP2MSDE, Euler, Heun, UniPC
from skiagraph.diffusion.sampling import Rule
from skiagraph.diffusion.schedule import Schedule

__all__ = ["DETERMINISTIC", "STOCHASTIC", "WRAPPERS", "condition_for", "mixture", "quadratic"]

DETERMINISTIC: dict[str, Rule] = {
    "DDIM": DDIM(),
    "Euler": Euler(),
    "Heun": Heun(),
    "DPM++2M": DPMSolverPP2M(),
    "UniPC1": UniPC(1),
    "UniPC2": UniPC(2),
    "UniPC3": UniPC(3),
}

STOCHASTIC: dict[str, Rule] = {
    "DDIM1": DDIM(eta=1.0),
    "DDIM.5": DDIM(eta=0.5),
    "DDPMsmall": DDPM(),
    "DDPMlarge": DDPM("large"),
    "DDPMfinal": DDPM("large", final_noise=True),
    "DPM++2MSDE": DPMSolverPP2MSDE(),
    "EulerChurn": Euler(Churn(0.2)),
    "HeunChurn": Heun(Churn(0.2)),
}


def mixture(schedule: Schedule) -> MixtureDenoiser:
    """Two classes of two components in four dimensions."""
    means = torch.tensor([[0.5, 0.5, 0, 0], [-0.5, 0.5, 0, 1], [0, -0.5, 1, 0], [0.3, 0, 0, -1]], dtype=torch.float64)
    variances = torch.tensor([0.02, 0.1, 0.3, 0.05], dtype=torch.float64)
    weights = torch.tensor([1.0, 2.0, 1.0, 0.5], dtype=torch.float64)
    return MixtureDenoiser(schedule, weights, means, variances, torch.tensor([0, 0, 1, 1]))


def quadratic(x: Tensor, t: Tensor, x0: Tensor, cond: Condition) -> Tensor:
    """A log-density of both the state and the estimate."""
    return -0.5 * ((x - 0.2).square() + (x0 - 0.3).square() * x.detach().abs()).flatten(1).sum(1)


def _covariance() -> Tensor:
    places = torch.arange(4, dtype=torch.float64)
    return torch.exp(-(places[:, None] - places[None, :]).abs() / 2)


WRAPPERS: dict[str, Callable[[Schedule], Denoiser]] = {
    "gaussian": lambda s: GaussianDenoiser(
        s, torch.tensor([0.5, -1.0, 0.2, 0.0]).double(), torch.tensor([0.04, 1, 0.3, 4])
    ),
    "covariance": lambda s: GaussianDenoiser(s, torch.zeros(4).double(), covariance=_covariance()),
    "mixture": mixture,
    "classifier-free": lambda s: ClassifierFree(mixture(s), 2.0),
    "clip": lambda s: Clip(mixture(s), -0.5, 0.5),
    "dynamic threshold": lambda s: DynamicThreshold(mixture(s), 0.75, 0.3),
    "energy at the state": lambda s: Energy(mixture(s), quadratic, 0.3, trust=0.5),
    "energy in units of the noise": lambda s: Energy(mixture(s), quadratic, 0.3, normalised=True, until=-0.1),
    "classifier": lambda s: Energy(mixture(s), ClassifierTerm(mixture(s).logits, "entropy"), 0.5),
    "energy at x0": lambda s: Energy(Clip(mixture(s)), quadratic, 0.3, through="x0"),
    "energy through the network": lambda s: Energy(mixture(s), quadratic, 0.3, through="network"),
    "state condition": lambda s: StateCondition(
        GaussianDenoiser(s, torch.zeros(4).double(), torch.ones(4)), "mean", lambda x, t, cond: torch.tanh(x), passes=2
    ),
}
"""Each takes states (B, 4) and, where it is a mixture, a label."""


def condition_for(name: str, seeds: list[int]) -> Condition:
    """The condition that a wrapper of `WRAPPERS` needs, a function of the sample's own seed."""
    return {"label": torch.tensor([seed % 2 for seed in seeds])} if name == "classifier-free" else EMPTY
