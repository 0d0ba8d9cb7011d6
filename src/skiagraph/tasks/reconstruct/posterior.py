"""Posterior samples of prepared scans: the three samplers, batched over slices, samples and masks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from skiagraph.diffusion.grid import Grid, Karras, Levels
from skiagraph.diffusion.sampling import Rule, trajectory
from skiagraph.diffusion.schedule import EDM, Schedule, linear_table
from skiagraph.diffusion.streams import Streams
from skiagraph.errors import InputError
from skiagraph.inverse.consistent import Anchors, ConsistentDenoiser, ConsistentNetwork
from skiagraph.inverse.data_consistency import ProximalStep, RelaxedStep, ReleasedColumnStep
from skiagraph.inverse.measurement_score import MeasurementScore
from skiagraph.inverse.mixing import DDNMMixing
from skiagraph.inverse.reference import ReferenceMeasurementScore
from skiagraph.inverse.variation import mirror
from skiagraph.inverse.views import CoveringViews
from skiagraph.physics.coils import present_coils
from skiagraph.physics.fourier import CoilFourier, to_complex
from skiagraph.physics.masks import RandomColumns, ReferenceColumnSchedule
from skiagraph.physics.selection import PixelMask
from skiagraph.tasks.reconstruct.scan import PreparedScan

__all__ = ["SamplerSettings", "conditional_mean", "evaluations_per_slice", "posterior_samples", "slice_seeds"]

UNINFORMATIVE = 20.0
# Below this noise (normalised units) the few conjugate-gradient steps of the network no longer see the lines of a walk
# beside the acquired ones: all samples would be alike and their error bars zero. Chosen on training heads of noise 0;
# experiments/noise-and-masks has the coverage on another. The network's mean is given the true noise.
LEAST_WALK_NOISE = 0.008
PRIOR_VARIANCE = 0.25**2


@dataclass(frozen=True)
class SamplerSettings:
    """How posterior samples are drawn.

    Args:
        sampler: "anchored" (acquired lines condition the network, which sees all lines at once), "measurement-score"
            (covering masked views, over-relaxed data step: the method page's default) or "reference" (the released
            sampler: sequential views, 200 levels, reflection on the data).
        samples: posterior samples per slice.
        steps: levels of the grid; the reference always walks its 200.
        views: masked views per level of the measurement-score samplers.
        acceleration: acceleration of those views, that of the training masks.
        centre: calibration lines of those views.
        noise_range: largest and smallest noise level in normalised units; None for (0.5, 0.02) where acquired lines
            condition the network from the start, and (5, 0.01) where the prior stands alone.
        eta: share of fresh noise at each step.
        rows: largest number of images in one network call.
        shifts: shifts of the scan that the mean is averaged over (see `over_shifts`); samples are not.
        precision: "float32" or "bfloat16" (network under autocast).
    """

    sampler: Literal["anchored", "measurement-score", "reference"] = "anchored"
    samples: int = 4
    steps: int = 5
    views: int = 4
    acceleration: float = 4.0
    centre: int = 24
    noise_range: tuple[float, float] | None = None
    eta: float = 0.85
    rows: int = 16
    shifts: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"

    def evaluations(self) -> int:
        """Estimates by the network for one posterior sample."""
        per_step = 1 if self.sampler == "anchored" else self.views
        return per_step * (200 if self.sampler == "reference" else self.steps)


@dataclass(frozen=True)
class _EverythingSeen:
    """One view that holds every line."""

    width: int

    def __call__(self, draws: Streams) -> Tensor:
        return torch.ones(len(draws), 1, 1, 1, self.width)


def slice_seeds(seed: int, names: Sequence[str], samples: int) -> list[int]:
    """One seed for every slice and sample, a function of the run's seed and the slice's name only."""
    return [
        int.from_bytes(hashlib.sha256(f"{seed}/{name}/{sample}".encode()).digest()[:4], "big")
        for name in names
        for sample in range(samples)
    ]


@torch.no_grad()
def conditional_mean(network: ConsistentNetwork, scan: PreparedScan, rows: int = 16) -> Tensor:
    """Posterior mean E[x | y] of every slice as the network gives it directly, (S, H, W) complex64, normalised units.

    It is the estimate that every anchored trajectory starts from (the other lines at infinite noise), and what the mean
    of infinitely many samples estimates. Averaged over the four mirror images of the scan.
    """
    images = [_mirrored_mean(network, scan.select(slice(i, i + rows))) for i in range(0, len(scan), rows)]
    return torch.cat(images)


MIRRORED = 4


def evaluations_per_slice(network: ConsistentNetwork, settings: SamplerSettings, *, mean: bool = True) -> int:
    """Network evaluations of a slice: passes through a backbone for all its samples and, with `mean`, for the mean."""
    direct = MIRRORED * settings.shifts if mean and settings.sampler == "anchored" else 0
    estimates = settings.samples * settings.evaluations() + direct
    return estimates * network.evaluations


def _mirrored_mean(network: ConsistentNetwork, scan: PreparedScan) -> Tensor:
    total = torch.zeros_like(scan.kspace[:, 0])
    rho = torch.full((len(scan),), UNINFORMATIVE, device=scan.kspace.device)
    for axes in ((), (-1,), (-2,), (-2, -1)):
        kspace, mask, maps = scan.kspace, scan.mask, scan.maps
        for axis in axes:
            kspace, mask, maps = (mirror(value, axis) for value in (kspace, mask, maps))
        anchors = Anchors(kspace, mask, scan.noise)
        image = to_complex(network(torch.zeros_like(kspace), rho, torch.zeros_like(mask), maps, anchors).image)
        for axis in axes:
            image = mirror(image, axis)
        total = total + image / 4
    return total


@torch.no_grad()
def posterior_samples(
    network: ConsistentNetwork,
    scan: PreparedScan,
    settings: SamplerSettings,
    seeds: Sequence[int],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Draw posterior samples of every slice.

    Args:
        network: trained network in evaluation mode.
        scan: S slices.
        settings: sampler and its numbers.
        seeds: S * samples seeds, those of a slice side by side (see `slice_seeds`).
        on_progress: called with (images done, images in all).

    Returns:
        (S, samples, H, W) complex64, in normalised units.
    """
    total = len(scan) * settings.samples
    if len(seeds) != total:
        raise InputError(f"seeds: found {len(seeds)}, allowed exactly {total}: one for each slice and sample.")
    views = settings.views if settings.sampler == "measurement-score" else 1
    size = max(1, settings.rows // views)
    images: list[Tensor] = []
    for first in range(0, total, size):
        rows = range(first, min(first + size, total))
        part = scan.select([row // settings.samples for row in rows])
        images.append(_sample(network, part, settings, [seeds[row] for row in rows]))
        if on_progress is not None:
            on_progress(rows.stop, total)
    joined = torch.cat(images)
    return joined.reshape(len(scan), settings.samples, *joined.shape[1:])


def _sample(network: ConsistentNetwork, scan: PreparedScan, settings: SamplerSettings, seeds: list[int]) -> Tensor:
    streams = Streams(seeds, device=str(scan.kspace.device)).padded(present_coils(scan.maps), scan.kspace.shape[1])
    schedule, grid, rule, anchors = _plan(scan, settings)
    denoiser = ConsistentDenoiser(network, schedule, scan.maps, anchors)
    times = grid(schedule)
    start = streams.normal_like(scan.kspace) * float(schedule(times[0])[1])
    if anchors is not None:
        start = start + scan.kspace
    state = start
    device = scan.kspace.device.type
    with torch.autocast(device, torch.bfloat16, enabled=settings.precision == "bfloat16"):
        for step in trajectory(denoiser, start, times, rule, streams=streams):
            state = step.x
    return to_complex(CoilFourier(scan.maps).adjoint(state))


def _plan(scan: PreparedScan, settings: SamplerSettings) -> tuple[Schedule, Grid, Rule, Anchors | None]:
    """Schedule, grid, rule and anchors of a sampler."""
    width = scan.kspace.shape[-1]
    operator = CoilFourier(scan.maps)
    if settings.sampler != "anchored" and settings.centre >= width:
        raise InputError(
            f"sampler: {settings.sampler!r} needs views of {settings.centre} calibration lines and more, but the scan "
            f"has {width} columns; take the sampler 'anchored', or a prior made for such scans."
        )
    if settings.sampler == "reference":
        return linear_table().respaced("ddim200"), Levels(), _reference_rule(scan, settings), None
    high, low = settings.noise_range or ((0.5, 0.02) if settings.sampler == "anchored" else (5.0, 0.01))
    schedule, grid = EDM(low, high), Karras(settings.steps)
    if settings.sampler == "anchored":
        rule = MeasurementScore(operator, _EverythingSeen(width), DDNMMixing(settings.eta), None, "full")
        return schedule, grid, rule, Anchors(scan.kspace, scan.mask, scan.noise.clamp(min=LEAST_WALK_NOISE))
    views = CoveringViews(RandomColumns(width, settings.acceleration, settings.centre), settings.views)
    proximal = ProximalStep(PixelMask(scan.mask), scan.kspace, scan.noise, prior_variance=PRIOR_VARIANCE)
    return schedule, grid, MeasurementScore(operator, views, DDNMMixing(settings.eta), RelaxedStep(proximal)), None


def _reference_rule(scan: PreparedScan, settings: SamplerSettings) -> ReferenceMeasurementScore:
    """The released MRI sampler: data consistency inside the mask loop, a reflection on the measured columns."""
    reflect = ReleasedColumnStep(scan.mask, scan.kspace)
    masks = ReferenceColumnSchedule(scan.kspace.shape[-1], settings.acceleration, settings.centre)
    return ReferenceMeasurementScore(CoilFourier(scan.maps), masks, settings.views, settings.eta, "mri", reflect)
