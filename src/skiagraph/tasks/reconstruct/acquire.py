"""Slices to reconstruct: from a k-space file, or simulated from a NIfTI volume; with what is known about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skiagraph.data.kspace import KSpace, calibration_columns, read_kspace
from skiagraph.data.maps import espirit
from skiagraph.data.simulation import ScanSettings, simulate
from skiagraph.data.slicing import SlicePose, locate_head, slice_positions
from skiagraph.data.volume import read_nifti
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.reconstruct.scan import PreparedScan, prepare_slices
from skiagraph.tasks.reconstruct.settings import ReconstructSettings
from skiagraph.tasks.reconstruct.simulated import draw_mask, prepare_acquisitions
from skiagraph.tasks.slices import chosen_slices

__all__ = ["ToReconstruct", "acquire", "default_centre", "file_maps", "file_noise"]

SIMULATED_SLICES = 40


@dataclass(frozen=True, eq=False)
class ToReconstruct:
    """Prepared slices with their geometry and, where known, their truth.

    Args:
        scan: what methods are given.
        names: one name a slice; seeds derive from it.
        affine: (4, 4) from (row, column, slice) to world mm, or None where the file has none.
        spacing_mm: (row, column, slice).
        truth: (S, H, W) in the unit of `scan`, or None.
        head: (S, H, W) bool, where figures are taken; None without truth.
        provenance: tag for captions: "measured" or "simulated k-space".
        source: file or sample.
        acceleration: effective acceleration of the masks.
    """

    scan: PreparedScan
    names: tuple[str, ...]
    affine: NDArray[np.float64] | None
    spacing_mm: tuple[float, float, float]
    truth: Tensor | None
    head: Tensor | None
    provenance: str
    source: str
    acceleration: float

    def record(self) -> dict[str, Any]:
        """What run.json says of the input."""
        return {
            "source": self.source,
            "provenance": self.provenance,
            "slices": list(self.names),
            "coils": int(self.scan.kspace.shape[1]),
            "matrix": list(self.scan.kspace.shape[-2:]),
            "spacing_mm": list(self.spacing_mm),
            "effective_acceleration": self.acceleration,
            "calibration_lines": int(self.scan.centre.min()),
            "noise_std_normalised": [round(float(value), 6) for value in self.scan.noise],
        }


def default_centre(acceleration: float) -> int:
    """24 calibration lines up to R = 6, 12 beyond."""
    return 24 if acceleration <= 6 else 12


def acquire(settings: ReconstructSettings, on_progress: OnProgress = silent) -> ToReconstruct:
    """Read or simulate what the settings name."""
    return _simulated(settings, on_progress) if settings.simulate else _from_file(settings, on_progress)


def _from_file(settings: ReconstructSettings, on_progress: OnProgress) -> ToReconstruct:
    whole = read_kspace(settings.scan)
    chosen = chosen_slices(settings.slices, len(whole))
    scan = whole if len(chosen) == len(whole) else read_kspace(settings.scan, slices=chosen)
    maps = file_maps(scan, settings.scan, on_progress)
    noise = file_noise(scan) if settings.noise_std is None else torch.full((len(scan),), settings.noise_std)
    mask = torch.from_numpy(scan.mask.astype(np.float32))
    prepared = prepare_slices(torch.from_numpy(scan.data), mask, maps, noise)
    truth, head = _truth(settings, scan, chosen, prepared)
    return ToReconstruct(
        prepared,
        tuple(f"slice {index}" for index in chosen),
        scan.affine if _consecutive(chosen) else None,
        scan.spacing_mm,
        truth,
        head,
        "measured",
        str(settings.scan),
        scan.acceleration,
    )


def file_maps(scan: KSpace, file: Path, on_progress: OnProgress = silent) -> Tensor:
    """Coil maps (S, coils, H, W) of every slice from the scan's own calibration lines; refusals name the file."""
    maps = []
    try:
        lines = calibration_columns(scan.mask)
        for done, slice_data in enumerate(scan.data):
            on_progress("coil maps", done, len(scan))
            maps.append(torch.from_numpy(espirit(slice_data, lines)))
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    on_progress("coil maps", len(scan), len(scan))
    return torch.stack(maps)


def file_noise(scan: KSpace) -> Tensor | None:
    """Noise (S,) per real and imaginary part from the file's noise scan; None where it holds none."""
    if scan.noise_scan is None:
        return None
    parts = np.stack([scan.noise_scan.real, scan.noise_scan.imag])
    return torch.full((len(scan),), float(np.sqrt(np.mean(parts**2))))


def _consecutive(chosen: list[int]) -> bool:
    return chosen == list(range(chosen[0], chosen[0] + len(chosen)))


def _truth(
    settings: ReconstructSettings, scan: KSpace, chosen: list[int], prepared: PreparedScan
) -> tuple[Tensor | None, Tensor | None]:
    """Reference images in the scan's own file or in the file given, and where the object is."""
    values = scan.truth
    if settings.truth is not None:
        values = read_kspace(settings.truth, slices=chosen).truth
        if values is None:
            raise InputError(f"truth: {settings.truth} holds no reference images (key reconstruction_rss).")
    if values is None:
        return None, None
    if values.shape[1:] != tuple(prepared.kspace.shape[-2:]):
        raise InputError(
            f"truth: found images of {values.shape[1:]}, but the scan's matrix is {tuple(prepared.kspace.shape[-2:])}; "
            "give reference images of the same matrix."
        )
    images = torch.from_numpy(values) / prepared.scale[:, None, None]
    return images, images > 0.1 * torch.quantile(images.flatten(1), 0.99, dim=1)[:, None, None]


def _simulated(settings: ReconstructSettings, on_progress: OnProgress) -> ToReconstruct:
    head = locate_head(read_nifti(settings.scan))
    scanner = ScanSettings()
    positions = slice_positions(head, SIMULATED_SLICES)
    chosen = chosen_slices(settings.slices, SIMULATED_SLICES)
    centre = settings.centre or default_centre(settings.acceleration)
    name = settings.scan.name
    mask = draw_mask("random", scanner.matrix[1], settings.acceleration, centre, settings.seed, name)
    acquired = []
    for done, index in enumerate(chosen):
        on_progress("simulated scan", done, len(chosen))
        case = f"{name}/{index}"
        acquired.append(simulate(head, SlicePose(positions[index]), seed=settings.seed, case=case, settings=scanner))
    on_progress("simulated scan", len(chosen), len(chosen))
    slices = prepare_acquisitions(acquired, [mask] * len(acquired), centre)
    gap = abs(positions[1] - positions[0])
    affine = np.array(acquired[0].affine, dtype=np.float64)
    if len(chosen) > 1:
        affine[:3, 2] = (acquired[1].affine[:3, 3] - acquired[0].affine[:3, 3]) / max(1, chosen[1] - chosen[0])
    steps = tuple(size / count for size, count in zip(scanner.field_of_view_mm, scanner.matrix, strict=True))
    return ToReconstruct(
        slices.scan,
        tuple(f"{name}/{index}" for index in chosen),
        affine if _consecutive(chosen) else None,
        (steps[0], steps[1], gap),
        slices.truth,
        slices.head,
        "simulated k-space",
        f"{settings.scan} (simulated acquisition)",
        float(mask.numel() / mask.sum()),
    )
