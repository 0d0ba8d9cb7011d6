"""Inverse problems: what was measured of each image, by which operator, with what noise; measured or simulated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skiagraph.data.kspace import read_kspace
from skiagraph.data.pictures import Pictures, open_pictures
from skiagraph.diffusion.streams import Streams
from skiagraph.errors import DataError, InputError
from skiagraph.physics.blur import Blur, gaussian_kernel, motion_kernel
from skiagraph.physics.fourier import CoilFourier, MaskedCoilFourier
from skiagraph.physics.masks import Pixels, RandomColumns, hole_mask
from skiagraph.physics.operator import LinearOperator
from skiagraph.physics.resample import CubicDownsample, nearest_upsample
from skiagraph.physics.selection import PixelMask
from skiagraph.tasks.measurement.coils import CoilSlices, read_coil_slices
from skiagraph.tasks.measurement.masks import centre_lines
from skiagraph.tasks.measurement.priors import ImagePrior
from skiagraph.tasks.measurement.sampling_settings import DegradationSettings, RestoreSettings
from skiagraph.tasks.measurement.settings import MaskSettings
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.slices import chosen_slices
from skiagraph.training.order import derive_seed

__all__ = ["Measured", "measure"]

RELEASED_NOISE = 0.01


@dataclass(frozen=True, eq=False)
class Measured:
    """Degraded images or k-space of N items, in normalised intensity.

    Args:
        operator: H, from the full measurement to the data: of images H itself, of k-space the mask of its lines.
        measurement: y, (N, ...).
        noise: (N,) standard deviation of y's noise (k-space: per part).
        names: one an item.
        limits: (low, high) of each item: intensities at -1 and 1, or 0 and the unit of k-space images.
        maps: (N, coils, H, W) complex, for k-space.
        truth: (N, C, H, W) where it is known.
        transpose: what the released code takes for the transpose of H; None for the pseudo-inverse.
        smooth: whether H damps what it measures, so that its pseudo-inverse must not be applied to noise.
        affine: (4, 4) to world mm, where the input has one and all of it is restored.
        spacing: (row, column) of a pixel.
        provenance: tag for captions.
    """

    operator: LinearOperator
    measurement: Tensor
    noise: Tensor
    names: tuple[str, ...]
    limits: tuple[tuple[float, float], ...]
    maps: Tensor | None = None
    truth: Tensor | None = None
    transpose: Callable[[Tensor], Tensor] | None = None
    smooth: bool = False
    affine: Any = None
    spacing: tuple[float, float] = (1.0, 1.0)
    provenance: str = "measured"

    def __len__(self) -> int:
        return self.measurement.shape[0]

    @property
    def image_operator(self) -> LinearOperator:
        """From the image to the data."""
        if self.maps is None or not isinstance(self.operator, PixelMask):
            return self.operator
        return MaskedCoilFourier(self.maps, self.operator.mask)

    def degraded(self) -> Tensor:
        """(N, C, H, W) the data as images: masked, blurred, enlarged, or zero-filled."""
        if isinstance(self.operator, CubicDownsample):
            return nearest_upsample(self.measurement, self.operator.factor)
        return self.measurement if self.maps is None else CoilFourier(self.maps).adjoint(self.measurement)

    def rows(self, index: Sequence[int], device: torch.device) -> Measured:
        """Some of the items (an item may come several times), on a device."""
        chosen = list(index)
        operator = self.operator.select(chosen).to(device)
        return Measured(
            operator,
            self.measurement[chosen].to(device),
            self.noise[chosen].to(device),
            tuple(self.names[i] for i in chosen),
            tuple(self.limits[i] for i in chosen),
            None if self.maps is None else self.maps[chosen].to(device),
            None,
            self.transpose,
            self.smooth,
        )


def measure(settings: RestoreSettings, prior: ImagePrior, on_progress: OnProgress = silent) -> Measured:
    """Read what was measured, or degrade clean images as the settings say."""
    if (settings.problem == "k-space") != prior.complex_images:
        need = "k-space" if prior.complex_images else "one of the image problems"
        raise InputError(
            f"problem: found {settings.problem!r}, but the prior {prior.record.name!r} has the channels "
            f"{[channel.name for channel in prior.record.channels]}; allowed: {need}"
        )
    if settings.problem == "k-space":
        return _kspace(settings, prior, on_progress)
    return _pictures(settings, prior)


def _pictures(settings: RestoreSettings, prior: ImagePrior) -> Measured:
    found, whole = _open(settings, prior)
    images = torch.from_numpy(np.stack([found.image(index) for index in range(len(found))]))
    operator = _operator(settings, prior.size, found)
    noise = RELEASED_NOISE if settings.noise_std is None else settings.noise_std
    y = operator.forward(images) if settings.simulate or isinstance(operator, PixelMask) else images
    if settings.simulate and noise > 0:
        added = noise * _noise(settings.seed, found.names, y)
        y = y + (operator.forward(added) if isinstance(operator, PixelMask) else added)
    stack = found.stacks.get(found.entries[0][0]) if whole else None
    return Measured(
        operator,
        y,
        torch.full((len(found),), noise),
        tuple(found.names),
        tuple(found.limits(index) for index in range(len(found))),
        truth=images if settings.simulate else None,
        transpose=_transpose(settings),
        smooth=isinstance(operator, Blur),
        affine=None if stack is None else stack.affine,
        spacing=(prior.record.spacing_mm[0], prior.record.spacing_mm[-1]),
        provenance="simulated degradation" if settings.simulate else "measured",
    )


def _open(settings: RestoreSettings, prior: ImagePrior) -> tuple[Pictures, bool]:
    """The chosen pictures, and whether they are all slices of one volume, in order."""
    factor, size = settings.degradation.factor or 4, prior.size
    resolved = settings.problem == "super-resolution"
    if resolved and any(side % factor for side in size):
        raise InputError(f"degradation.factor: found {factor}, allowed: divisors of the prior's image size {size}")
    shape = (size[0] // factor, size[1] // factor) if resolved and not settings.simulate else size
    found = open_pictures(
        [settings.input],
        channels=prior.channels if prior.channels in (1, 3) else None,
        size=shape if settings.simulate else None,
        intensity=settings.intensity,
    )
    if found.size != shape or found.channels != prior.channels:
        raise InputError(
            f"input: {settings.input} has images of {(found.channels, *found.size)} (channels, rows, columns), but "
            f"the prior {prior.record.name!r} needs {(prior.channels, *shape)} here; resample them first"
        )
    chosen = chosen_slices(settings.items, len(found))
    stack = found.stacks.get(found.entries[0][0])
    whole = stack is not None and chosen == list(range(len(found))) and len(stack.array) == len(found)
    return found.select(chosen), whole


def _noise(seed: int, names: Sequence[str], like: Tensor) -> Tensor:
    streams = Streams([derive_seed("restore-noise", seed, name) for name in names])
    return streams.normal_like(like)


def _operator(settings: RestoreSettings, size: tuple[int, int], found: Pictures) -> LinearOperator:
    """H of an image problem."""
    numbers: DegradationSettings = settings.degradation
    try:
        if settings.problem == "super-resolution":
            return CubicDownsample(size[0], size[1], numbers.factor or 4)
        if settings.problem == "gaussian-blur":
            return Blur(gaussian_kernel(numbers.blur_std or 2.0), numbers.border or "symmetric")
        if settings.problem == "motion-blur":
            kernel = motion_kernel(numbers.blur_length or 9.0, numbers.blur_angle or 0.0)
            return Blur(kernel, numbers.border or "symmetric")
        if not settings.simulate:
            return PixelMask(_known(settings, size, found))
        if settings.problem == "random":
            streams = Streams([derive_seed("restore-mask", settings.seed, name) for name in found.names])
            return PixelMask(Pixels(size, numbers.keep or 0.3, "exact").draw(streams))
        hole = tuple(numbers.hole or [side // 2 for side in size])
        corner = tuple(numbers.corner or [round(35 * side / 128) for side in size])
        return PixelMask(hole_mask(size, (hole[0], hole[-1]), (corner[0], corner[-1])))
    except ValueError as error:
        raise InputError(f"degradation: {error}") from None


def _known(settings: RestoreSettings, size: tuple[int, int], found: Pictures) -> Tensor:
    """Mask (1 or N, 1, H, W): from the image(s) that are 0 where pixels are missing, else the input's own."""
    if settings.measured is None:
        own = [known for index in range(len(found)) if (known := found.mask(index)) is not None]
        if not found.masked:
            raise InputError("measured is missing: give the image that is 0 where pixels are missing")
        return torch.from_numpy(np.stack(own))
    given = open_pictures([settings.measured], channels=None, intensity=(0.0, 1.0))
    if given.size != size or len(given) not in (1, len(found)):
        raise InputError(
            f"measured: {settings.measured} has {len(given)} images of {given.size}; 1 or {len(found)} of {size} needed"
        )
    masks = np.stack([given.image(index) for index in range(len(given))])
    mask = torch.from_numpy((masks.max(1, keepdims=True) > -1).astype(np.float32))
    if bool((mask.flatten(1).sum(1) == 0).any()):
        raise DataError(f"measured: {settings.measured} is 0 everywhere; nothing would be known of the image")
    return mask


