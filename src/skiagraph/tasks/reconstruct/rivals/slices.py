"""The slices that all methods are given: simulated from a sample head, or of k-space files with reference images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from skiagraph.data.simulation import ScanSettings
from skiagraph.data.slicing import slice_positions
from skiagraph.errors import InputError
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.reconstruct.acquire import acquire, default_centre
from skiagraph.tasks.reconstruct.rivals.settings import RivalsSettings
from skiagraph.tasks.reconstruct.scan import PreparedScan
from skiagraph.tasks.reconstruct.settings import ReconstructSettings
from skiagraph.tasks.reconstruct.simulated import (
    SimulatedSlices,
    sample_head,
    simulate_slices,
    simulate_training_scans,
)

__all__ = ["JudgedSlices", "judged_slices", "tuning_slices"]


@dataclass(frozen=True, eq=False)
class JudgedSlices:
    """Slices with their truth.

    Args:
        title: what they are, e.g. "colin27, R = 4".
        scan: what methods are given.
        names: one name a slice.
        groups: slab of each slice; slices of one slab are not independent.
        truth: (S, H, W) real in the unit of `scan`.
        head: (S, H, W) bool, where factors are fitted and error bars counted.
        provenance: "measured" or "simulated k-space".
    """

    title: str
    scan: PreparedScan
    names: tuple[str, ...]
    groups: tuple[str, ...]
    truth: Tensor
    head: Tensor
    provenance: str

    @property
    def acceleration(self) -> float:
        """Effective acceleration of the masks."""
        return float(1 / self.scan.mask.mean())

    def record(self) -> dict[str, Any]:
        """What run.json says of them."""
        return {
            "title": self.title,
            "provenance": self.provenance,
            "slices": len(self.names),
            "slabs": len(set(self.groups)),
            "coils": int(self.scan.kspace.shape[1]),
            "matrix": list(self.scan.kspace.shape[-2:]),
            "effective_acceleration": round(self.acceleration, 3),
            "noise_std_normalised": round(float(self.scan.noise.mean()), 6),
        }


def judged_slices(settings: RivalsSettings, on_progress: OnProgress = silent) -> list[JudgedSlices]:
    """One set of slices for every acceleration of the sample head, or one for every file."""
    if settings.scans:
        return [_from_file(file, settings.slabs) for file in settings.scans]
    head, _ = sample_head(settings.sample)
    positions = slice_positions(head, settings.slices)
    found = []
    for done, rate in enumerate(settings.accelerations):
        on_progress("simulated slices", done, len(settings.accelerations))
        slices = simulate_slices(
            head,
            settings.sample,
            positions,
            kind=settings.masks,
            acceleration=rate,
            centre=settings.centre or default_centre(rate),
            seed=settings.acquisition_seed,
            settings=ScanSettings(coils=settings.coils, noise_fraction=settings.noise_fraction),
        )
        found.append(_simulated(f"{settings.sample}, R = {rate:g}", slices, _slabs(settings.slices, settings.slabs)))
    on_progress("simulated slices", len(settings.accelerations), len(settings.accelerations))
    return found


def _simulated(title: str, slices: SimulatedSlices, groups: tuple[str, ...]) -> JudgedSlices:
    return JudgedSlices(title, slices.scan, slices.names, groups, slices.truth, slices.head, "simulated k-space")


def _slabs(count: int, slabs: int) -> tuple[str, ...]:
    """The slab of each of `count` neighbouring slices, at most `slabs` of them, of equal thickness."""
    size = count / min(slabs, count)
    return tuple(f"slab {int(index / size)}" for index in range(count))


def _from_file(file: Path, slabs: int) -> JudgedSlices:
    # Without pre-whitening methods' images have the intensity of the reference images: one comparison for all.
    data = acquire(ReconstructSettings(prior=Path(), scan=file, prewhiten=False))
    if data.truth is None or data.head is None:
        raise InputError(f"scans: {file} holds no reference images (key reconstruction_rss) to judge methods by.")
    if len(data.names) < 2:
        raise InputError(f"scans: {file} holds one slice; at least two are needed for an interval.")
    groups = _slabs(len(data.names), slabs)
    return JudgedSlices(file.name, data.scan, data.names, groups, data.truth, data.head, data.provenance)


def tuning_slices(settings: RivalsSettings, acceleration: float) -> SimulatedSlices:
    """Slices of training heads in new positions, measured as the test slices are; see `RivalsSettings.tune`."""
    slices, _ = simulate_training_scans(
        settings.tune,
        kind=settings.masks,
        acceleration=acceleration,
        centre=settings.centre or default_centre(acceleration),
        seed=99,
        settings=ScanSettings(coils=settings.coils, noise_fraction=settings.noise_fraction),
    )
    return slices
