"""Slices to reconstruct: from a k-space file, or simulated from a NIfTI volume; with what is known about them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skiagraph.data.archives import file_sha256
from skiagraph.data.kspace import KSpace, read_kspace
from skiagraph.data.map_files import read_maps
from skiagraph.data.noise_files import read_noise
from skiagraph.data.simulation import ScanSettings
from skiagraph.data.slicing import locate_head, slice_positions
from skiagraph.data.truth_files import read_images
from skiagraph.data.volume import read_nifti
from skiagraph.errors import InputError
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.reconstruct.given_maps import foreign_scan
from skiagraph.tasks.reconstruct.prepare import Prepared, Treatment, prepare_scan
from skiagraph.tasks.reconstruct.scan import PreparedScan
from skiagraph.tasks.reconstruct.settings import ReconstructSettings
from skiagraph.tasks.reconstruct.simulated_scan import ScanPlan, simulate_scan
from skiagraph.tasks.slices import chosen_slices

__all__ = ["ToReconstruct", "acquire", "centre_of", "default_centre"]

SIMULATED_SLICES = 40


@dataclass(frozen=True, eq=False)
class ToReconstruct:
    """Prepared slices with their geometry and, where known, their truth.

    Args:
        scan: what methods are given.
        names: one name a slice; seeds derive from it.
        affine: (4, 4) from (row, column, slice) of the shown image to world mm, or None where the file has none.
        spacing_mm: (row, column, slice).
        truth: (S, h, w) in the unit of `scan`, or None.
        head: (S, h, w) bool, where figures are taken; None without truth.
        provenance: tag for captions: "measured" or "simulated k-space".
        source: file or sample.
        acceleration: effective acceleration of the masks.
        weight: (S, H, W) factor from images of the prepared coils to those of the file's coils; None for 1.
        view: (h, w) of the shown image, the centre of (H, W); None for all of it.
        treatment: how the scan was prepared, as JSON types.
        warnings: what a reader must know of the scan.
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
    weight: Tensor | None = None
    view: tuple[int, int] | None = None
    treatment: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def shown(self, images: Tensor) -> Tensor:
        """Images (S, ..., H, W) of a method as they are shown and written: weighted, cut to the scanner's view."""
        if self.weight is not None:
            images = images * self.weight.reshape(len(self.weight), *[1] * (images.ndim - 3), *self.weight.shape[-2:])
        return images if self.view is None else centre_of(images, self.view)

    def record(self) -> dict[str, Any]:
        """What run.json says of the input."""
        return {
            "source": self.source,
            "provenance": self.provenance,
            "slices": list(self.names),
            "coils": int(self.scan.kspace.shape[1]),
            "matrix": list(self.scan.kspace.shape[-2:]),
            "image": list(self.view or self.scan.kspace.shape[-2:]),
            "spacing_mm": list(self.spacing_mm),
            "effective_acceleration": self.acceleration,
            "calibration_lines": int(self.scan.centre.min()),
            "noise_std_normalised": [round(float(value), 6) for value in self.scan.noise],
            "treatment": self.treatment,
        }