def _transpose(settings: RestoreSettings) -> Callable[[Tensor], Tensor] | None:
    """What the released code takes for H^T."""
    if settings.problem == "super-resolution":
        factor = settings.degradation.factor or 4
        return lambda residual: nearest_upsample(residual, factor)
    return lambda residual: residual


def _kspace(settings: RestoreSettings, prior: ImagePrior, on_progress: OnProgress) -> Measured:
    simulated = settings.simulate and not prior.record.normalisation.method.startswith("divide")
    count = len(read_kspace(settings.input))
    chosen = chosen_slices(settings.items, count)
    data = read_coil_slices(
        settings.input,
        combined=simulated,
        size=prior.size if simulated else None,
        choose=lambda n: chosen,
        on_progress=on_progress,
    )
    truth = CoilFourier(data.maps).adjoint(data.kspace) if settings.simulate else None
    mask, kspace, noise = data.mask, data.kspace, data.noise
    if settings.simulate:
        if not data.complete:
            raise InputError(
                f"simulate: {settings.input} misses lines already; give complete k-space, or restore it as is"
            )
        mask, kspace, noise = _undersampled(settings, data)
    elif settings.noise_std is not None:
        noise = torch.full((len(data),), settings.noise_std)
    return Measured(
        PixelMask(mask),
        mask * kspace,
        noise,
        data.names,
        tuple((0.0, float(scale)) for scale in data.scale),
        maps=data.maps,
        truth=truth,
        spacing=data.spacing_mm,
        provenance="simulated k-space" if settings.simulate else "measured",
    )


def _undersampled(settings: RestoreSettings, data: CoilSlices) -> tuple[Tensor, Tensor, Tensor]:
    """One fixed mask and noise draw for every slice: masks, noisy k-space, noise levels."""
    added = RELEASED_NOISE if settings.noise_std is None else settings.noise_std
    numbers = settings.degradation
    width = data.kspace.shape[-1]
    centre = centre_lines(MaskSettings(family="random", centre=numbers.centre), width)
    streams = Streams([derive_seed("restore-mask", settings.seed, name) for name in data.names])
    try:
        mask = RandomColumns(width, numbers.acceleration or 4.0, centre).draw(streams)
    except ValueError as error:
        raise InputError(f"degradation: {error}") from None
    kspace = data.kspace + added * _noise(settings.seed, data.names, data.kspace) if added > 0 else data.kspace
    return mask, kspace, (data.noise.square() + added**2).sqrt()
