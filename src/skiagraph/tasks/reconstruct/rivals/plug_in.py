"""Posterior samplers around a prior that was not made for the scan: DDNM, DPS, DiffPIR, PiGDM, and A-DPS of Ambient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser, Prediction
from skiagraph.diffusion.grid import Karras
from skiagraph.diffusion.rules import DDIM
from skiagraph.diffusion.sampling import Rule, trajectory
from skiagraph.diffusion.schedule import EDM, Schedule, expand_like
from skiagraph.diffusion.streams import Streams
from skiagraph.errors import InputError
from skiagraph.inverse.ambient import AmbientDenoiser, AmbientNetwork
from skiagraph.inverse.ddnm import DDNM
from skiagraph.inverse.diffpir import DiffPIR
from skiagraph.inverse.dps import DPS
from skiagraph.inverse.mixing import DDNMMixing
from skiagraph.inverse.pigdm import PiGDM
from skiagraph.inverse.variation import mirror
from skiagraph.physics.fourier import MaskedCoilFourier, to_complex, to_real
from skiagraph.physics.masks import RandomColumns
from skiagraph.tasks.reconstruct.baselines import CGSense, TunedBaseline
from skiagraph.tasks.reconstruct.posterior import slice_seeds
from skiagraph.tasks.reconstruct.rivals.interface import Estimates, TrainedOn
from skiagraph.tasks.reconstruct.rivals.settings import PlugInSettings
from skiagraph.tasks.reconstruct.scan import PreparedScan

__all__ = [
    "Method",
    "MirroredDenoiser",
    "NoiselessDenoiser",
    "PlugIn",
    "PriorMaker",
    "ambient_prior",
    "mirrored_prior",
    "noiseless_prior",
]

Method = Literal["ddnm", "dps", "diffpir", "pigdm"]
PriorMaker = Callable[[EDM, PreparedScan, Streams], Denoiser]
"""Makes the denoiser of a batch: (schedule, one slice a row, one stream a row) -> E[x_0 | x_t] on (B, 2, H, W)."""

LEAST_NOISE = 1e-4
ITERATIONS, TOLERANCE = 20, 1e-3


@dataclass(frozen=True, eq=False)
class PlugIn:
    """A sampler with its numbers; what is judged is the mean of its samples.

    The walk starts from the CG-SENSE image plus noise of the noisiest level (the published one starts from noise alone,
    which is the same where that level is far above the image), and respects each slice's own noise level, but for DPS,
    whose published form knows none.

    Args:
        name: its name in the table.
        method: which sampler.
        prior: makes the denoiser.
        settings: its numbers.
        trained_on: what the prior learned from.
        sigma_data: standard deviation of a real part of the images.
        samples: posterior samples per slice.
        seed: every slice and sample has its own stream derived from it.
        rows: images in one network call.
    """

    name: str
    method: Method
    prior: PriorMaker
    settings: PlugInSettings
    trained_on: TrainedOn = "fully sampled scans"
    sigma_data: float = 0.25
    samples: int = 4
    seed: int = 0
    rows: int = 8

    @property
    def evaluations(self) -> int:
        """One network call a step and sample (for DPS and PiGDM with its gradient)."""
        return self.settings.steps * self.samples

    @torch.no_grad()
    def __call__(self, scan: PreparedScan, names: Sequence[str]) -> Estimates:
        """See `Rival`."""
        seeds = slice_seeds(self.seed, names, self.samples)
        start = TunedBaseline(CGSense.name)(scan)
        total, images = len(scan) * self.samples, []
        for first in range(0, total, self.rows):
            rows = range(first, min(first + self.rows, total))
            items = [row // self.samples for row in rows]
            streams = Streams([seeds[row] for row in rows], device=scan.kspace.device)
            images.append(self._walk(scan.select(items), start[items], streams))
        joined = torch.cat(images)
        samples = joined.reshape(len(scan), self.samples, *joined.shape[1:])
        return Estimates(samples.mean(1), samples if self.samples > 1 else None)

    def _walk(self, scan: PreparedScan, start: Tensor, streams: Streams) -> Tensor:
        schedule = EDM(self.settings.finest, self.settings.noisiest)
        denoiser, rule = self._parts(self.prior(schedule, scan, streams.fork("prior")), scan)
        state = to_real(start)
        state = state + self.settings.noisiest * streams.normal_like(state)
        for step in trajectory(denoiser, state, Karras(self.settings.steps), rule, streams=streams):
            state = step.x
        return to_complex(state)

    def _parts(self, prior: Denoiser, scan: PreparedScan) -> tuple[Denoiser, Rule]:
        """The denoiser and the rule that make up the method."""
        operator, chosen = MaskedCoilFourier(scan.maps, scan.mask), self.settings
        y, noise = scan.kspace, scan.noise.clamp(min=LEAST_NOISE)
        if self.method == "ddnm":
            guided = DDNM(prior, operator, y, noise, self.sigma_data, ITERATIONS, TOLERANCE)
            return guided, DDNMMixing(chosen.eta)
        if self.method == "dps":
            return prior, DPS(DDIM(chosen.eta), operator, y, chosen.strength)
        if self.method == "diffpir":
            return prior, DiffPIR(operator, y, noise, chosen.strength, chosen.eta**2, ITERATIONS, TOLERANCE)
        pull = PiGDM(prior, operator, y, noise, self.sigma_data, self._spread, ITERATIONS)
        return pull, DDIM(chosen.eta)

    def _spread(self, t: Tensor) -> Tensor:
        """r_t^2 of PiGDM times its strength; the schedule's time is rho."""
        return self.settings.strength / (1 / t**2 + 1 / self.sigma_data**2)


