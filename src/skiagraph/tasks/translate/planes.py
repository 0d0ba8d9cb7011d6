"""One state, three passes: x0-hat averaged over axial, coronal and sagittal slices of the same volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from skiagraph.diffusion import EMPTY, Condition, Denoiser, Prediction
from skiagraph.diffusion.schedule import Schedule
from skiagraph.tasks.translate.method import SourceStack

__all__ = ["PlaneAverage", "in_plane", "source_in_plane"]

_AXES = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (2, 0, 1)}


def in_plane(stack: Tensor, plane: str) -> Tensor:
    """An axial stack (Z, 1, Y, X) as slices of another plane: coronal (Y, 1, Z, X), sagittal (X, 1, Z, Y)."""
    return stack[:, 0].permute(_AXES[plane])[:, None]


def _back(stack: Tensor, plane: str) -> Tensor:
    order = [_AXES[plane].index(axis) for axis in range(3)]
    return stack[:, 0].permute(order)[:, None]


def source_in_plane(source: SourceStack, plane: str) -> SourceStack:
    """The same scan cut along another plane."""
    steps = tuple(source.spacing_mm[axis] for axis in _AXES[plane])
    images, mask = in_plane(source.images, plane), in_plane(source.mask, plane)
    return SourceStack(images.contiguous(), mask.contiguous(), (steps[0], steps[1], steps[2]), source.name)


@dataclass(frozen=True, eq=False)
class PlaneAverage:
    """x0 = mean over planes of the estimates from the slices of each plane, at every evaluation.

    Args:
        denoisers: plane name to a denoiser of that plane's stacks; the state is axial (Z, 1, Y, X).
    """

    denoisers: Mapping[str, Denoiser]

    @property
    def schedule(self) -> Schedule:
        """That of the first plane."""
        return next(iter(self.denoisers.values())).schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """The averaged estimate."""
        found = [_back(one(in_plane(x, plane), t, cond).x0, plane) for plane, one in self.denoisers.items()]
        return Prediction(torch.stack(found).mean(0))
