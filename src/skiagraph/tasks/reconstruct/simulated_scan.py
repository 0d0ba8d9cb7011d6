"""A whole simulated scan of a head: slices that share coils, mask and noise level, and what the scan hides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from skiagraph.data.kspace import KSpace
from skiagraph.data.simulation import Acquisition, ScanSettings, simulate
from skiagraph.data.slicing import Head, SlicePose
from skiagraph.data.truth_files import HiddenTruth
from skiagraph.errors import InputError
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.reconstruct.simulated import MaskFamily, draw_mask

__all__ = ["ScanPlan", "simulate_scan"]


@dataclass(frozen=True)
class ScanPlan:
    """How a head is scanned.

    Args:
        name: name of the case: coils, phase, noise and mask derive from it and the seed.
        positions: world z of all slices in mm, evenly spaced.
        masks: mask family, one mask for the scan.
        acceleration: nominal acceleration, >= 1.
        centre: calibration lines.
        seed: seed of every draw.
        scanner: matrix, field of view, coils, noise.
    """

    name: str
    positions: tuple[float, ...]
    masks: MaskFamily = "random"
    acceleration: float = 4.0
    centre: int = 24
    seed: int = 0
    scanner: ScanSettings = field(default_factory=ScanSettings)


def simulate_scan(
    head: Head, plan: ScanPlan, chosen: Sequence[int] | None = None, on_progress: OnProgress = silent
) -> tuple[KSpace, HiddenTruth]:
    """Scan a head: undersampled k-space with a noise scan, and its hidden truth.

    A slice is a function of the plan and its index, whichever slices are chosen: coils, coil covariance, phase and mask
    are those of the whole scan, the noise level is a fraction of the middle slice's peak, the noise is the slice's own.

    Args:
        head: the object.
        plan: how it is scanned.
        chosen: indices of the slices to scan, in this order; None for all.
        on_progress: told about every slice.
    """
    wanted = list(range(len(plan.positions)) if chosen is None else chosen)
    width = plan.scanner.matrix[1]
    if plan.centre > width:
        raise InputError(f"centre: found {plan.centre} calibration lines, but the matrix has {width} columns")
    mask = draw_mask(plan.masks, width, plan.acceleration, plan.centre, plan.seed, plan.name).numpy().astype(bool)
    level = _acquire(head, plan, len(plan.positions) // 2, None).noise_std
    acquired = []
    for done, index in enumerate(wanted):
        on_progress("simulated scan", done, len(wanted))
        acquired.append(_acquire(head, plan, index, level))
    on_progress("simulated scan", len(wanted), len(wanted))
    return _scan(plan, acquired, mask, wanted), _truth(acquired, level)


def _acquire(head: Head, plan: ScanPlan, index: int, level: float | None) -> Acquisition:
    return simulate(
        head,
        SlicePose(plan.positions[index]),
        seed=plan.seed,
        case=plan.name,
        settings=plan.scanner,
        noise_case=f"{plan.name}/{index}",
        noise_std=level,
    )


def _scan(plan: ScanPlan, acquired: Sequence[Acquisition], mask: np.ndarray, wanted: Sequence[int]) -> KSpace:
    """What a scanner would export: sampled lines, noise scan, geometry."""
    gap = plan.scanner.slice_thickness_mm
    affine = np.array(acquired[0].affine, dtype=np.float64)
    if len(plan.positions) > 1:
        steps = np.diff(plan.positions)
        gap = float(np.abs(steps).mean())
        affine[:3, 2] *= float(steps.mean()) / plan.scanner.slice_thickness_mm
    noise = acquired[0].noise_scan
    return KSpace(
        data=np.stack([item.kspace for item in acquired]) * mask.astype(np.float32),
        mask=mask,
        field_of_view_mm=plan.scanner.field_of_view_mm,
        slice_spacing_mm=gap,
        affine=affine,
        noise_scan=noise if bool(noise.any()) else None,
        source=f"{plan.name} (simulated)",
        slices=tuple(wanted),
        provenance="simulated k-space",
    )


def _truth(acquired: Sequence[Acquisition], level: float) -> HiddenTruth:
    record = acquired[0].record()
    record["poses"] = [item.record()["pose"] for item in acquired]
    return HiddenTruth(
        images=np.stack([item.truth for item in acquired]),
        maps=np.stack([item.hidden_maps for item in acquired]),
        object_mask=np.stack([item.mask for item in acquired]),
        covariance=level**2 * acquired[0].coil_covariance,
        scan_sha256="",
        record={name: value for name, value in record.items() if name != "pose"},
    )