@dataclass(frozen=True, eq=False)
class MirroredDenoiser:
    """A denoiser of images that are as likely as their mirror images: mirrors what it is given at random, and back.

    What the network favours on one side averages out over the levels of a walk, at no cost.

    Args:
        denoiser: the denoiser.
        streams: two coins a sample and call.
    """

    denoiser: Denoiser
    streams: Streams

    @property
    def schedule(self) -> Schedule:
        """Schedule of the prior."""
        return self.denoiser.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """Estimate of x_0, differentiable in x."""
        coins = self.streams.uniform(2).to(x.device) < 0.5
        found = self.denoiser(self._turned(x, coins), t, cond).x0
        return Prediction(self._turned(found, coins))

    def _turned(self, x: Tensor, coins: Tensor) -> Tensor:
        for axis in (0, 1):
            x = torch.where(coins[:, axis, None, None, None], mirror(x, axis - 2), x)
        return x


def mirrored_prior(maker: PriorMaker) -> PriorMaker:
    """The denoisers of a maker, mirrored at random (see `MirroredDenoiser`)."""
    return lambda schedule, scan, streams: MirroredDenoiser(maker(schedule, scan, streams), streams)


@dataclass(frozen=True, eq=False)
class NoiselessDenoiser:
    """The prior of noise-free images, from a denoiser of images that hold white noise nu themselves.

        E[x | x_t] = x_t + t^2 / u^2 (D(x_t, u) - x_t),   u^2 = t^2 - nu^2,   x_t = x + t n

    Exact (Tweedie): the noise of the images and that of the diffusion are one noise, and both sides have one score.

    Args:
        denoiser: denoiser on a schedule whose time is the noise-to-signal ratio.
        noise: nu > 0 per real and imaginary part; times must be at least sqrt(2) nu, below which errors are amplified.
    """

    denoiser: Denoiser
    noise: float

    @property
    def schedule(self) -> Schedule:
        """Schedule of the prior."""
        return self.denoiser.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """Estimate of the noise-free x, differentiable in x."""
        squared = t.double() ** 2 - self.noise**2
        if float(squared.min()) < 0.99 * self.noise**2:
            raise InputError(
                f"finest: the walk goes down to {float(t.min()):.4g}, allowed is at least sqrt(2) times the noise "
                f"{self.noise:g} of the images that the prior learned from, {2**0.5 * self.noise:.4g}; raise `finest`."
            )
        found = self.denoiser(x, squared.sqrt(), cond).x0
        return Prediction(x + expand_like(t.double() ** 2 / squared, x) * (found - x))


def noiseless_prior(maker: PriorMaker, noise: float) -> PriorMaker:
    """The denoisers of a maker, without the noise of the images that they learned from."""
    return lambda schedule, scan, streams: NoiselessDenoiser(maker(schedule, scan, streams), noise)


def ambient_prior(network: AmbientNetwork, acceleration: float, centre: int) -> PriorMaker:
    """Ambient's denoiser under one mask per sample, drawn as those it was trained on (R + 1) and kept for the walk."""

    def make(schedule: EDM, scan: PreparedScan, streams: Streams) -> Denoiser:
        width = scan.kspace.shape[-1]
        family = RandomColumns(width, acceleration + 1, min(centre, width))
        mask = family.draw(streams).to(scan.mask)
        return AmbientDenoiser(network, schedule, MaskedCoilFourier(scan.maps, mask))

    return make
