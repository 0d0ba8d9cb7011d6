"""Which walk a prior, a sampler and a problem make: unconditional, or through the data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import Denoiser
from skiagraph.diffusion.grid import Levels
from skiagraph.diffusion.guidance.clip import Clip
from skiagraph.diffusion.rules import DDIM
from skiagraph.diffusion.sampling import Rule
from skiagraph.diffusion.schedule import Schedule
from skiagraph.errors import InputError
from skiagraph.inverse.data_consistency import (
    DataStep,
    ProximalStep,
    RelaxedStep,
    ReleasedColumnStep,
    ReleasedImageStep,
)
from skiagraph.inverse.ddnm import DDNM
from skiagraph.inverse.diffpir import DiffPIR
from skiagraph.inverse.dps import DPS
from skiagraph.inverse.measurement_score import MeasurementScore
from skiagraph.inverse.mixing import DDNMMixing
from skiagraph.inverse.pigdm import PiGDM
from skiagraph.inverse.reference import ReferenceMeasurementScore
from skiagraph.inverse.sequential import SequentialMeasurementScore
from skiagraph.physics.fourier import CoilFourier
from skiagraph.physics.operator import LinearOperator
from skiagraph.physics.selection import Identity, PixelMask
from skiagraph.tasks.measurement.masks import mask_family, mask_schedule, view_source
from skiagraph.tasks.measurement.priors import ImagePrior
from skiagraph.tasks.measurement.problems import Measured
from skiagraph.tasks.measurement.sampling_settings import GenerateSettings, RestoreSettings
from skiagraph.tasks.measurement.walks import Clipped, Walk, solver_grid, solver_rule, unchanged

__all__ = ["OverRelaxedProximal", "evaluations", "generation", "levels_of", "restoration", "restoration_method"]

ETA = 0.85
RELAXATION = 1.75
REFERENCE_VIEWS = {"generate": 3, "image": 2, "mri": 3}
KSPACE_VARIANCE = 0.25**2


@dataclass(frozen=True)
class OverRelaxedProximal:
    """z + lam (prox(z) - z), and prox(z) at the end: for operators whose pseudo-inverse would blow up noise.

    Args:
        proximal: the proximal step.
        relaxation: lam in [0, 2].
    """

    proximal: ProximalStep
    relaxation: float = RELAXATION

    def __call__(self, estimate: Tensor, schedule: Schedule, t: Tensor, *, final: bool) -> Tensor:
        """The corrected estimate."""
        moved = self.proximal(estimate, schedule, t, final=final)
        return moved if final else estimate + self.relaxation * (moved - estimate)


def _clips(prior: ImagePrior, settings: GenerateSettings | RestoreSettings) -> bool:
    """Whether estimates are kept in [-1, 1]; those of k-space never are."""
    if prior.complex_images:
        if settings.clip is not None:
            raise InputError(f"clip has no effect on the complex images of {prior.record.name!r}; leave it out")
        return False
    return settings.sampler != "reference" if settings.clip is None else settings.clip


def generation(prior: ImagePrior, settings: GenerateSettings, maps: Tensor | None) -> Walk:
    """The unconditional walk of a batch.

    Args:
        prior: the prior.
        settings: sampler and its numbers.
        maps: (B, coils, H, W) complex, for priors of masked k-space.
    """
    table, solver = prior.table(settings.steps), settings.solver or "ddim"
    eta = 1.0 if settings.eta is None else settings.eta
    rule = solver_rule(solver, eta)
    if prior.mask is None:
        denoiser: Denoiser = prior.denoiser(table)
        denoiser = Clip(denoiser) if _clips(prior, settings) else denoiser
        return Walk(denoiser, solver_grid(rule, solver, table), rule, (prior.channels, *prior.size))
    operator, shape, dtype, size = _space(prior, maps)
    denoiser_of_views = prior.partial(table, operator)
    clamp = not prior.complex_images
    if settings.sampler == "reference":
        kind = "generate"
        masks = mask_schedule(prior.mask, size)
        walk = ReferenceMeasurementScore(
            operator, masks, settings.views or REFERENCE_VIEWS[kind], eta, clip=_clips(prior, settings)
        )
        finish = _clamped if clamp else operator.adjoint
        return Walk(denoiser_of_views, Levels(), walk, shape, dtype, finish)
    views, _ = view_source(mask_family(prior.mask, size, prior.bank), settings.views)
    step: DataStep | None = Clipped() if _clips(prior, settings) else None
    grid, finish = solver_grid(rule, solver, table), unchanged if clamp else operator.adjoint
    if settings.sampler == "sequential":
        sequential = SequentialMeasurementScore(operator, views, rule, step, eta=eta)
        return Walk(denoiser_of_views, grid, sequential, shape, dtype, finish)
    return Walk(denoiser_of_views, grid, MeasurementScore(operator, views, rule, step), shape, dtype, finish)


def _clamped(state: Tensor) -> Tensor:
    return state.clamp(-1, 1)


def _space(
    prior: ImagePrior, maps: Tensor | None
) -> tuple[LinearOperator, tuple[int, ...], torch.dtype, tuple[int, int]]:
    """T, and shape and number type of the full measurement, and the rows and columns of its masks."""
    if not prior.complex_images:
        return Identity(), (prior.channels, *prior.size), torch.float32, prior.size
    if maps is None:
        raise InputError(
            f"maps: the prior {prior.record.name!r} learned from masked k-space, so its images pass through coils; "
            "give a file of `skiagraph maps`, or a scan to estimate them from"
        )
    return CoilFourier(maps), tuple(maps.shape[1:]), torch.complex64, (int(maps.shape[-2]), int(maps.shape[-1]))


def restoration_method(prior: ImagePrior, settings: RestoreSettings) -> str:
    """The method of a run; refuses what the prior cannot do."""
    masked = prior.mask is not None
    method = settings.method or ("measurement-score" if masked else "ddnm")
    if masked and method != "measurement-score":
        raise InputError(
            f"method: found {method!r}, which needs a prior of whole images, but {prior.record.name!r} learned from "
            "masked measurements; allowed: measurement-score"
        )
    if not masked and method == "measurement-score":
        raise InputError(
            f"method: found 'measurement-score', but {prior.record.name!r} saw whole images and has no masks; allowed: "
            "ddnm, dps, diffpir, pigdm. For imported measurement-score weights state `mask`"
        )
    if not masked:
        wrong = [name for name in ("views", "lam") if getattr(settings, name) is not None]
        wrong += ["sampler"] if settings.sampler != "default" else []
        if wrong:
            raise InputError(f"{wrong[0]} has no effect on a prior of whole images ({method}); leave it out")
    return method


def restoration(prior: ImagePrior, settings: RestoreSettings, data: Measured) -> Walk:
    """The walk of a batch through its data (those of `Measured.rows`)."""
    method = restoration_method(prior, settings)
    table = prior.table(settings.steps)
    if method != "measurement-score":
        denoiser, rule = _whole_image(prior, settings, data, method, table)
        shape = (prior.channels, *data.maps.shape[-2:]) if data.maps is not None else (prior.channels, *prior.size)
        return Walk(denoiser, Levels(), rule, shape)
    operator, shape, dtype, size = _space(prior, data.maps)
    if prior.mask is None:
        raise InputError(f"prior: {prior.record.name!r} has no masks")
    partial = prior.partial(table, operator)
    finish = operator.adjoint if prior.complex_images else unchanged
    eta = ETA if settings.eta is None else settings.eta
    if settings.sampler == "reference":
        masks = mask_schedule(prior.mask, size)
        return Walk(partial, Levels(), _released(prior, settings, data, operator, masks, eta), shape, dtype, finish)
    views, _ = view_source(mask_family(prior.mask, size, prior.bank), settings.views)
    step = _data_step(settings, data)
    step = Clipped(step) if _clips(prior, settings) else step
    if settings.sampler == "sequential":
        sequential = SequentialMeasurementScore(operator, views, DDNMMixing(eta), step, eta=eta)
        return Walk(partial, Levels(), sequential, shape, dtype, finish)
    return Walk(partial, Levels(), MeasurementScore(operator, views, DDNMMixing(eta), step), shape, dtype, finish)


def _data_step(settings: RestoreSettings, data: Measured) -> DataStep:
    variance = 0.25 if data.maps is None else KSPACE_VARIANCE
    proximal = ProximalStep(data.operator, data.measurement, data.noise, variance)
    lam = RELAXATION if settings.lam is None else settings.lam
    return OverRelaxedProximal(proximal, lam) if data.smooth else RelaxedStep(proximal, lam)


def _released(
    prior: ImagePrior, settings: RestoreSettings, data: Measured, operator: LinearOperator, masks: object, eta: float
) -> ReferenceMeasurementScore:
    """The released rule: images after aggregation, k-space inside the loop over masks."""
    if data.maps is not None and isinstance(data.operator, PixelMask):
        lam = 2.0 if settings.lam is None else settings.lam
        columns = ReleasedColumnStep(data.operator.mask, data.measurement, lam)
        views = settings.views or REFERENCE_VIEWS["mri"]
        return ReferenceMeasurementScore(operator, masks, views, eta, "mri", columns)  # type: ignore[arg-type]
    lam = RELAXATION if settings.lam is None else settings.lam
    image = ReleasedImageStep(data.operator, data.measurement, data.transpose, lam)
    views = settings.views or REFERENCE_VIEWS["image"]
    return ReferenceMeasurementScore(operator, masks, views, eta, "image", image, _clips(prior, settings))  # type: ignore[arg-type]


def _whole_image(
    prior: ImagePrior, settings: RestoreSettings, data: Measured, method: str, table: Schedule
) -> tuple[Denoiser, Rule]:
    """Denoiser and rule of the methods for priors that saw whole images."""
    plain: Denoiser = prior.denoiser(table)
    base = Clip(plain) if _clips(prior, settings) else plain
    operator, y, noise = data.image_operator, data.measurement, data.noise
    try:
        if method == "dps":
            return base, DPS(DDIM(1.0), operator, y, settings.strength or 1.0)
        if method == "diffpir":
            return base, DiffPIR(operator, y, noise, settings.strength or 8.0)
        if method == "pigdm":
            return PiGDM(base, operator, y, noise), DDIM(1.0)
        guided = DDNM(base, operator, y, noise if bool((noise > 0).all()) else 0.0)
    except ValueError as error:
        raise InputError(f"method {method!r}: {error}") from None
    return guided, DDNMMixing(ETA if settings.eta is None else settings.eta)


def levels_of(prior: ImagePrior, steps: str) -> int:
    """Noise levels of a walk."""
    return len(prior.table(steps))


def evaluations(
    prior: ImagePrior, settings: GenerateSettings | RestoreSettings, size: tuple[int, int] | None = None
) -> int:
    """Images through the network for one image drawn."""
    levels = levels_of(prior, settings.steps)
    twice = isinstance(settings, GenerateSettings) and settings.solver == "heun"
    levels = 2 * levels - 1 if twice else levels
    if prior.mask is None:
        return levels
    if settings.sampler == "reference":
        kind = "generate" if isinstance(settings, GenerateSettings) else "mri" if prior.complex_images else "image"
        return levels * (settings.views or REFERENCE_VIEWS[kind])
    _, views = view_source(mask_family(prior.mask, size or prior.size, prior.bank), settings.views)
    return levels * views
