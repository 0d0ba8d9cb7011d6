"""What every way to reconstruct a scan has in common, and how one is run and measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from skiagraph.inverse.variation import mirror
from skiagraph.tasks.reconstruct.rivals.memory import MemoryPeak
from skiagraph.tasks.reconstruct.scan import PreparedScan

__all__ = ["Estimates", "Measured", "Rival", "TrainedOn", "measure", "mirrored"]

_PLANES = ("kspace", "mask", "maps")
TrainedOn = Literal["nothing", "undersampled scans", "fully sampled scans"]


@dataclass(frozen=True, eq=False)
class Estimates:
    """What a method says of S slices, in the normalised units of the scan.

    Args:
        images: (S, H, W) complex64, what is judged.
        samples: (S, K, H, W) complex64 posterior samples; None for methods without.
        spread: factor on the samples' standard deviation.
    """

    images: Tensor
    samples: Tensor | None = None
    spread: float = 1.0


class Rival(Protocol):
    """A way to reconstruct a scan."""

    @property
    def name(self) -> str:
        """Its name in tables and pictures."""
        ...

    @property
    def trained_on(self) -> TrainedOn:
        """What kind of scans it learned from."""
        ...

    @property
    def evaluations(self) -> int:
        """Images through a network for one slice, all samples and mirror images counted."""
        ...

    def __call__(self, scan: PreparedScan, names: Sequence[str]) -> Estimates:
        """Reconstruct the slices of a scan; `names` (one a slice) seed what is drawn."""
        ...


@dataclass(frozen=True, eq=False)
class Measured:
    """What a method made and what it took.

    Args:
        estimates: its images.
        seconds: seconds per slice.
        memory_gib: peak of the memory beyond what the process (or the accelerator) held before.
    """

    estimates: Estimates
    seconds: float
    memory_gib: float


def measure(rival: Rival, scan: PreparedScan, names: Sequence[str]) -> Measured:
    """Run a method on a scan with clock and memory watched."""
    started = time.perf_counter()
    with MemoryPeak(scan.kspace.device) as peak:
        estimates = rival(scan, names)
    return Measured(estimates, (time.perf_counter() - started) / len(scan), peak.gib)


def mirrored(reconstruct: Callable[[PreparedScan], Tensor], scan: PreparedScan) -> Tensor:
    """Mean of a reconstruction (S, H, W) complex over the four mirror images of a scan, each turned back."""
    total = torch.zeros_like(scan.kspace[:, 0])
    for axes in ((), (-1,), (-2,), (-2, -1)):
        turned = scan
        for axis in axes:
            turned = replace(turned, **{name: mirror(getattr(turned, name), axis) for name in _PLANES})
        image = reconstruct(turned)
        for axis in axes:
            image = mirror(image, axis)
        total = total + image / 4
    return total
