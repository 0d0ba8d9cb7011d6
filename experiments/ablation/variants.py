"""The switches of the posterior sampler on data: what each row changes, and how a row is walked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from skiagraph.diffusion.grid import Grid, Karras, LogSNR
from skiagraph.diffusion.sampling import trajectory
from skiagraph.diffusion.schedule import EDM, Schedule
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.consistent import Anchors, ConsistentDenoiser, ConsistentNetwork
from skiagraph.inverse.data_consistency import ProximalStep, RelaxedStep
from skiagraph.inverse.measurement_score import MeasurementScore
from skiagraph.inverse.mixing import DDNMMixing
from skiagraph.inverse.views import CoveringViews, DensitySchedule, IndependentViews
from skiagraph.physics.fourier import CoilFourier, to_complex, to_real
from skiagraph.physics.masks import RandomColumns
from skiagraph.physics.selection import PixelMask
from skiagraph.tasks.reconstruct.baselines import CGSense, TunedBaseline
from skiagraph.tasks.reconstruct.posterior import PRIOR_VARIANCE, conditional_mean
from skiagraph.tasks.reconstruct.scan import PreparedScan

__all__ = ["ANCHORED", "MASKED", "Variant", "draw"]

RATE, CENTRE = 4.0, 24  # of the training masks


@dataclass(frozen=True)
class Variant:
    """One way to draw posterior samples.

    Args:
        masks: what the network is shown of the state at a level: several masks of the training family that cover
            everything, as many independent ones, denser covering ones below rho = 0.3, or every line at once.
        anchors: whether acquired lines condition the network; else the data enter by a step on its estimate.
        views: masks per level.
        steps: levels.
        noisiest, finest: first and last level.
        grid: how levels lie between the two.
        eta: share of fresh noise.
        relaxation: of the data step without anchors.
        finish: whether the last step is the proximal one, with the noise of the scan.
        start: where the first level's noise is put: on nothing, on the zero-filled lines, on the lines of CG-SENSE, or
            on those of the network's mean.
        em: take the prior of the EM round.
    """

    masks: Literal["covering", "independent", "dense-late", "all"] = "covering"
    anchors: bool = False
    views: int = 4
    steps: int = 8
    noisiest: float = 5.0
    finest: float = 0.01
    grid: Literal["karras", "log-snr", "equal"] = "karras"
    eta: float = 0.85
    relaxation: float = 1.75
    finish: bool = True
    start: Literal["nothing", "zero-filled", "cg-sense", "mean"] = "nothing"
    em: bool = False

    def evaluations(self, network: ConsistentNetwork) -> int:
        """Passes through a backbone for one sample."""
        return self.steps * (1 if self.masks == "all" else self.views) * network.evaluations


DEFAULT = Variant("all", True, 1, 5, 0.5, 0.02, finish=False, start="zero-filled")
PUBLISHED = Variant()
MASKED: dict[str, Variant] = {
    "**masked views, the data by a step** (8 levels of 4 covering masks)": PUBLISHED,
    "independent masks": replace(PUBLISHED, masks="independent"),
    "denser masks (R = 2) below rho = 0.3": replace(PUBLISHED, masks="dense-late"),
    "data replaced (1.0) instead of relaxed (1.75)": replace(PUBLISHED, relaxation=1.0),
    "no proximal end": replace(PUBLISHED, finish=False),
    "warm start: CG-SENSE at rho = 0.5": replace(PUBLISHED, noisiest=0.5, start="cg-sense"),
    "equal steps of log-SNR": replace(PUBLISHED, grid="log-snr"),
    "16 levels": replace(PUBLISHED, steps=16),
    "acquired lines condition the network": replace(PUBLISHED, anchors=True, finish=False),
}
ANCHORED: dict[str, Variant] = {
    "**the default**: acquired lines condition, all lines at once, 5 levels from 0.5 to 0.02": DEFAULT,
    "after one EM round": replace(DEFAULT, em=True),
    "4 covering masks a level": replace(DEFAULT, masks="covering", views=4),
    "cold start: from noise of 5": replace(DEFAULT, noisiest=5.0, start="nothing"),
    "warm start: the network's mean at 0.5": replace(DEFAULT, start="mean"),
    "warm start: the network's mean at 0.15": replace(DEFAULT, start="mean", noisiest=0.15),
    "proximal end": replace(DEFAULT, finish=True),
    "no fresh noise (eta 0)": replace(DEFAULT, eta=0.0),
    "all noise fresh (eta 1)": replace(DEFAULT, eta=1.0),
    "equal steps of rho": replace(DEFAULT, grid="equal"),
    "equal steps of log-SNR": replace(DEFAULT, grid="log-snr"),
    "2 levels": replace(DEFAULT, steps=2),
    "20 levels": replace(DEFAULT, steps=20),
}


@dataclass(frozen=True)
class _EverythingSeen:
    """One view that holds every line."""

    width: int

    def __call__(self, draws: Streams) -> Tensor:
        return torch.ones(len(draws), 1, 1, 1, self.width)


@dataclass(frozen=True)
class _End:
    """A step on the data at the last level only, the proximal one; none before."""

    proximal: ProximalStep

    def __call__(self, estimate: Tensor, schedule: Schedule, t: Tensor, *, final: bool) -> Tensor:
        return self.proximal(estimate, schedule, t, final=True) if final else estimate


@torch.no_grad()
def draw(network: ConsistentNetwork, scan: PreparedScan, variant: Variant, seeds: list[int], samples: int) -> Tensor:
    """Posterior samples (S, samples, H, W) complex64 of every slice, `seeds` as of `slice_seeds`."""
    images = []
    for number in range(len(scan)):
        part = scan.select([number] * samples)
        images.append(_walk(network, part, variant, seeds[number * samples : (number + 1) * samples]))
    return torch.stack(images)


def _walk(network: ConsistentNetwork, scan: PreparedScan, variant: Variant, seeds: list[int]) -> Tensor:
    streams = Streams(seeds)
    operator, schedule = CoilFourier(scan.maps), EDM(variant.finest, variant.noisiest)
    rule = MeasurementScore(
        operator,
        _views(variant, scan.kspace.shape[-1]),
        DDNMMixing(variant.eta),
        _data_step(variant, scan),
        "full" if variant.anchors else "observed",
    )
    anchors = Anchors(scan.kspace, scan.mask, scan.noise) if variant.anchors else None
    denoiser = ConsistentDenoiser(network, schedule, scan.maps, anchors)
    state = _start(network, scan, variant, operator) + variant.noisiest * streams.normal_like(scan.kspace)
    grids: dict[str, Grid] = {
        "karras": Karras(variant.steps),
        "log-snr": LogSNR(variant.steps),
        "equal": Karras(variant.steps, 1.0),
    }
    for step in trajectory(denoiser, state, grids[variant.grid](schedule), rule, streams=streams):
        state = step.x
    return to_complex(operator.adjoint(state))


def _views(variant: Variant, width: int) -> _EverythingSeen | CoveringViews | IndependentViews | DensitySchedule:
    if variant.masks == "all":
        return _EverythingSeen(width)
    family = RandomColumns(width, RATE, CENTRE)
    if variant.masks == "independent":
        return IndependentViews(family, variant.views)
    covering = CoveringViews(family, variant.views)
    if variant.masks == "covering":
        return covering
    return DensitySchedule(covering, ((0.3, CoveringViews(RandomColumns(width, 2.0, CENTRE), variant.views)),))


def _data_step(variant: Variant, scan: PreparedScan) -> RelaxedStep | _End | None:
    proximal = ProximalStep(PixelMask(scan.mask), scan.kspace, scan.noise, prior_variance=PRIOR_VARIANCE)
    if variant.anchors:
        return _End(proximal) if variant.finish else None
    return RelaxedStep(proximal, variant.relaxation, variant.finish)


def _start(network: ConsistentNetwork, scan: PreparedScan, variant: Variant, operator: CoilFourier) -> Tensor:
    if variant.start == "nothing":
        return torch.zeros_like(scan.kspace)
    if variant.start == "zero-filled":
        return scan.kspace
    if variant.start == "mean":
        return operator.forward(to_real(conditional_mean(network, scan)))
    return operator.forward(to_real(TunedBaseline(CGSense.name)(scan)))