def centre_of(images: Tensor, view: tuple[int, int]) -> Tensor:
    """Central (h, w) of images (..., H, W): index (H // 2, W // 2) becomes (h // 2, w // 2)."""
    first = [size // 2 - kept // 2 for size, kept in zip(images.shape[-2:], view, strict=True)]
    return images[..., first[0] : first[0] + view[0], first[1] : first[1] + view[1]]


def default_centre(acceleration: float) -> int:
    """24 calibration lines up to R = 6, 12 beyond."""
    return 24 if acceleration <= 6 else 12


def acquire(settings: ReconstructSettings, on_progress: OnProgress = silent) -> ToReconstruct:
    """Read or simulate what the settings name."""
    return _simulated(settings, on_progress) if settings.simulate else _from_file(settings, on_progress)


def _from_file(settings: ReconstructSettings, on_progress: OnProgress) -> ToReconstruct:
    scan = read_kspace(
        settings.scan, slices=partial(chosen_slices, settings.slices), counters=settings.counters or None
    )
    names = tuple(f"slice {index}" for index in scan.slices)
    images = scan.truth
    inside, sha256 = None, ""
    if settings.truth is not None:
        images, inside, sha256 = read_images(settings.truth, scan.slices)
        if sha256 and sha256 != file_sha256(settings.scan):
            raise InputError(
                f"truth: {settings.truth} is the truth of another scan than {settings.scan}; give the file that was "
                "written with this scan."
            )
    data = _prepared(settings, scan, names, str(settings.scan), on_progress)
    return data if images is None else _with_truth(data, images, inside)


def _simulated(settings: ReconstructSettings, on_progress: OnProgress) -> ToReconstruct:
    if settings.truth is not None or settings.maps is not None or settings.noise is not None or settings.counters:
        raise InputError(
            "simulate: found true together with truth, maps, noise or counters, which belong to a k-space file; leave "
            "them out: the simulation has its own truth, coils and noise."
        )
    head = locate_head(read_nifti(settings.scan))
    name = settings.scan.name
    chosen = chosen_slices(settings.slices, SIMULATED_SLICES)
    plan = ScanPlan(
        name=name,
        positions=slice_positions(head, SIMULATED_SLICES),
        acceleration=settings.acceleration,
        centre=settings.centre or default_centre(settings.acceleration),
        seed=settings.seed,
        scanner=ScanSettings(),
    )
    scan, truth = simulate_scan(head, plan, chosen, on_progress)
    names = tuple(f"{name}/{index}" for index in chosen)
    data = _prepared(settings, scan, names, f"{settings.scan} (simulated acquisition)", on_progress)
    return _with_truth(data, truth.images, truth.object_mask)


def _prepared(
    settings: ReconstructSettings, scan: KSpace, names: tuple[str, ...], source: str, on_progress: OnProgress
) -> ToReconstruct:
    """The scan made ready as the settings ask."""
    given = None if settings.maps is None else read_maps(settings.maps)
    treatment = Treatment(
        prewhiten=settings.prewhiten,
        coils=settings.coils,
        noise_std=settings.noise_std,
        noise=None
        if settings.noise is None
        else read_noise(settings.noise, scan.data.shape[1], dwell_us=scan.dwell_us, averages=scan.averages),
        maps=given,
    )
    prepared: Prepared = prepare_scan(scan, settings.scan, treatment, on_progress)
    shape = (int(scan.data.shape[2]), int(scan.data.shape[3]))
    view = scan.image_shape or shape
    affine = scan.affine if _consecutive(list(scan.slices)) else None
    if affine is not None and view != shape:
        affine = affine.copy()
        affine[:3, 3] += affine[:3, :2] @ [size // 2 - kept // 2 for size, kept in zip(shape, view, strict=True)]
    return ToReconstruct(
        scan=prepared.scan,
        names=names,
        affine=affine,
        spacing_mm=scan.spacing_mm,
        truth=None,
        head=None,
        provenance=scan.provenance,
        source=source,
        acceleration=scan.acceleration,
        weight=prepared.weight,
        view=None if view == shape else view,
        treatment=prepared.record,
        warnings=prepared.warnings if given is None else (*prepared.warnings, *foreign_scan(given, settings.scan)),
    )


def _consecutive(chosen: list[int]) -> bool:
    return chosen == list(range(chosen[0], chosen[0] + len(chosen)))


def _with_truth(data: ToReconstruct, values: NDArray[np.float32], inside: NDArray[np.bool_] | None) -> ToReconstruct:
    """The slices with their reference images, and where the object is (else: above a tenth of the bright level)."""
    matrix = (int(data.scan.kspace.shape[-2]), int(data.scan.kspace.shape[-1]))
    shown = data.view or matrix
    images = torch.from_numpy(values)
    if tuple(images.shape[1:]) == matrix:
        images = centre_of(images, shown)
    if tuple(images.shape[1:]) != shown:
        raise InputError(
            f"truth: found images of {values.shape[1:]}, but the scan's image is {shown} (matrix {matrix}); give "
            "reference images of the same matrix."
        )
    images = images / data.scan.scale[:, None, None]
    if inside is not None and inside.shape[1:] == matrix:
        head = centre_of(torch.from_numpy(inside), shown)
    else:
        head = images > 0.1 * torch.quantile(images.flatten(1), 0.99, dim=1)[:, None, None]
    return replace(data, truth=images, head=head)
