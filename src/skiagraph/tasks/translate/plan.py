"""What a translation will take, in time and memory, before it is started."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from skiagraph.data.regrid import reorient
from skiagraph.tasks.translate.frame import MARGIN_MM, frame_of
from skiagraph.tasks.translate.guided import GuidedTranslation
from skiagraph.tasks.translate.method import SourceStack
from skiagraph.tasks.translate.prior import TargetPrior
from skiagraph.tasks.translate.released import ReleasedTranslation
from skiagraph.tasks.translate.run import chosen_method
from skiagraph.tasks.translate.run_settings import TranslateSettings
from skiagraph.tasks.translate.scan import foreground, read_volume, require_dicom_output

__all__ = ["expectation"]

_BASE_GIB = 0.5
"""The program with torch, scipy and numba loaded, before any image."""

_VOXEL_BYTES = 32
"""Arrays of the scan's size that are alive together: the scan, its mask, splines, results, in bytes a voxel."""

_VOXEL_SECONDS = 0.7e-6
"""Reading, resampling there and back, writing: seconds a voxel of the scan on one core."""

_MAP_SECONDS = 4.0e-6
"""One local map, seconds a pixel of the frame on one core; the check and the consistency map take as long as four."""

_LEVEL = 0.4
"""Where in the table the estimate is timed: a level at which similarities push."""

_OVAL, _TIMES, _TIMING_SECONDS = 0.7, 4, 4.0
"""Of the foreground that is timed: its radius squared; how often, and for how long."""

_HEAD_MM = 150.0
"""From the top to the bottom of a brain with its stem."""

_SYNTHSTRIP = (45.0, 4.2)
"""Seconds and GiB where the brain has to be found."""


def expectation(settings: TranslateSettings) -> dict[str, Any]:
    """Slices, network calls, seconds and memory; the network is timed on this machine for a few seconds.

    The scan is read; where its brain must be found, slices are counted as if it filled the prior's.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    prior = TargetPrior.load(settings.prior)
    method = chosen_method(settings, prior)
    require_dicom_output(settings)
    volume, _ = read_volume(settings.scan)
    above = float((volume.array > float(volume.array.min())).mean())
    finds_brain = settings.source.mask == "brain" or (settings.source.mask == "auto" and above >= 0.75)
    rows, columns = prior.size
    if finds_brain:
        upright = reorient(volume)
        extent = min(_HEAD_MM, upright.array.shape[2] * upright.spacing_mm[2]) + 2 * MARGIN_MM
        slices = max(1, round(extent / prior.spacing_mm[0]))
    else:
        mask, _ = foreground(volume, settings.source.mask)
        frame = frame_of(volume, mask, prior.spacing_mm, prior.size, prior.multiple)
        columns, rows, slices = frame.grid.shape
    batch = min(settings.batch, slices)
    voxels = volume.array.size
    network = slices * _network_seconds(method, prior, batch, (rows, columns))
    maps = _MAP_SECONDS * rows * columns * slices * 4 / torch.get_num_threads()
    seconds = network + maps + _VOXEL_SECONDS * voxels + (_SYNTHSTRIP[0] if finds_brain else 0)
    memory = _BASE_GIB + _VOXEL_BYTES * voxels / 2**30
    return {
        "slices": slices,
        "network_calls_per_slice": method.calls,
        "finds_the_brain_first": finds_brain,
        "seconds_in_the_network": round(network, 1),
        "seconds": round(seconds, 1),
        "memory_gib": round(max(memory, _SYNTHSTRIP[1] if finds_brain else 0.0), 2),
    }


def _network_seconds(
    method: GuidedTranslation | ReleasedTranslation, prior: TargetPrior, batch: int, size: tuple[int, int]
) -> float:
    """All estimates of one slice, with maps and pushes."""
    size = prior.size if prior.dimensions == 3 else size
    source = _oval(int(prior.prior.record.size[0]) if prior.dimensions == 3 else batch, size, prior)
    level = round(_LEVEL * (len(prior.schedule) - 1))
    if isinstance(method, ReleasedTranslation):
        return method.levels * _seconds(lambda: method.noise(source.images, source.unit, level), len(source))
    base, time_of_network = prior.stack_denoiser(batch), torch.tensor(level)

    def each(push: float) -> float:
        denoiser = replace(method, observe=None, refresh=1, push=push).steered(source, base)
        return _seconds(lambda: denoiser(source.images, time_of_network), len(source))

    plain, pushed = each(0.0), method.pushed
    seconds = plain * (method.steps - pushed) + (each(method.push) * pushed if pushed else 0.0)
    return seconds * method.candidates * len(method.planes)


def _oval(count: int, size: tuple[int, int], prior: TargetPrior) -> SourceStack:
    """Slices with a foreground as large as a head's."""
    rows, columns = (torch.linspace(-1, 1, side) for side in size)
    inside = (rows[:, None] ** 2 + columns**2 < _OVAL).expand(count, 1, *size)
    images = 2 * torch.rand(count, 1, *size, generator=torch.Generator().manual_seed(0)) - 1
    return SourceStack(torch.where(inside, images, -1.0), inside, prior.spacing_mm)


def _seconds(ask: Callable[[], object], count: int) -> float:
    """One slice of `count` that are asked for together: the median of a few, or of as many as a few seconds hold."""
    found: list[float] = []
    with torch.no_grad():
        ask()  # what is made once is not counted
        while len(found) < _TIMES and sum(found) < _TIMING_SECONDS:
            started = time.perf_counter()
            ask()
            found.append(time.perf_counter() - started)
    return float(np.median(found)) / count
