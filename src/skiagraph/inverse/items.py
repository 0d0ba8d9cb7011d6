"""A batch of measurements as the objectives read it: what was observed, where, through which coils, with what noise.

    batch: mapping with "measurement" (B, C, ...) real or (B, coils, H, W) complex, "mask" (B or 1, 1, ...) of 0 and 1,
        for k-space "maps" (B or 1, coils, H, W), and where it is known "noise" (see `noise_model`) or
        "noise_covariance" (B or 1, coils, coils)
    measured_items(batch, noise_std=None) -> MeasuredItems(measurement, mask, operator, noise)

The clean image is no part of it, and values off the mask are read nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.noise_model import CoilNoise, EntryNoise, noise_model
from skiagraph.physics.coils import check_normalised, present_coils
from skiagraph.physics.fourier import CoilFourier
from skiagraph.physics.operator import LinearOperator
from skiagraph.physics.selection import Identity

__all__ = ["MeasuredItems", "coil_draws", "measured_items", "squared_norm"]

KNOWN = {"measurement", "mask", "maps", "noise", "noise_covariance"}


@dataclass(frozen=True, eq=False)
class MeasuredItems:
    """Checked measurements of B items.

    Args:
        measurement: s, (B, ...) real or complex, 0 off the mask.
        mask: M, real 0/1, of the measurement's number of axes and broadcastable to it.
        operator: T, image -> full measurement: the identity, or the Fourier transform of every coil.
        noise: what is known of the noise in s.
        coils: (B,) coils of each item of k-space; the others are padding, zero in s and in T. None for images.
    """

    measurement: Tensor
    mask: Tensor
    operator: LinearOperator
    noise: EntryNoise | CoilNoise
    coils: Tensor | None = None

    @property
    def _channels(self) -> Tensor:
        """(B,) real numbers at an entry of one channel: a complex one counts twice, coils of padding don't count."""
        parts = 2 if self.measurement.is_complex() else 1
        if self.coils is None:
            return self.mask.new_full((1,), parts * self.measurement.shape[1])
        return parts * self.coils.to(self.mask)

    @property
    def count(self) -> Tensor:
        """(B,) number of observed real entries; a complex entry counts twice."""
        seen = self.mask.expand(self.measurement.shape[0], 1, *self.measurement.shape[2:])
        return self._channels * seen.flatten(1).sum(1)

    @property
    def entries(self) -> Tensor:
        """(B,) number of real entries, observed or not."""
        return self._channels * self.measurement[0, 0].numel() * torch.ones_like(self.count)

    def draws(self, streams: Any) -> Any:
        """The streams of the items; coils of padding draw nothing, so that they change nothing."""
        return streams if self.coils is None else coil_draws(streams, self.coils, self.measurement.shape[1])

    def observed(self, image: Tensor) -> Tensor:
        """M T x of an image x."""
        return self.mask * self.operator.forward(image)


def coil_draws(streams: Any, coils: Tensor, width: int) -> Any:
    """The streams of samples of `coils` (B,) coils that were padded to `width`; sources of another kind as they are."""
    return streams.padded(coils, width) if isinstance(streams, Streams) else streams


def squared_norm(value: Tensor) -> Tensor:
    """(B,) sum of squares of all real numbers of an item."""
    squared = torch.view_as_real(value).square() if value.is_complex() else value.square()
    return squared.flatten(1).sum(1)


def measured_items(batch: Mapping[str, Tensor], noise_std: float | None = None) -> MeasuredItems:
    """Check a batch and bring it into one form.

    Args:
        batch: see the module's text.
        noise_std: noise level of all items where the batch says nothing; None reads as 0 there.
    """
    unknown = sorted(set(batch) - KNOWN)
    missing = sorted({"measurement", "mask"} - set(batch))
    if unknown or missing:
        raise ValueError(
            f"batch: found unknown {', '.join(unknown) or '(none)'}, missing {', '.join(missing) or '(none)'}; allowed "
            f"{', '.join(sorted(KNOWN))}."
        )
    measurement, mask = batch["measurement"], batch["mask"]
    _check_mask(mask, measurement)
    seen = torch.where(mask > 0, measurement, torch.zeros((), dtype=measurement.dtype, device=measurement.device))
    if not bool(torch.isfinite(seen).all()):
        raise ValueError("measurement: found observed values that are not finite; mask them.")
    kept = mask.to(measurement.dtype.to_real())
    noise, covariance = batch.get("noise"), batch.get("noise_covariance")
    if noise is None and covariance is None and noise_std:
        noise = torch.tensor(noise_std, dtype=kept.dtype, device=kept.device)
    model = noise_model(noise, covariance, measurement, kept)
    maps = batch.get("maps")
    operator = _operator(measurement, maps)
    coils = None if maps is None else present_coils(maps).clamp(min=1).expand(measurement.shape[0])
    return MeasuredItems(seen, kept, operator, model, coils)


def _operator(measurement: Tensor, maps: Tensor | None) -> LinearOperator:
    if not measurement.is_complex():
        if maps is not None:
            raise ValueError("maps: found with a real measurement; coil maps belong to complex k-space.")
        return Identity()
    if maps is None:
        if measurement.shape[1] != 1:
            raise ValueError(f"maps: found none for k-space of {measurement.shape[1]} coils; only a single coil may.")
        return CoilFourier(torch.ones_like(measurement[:1]))
    if maps.shape not in (measurement.shape, (1, *measurement.shape[1:])):
        raise ValueError(f"maps: found shape {tuple(maps.shape)} for k-space of shape {tuple(measurement.shape)}.")
    check_normalised(maps)
    return CoilFourier(maps)


def _check_mask(mask: Tensor, measurement: Tensor) -> None:
    allowed = [(1, measurement.shape[0]), (1,), *((1, size) for size in measurement.shape[2:])]
    fits = mask.ndim == measurement.ndim and all(
        found in sizes for found, sizes in zip(mask.shape, allowed, strict=True)
    )
    if not fits:
        raise ValueError(
            f"mask: found shape {tuple(mask.shape)} for a measurement of shape {tuple(measurement.shape)}; allowed is "
            "one channel, every other axis 1 or as long as the measurement's."
        )
    if mask.is_complex() or not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError("mask: found other values than 0 and 1; allowed are real masks of 0 and 1.")
    if not bool(mask.flatten(1).any(1).all()):
        raise ValueError("mask: found an item without any observed entry; leave it out.")
