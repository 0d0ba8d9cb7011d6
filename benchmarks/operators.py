"""Coil operators and ESPIRiT against sigpy: same slices, same maps, same numbers out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.timing import Action, Effort, Row, Section, race, rows_of
from skiagraph.data.maps import EspiritSettings, espirit, espirit_sigpy
from skiagraph.data.phantom import head_phantom
from skiagraph.data.simulation import Acquisition, simulate
from skiagraph.data.slicing import SlicePose, locate_head, slice_positions
from skiagraph.physics.coils import normalise_maps
from skiagraph.physics.fourier import CoilFourier, MaskedCoilFourier, to_complex, to_real

__all__ = ["compare_espirit", "compare_operators"]

OURS = "skiagraph"
LINES = 24


@dataclass(frozen=True, eq=False)
class _Scans:
    """Simulated slices of the generated head.

    Args:
        images: (S, H, W) complex64.
        maps: (S, coils, H, W) complex64, unit root sum of squares.
        mask: (W,) float32, columns at R = 4 with calibration lines.
    """

    images: Tensor
    maps: Tensor
    mask: Tensor


def _acquisitions(count: int) -> list[Acquisition]:
    head = locate_head(head_phantom(0, spacing_mm=2.0))
    positions = slice_positions(head, count)
    return [simulate(head, SlicePose(place), seed=0, case=str(number)) for number, place in enumerate(positions)]


def _scans(count: int) -> _Scans:
    acquired = _acquisitions(count)
    maps = normalise_maps(torch.from_numpy(np.stack([scan.hidden_maps for scan in acquired])).to(torch.complex64))
    kspace = torch.from_numpy(np.stack([scan.kspace for scan in acquired]))
    mask = torch.zeros(kspace.shape[-1])
    mask[::4] = 1
    middle = mask.numel() // 2
    mask[middle - LINES // 2 : middle + LINES // 2] = 1
    return _Scans(to_complex(CoilFourier(maps).adjoint(kspace)), maps, mask)


def _theirs(scans: _Scans, masked: bool) -> list[Any]:
    """sigpy's SENSE operator of every slice; the mask enters as weights."""
    import sigpy.mri

    weights = scans.mask.numpy().reshape(1, 1, -1) if masked else None
    return [sigpy.mri.linop.Sense(maps, weights=weights) for maps in scans.maps.numpy()]


def _each(operators: list[Any], inputs: NDArray[Any]) -> list[NDArray[Any]]:
    return [operator(one) for operator, one in zip(operators, inputs, strict=True)]


def _pairs(scans: _Scans, device: torch.device) -> dict[str, tuple[Action, Action]]:
    """Our action on the whole batch on `device`, and sigpy's slice by slice on the processor."""
    ours, masked = (
        CoilFourier(scans.maps.to(device)),
        MaskedCoilFourier(scans.maps.to(device), scans.mask.reshape(1, 1, 1, -1).to(device)),
    )
    sense, weighted = _theirs(scans, False), _theirs(scans, True)
    adjoints, normals = [one.H for one in sense], [one.N for one in sense]
    weighted_normals = [one.N for one in weighted]
    image, images = to_real(scans.images).to(device), scans.images.numpy()
    kspace, values = ours.forward(image), np.stack(_each(sense, images))
    return {
        "forward": (partial(ours.forward, image), partial(_each, sense, images)),
        "adjoint": (partial(ours.adjoint, kspace), partial(_each, adjoints, values)),
        "normal": (partial(ours.normal, image), partial(_each, normals, images)),
        "masked normal, columns": (partial(masked.normal, image), partial(_each, weighted_normals, images)),
    }


def _distance(found: Any, reference: Any) -> float:
    """Largest difference over the largest value of the reference."""
    values = found.cpu()
    values = values if values.is_complex() else to_complex(values)
    expected = np.stack(reference)
    return float(np.abs(values.numpy() - expected).max() / np.abs(expected).max())


def compare_operators(effort: Effort, device: torch.device, report: Callable[[str], None]) -> Section:
    """Time forward, adjoint and normal operators on 1 and on 8 slices of 8 coils, 128 x 128."""
    synchronise = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    rows: list[Row] = []
    worst = 0.0
    for slices in (1, 8):
        for name, (ours, theirs) in _pairs(_scans(slices), device).items():
            case = f"{name}, {slices} slice{'s' if slices > 1 else ''}"
            report(f"operators: {case} on {device.type}")
            worst = max(worst, _distance(ours(), theirs()))
            contestants = {OURS: ours, "sigpy Sense (cpu)": theirs}
            measured = race(contestants, rounds=effort.rounds, shortest=effort.shortest, synchronise=synchronise)
            rows += rows_of(case, measured, OURS)
    return Section(
        f"Operators ({device.type})",
        "8 coils, 128x128, single precision. sigpy takes one slice at a time; its linear operators are built "
        "beforehand. Our unmasked normal operator needs no transform (the transform is unitary); that for column masks "
        "transforms along one axis only. sigpy's go to k-space and back.",
        "ms",
        rows,
        remarks=(f"Largest difference from sigpy in all cases: {worst:.0e} of the largest value.",),
    )


def compare_espirit(effort: Effort, report: Callable[[str], None]) -> Section:
    """Time coil map estimation from 24 calibration lines."""
    (scan,) = _acquisitions(1)
    same = EspiritSettings(kernel=6, threshold=0.02, calibration_rows=LINES, reference="first")
    contestants: dict[str, Callable[[], NDArray[np.complex64]]] = {
        OURS: partial(espirit, scan.kspace, LINES),
        "skiagraph, sigpy's settings": partial(espirit, scan.kspace, LINES, same),
        "sigpy EspiritCalib": partial(espirit_sigpy, scan.kspace, LINES, kernel=6, threshold=0.02),
    }
    report("ESPIRiT")
    truth = scan.hidden_maps / np.linalg.norm(scan.hidden_maps, axis=0)
    notes = {name: (_likeness(action(), truth, scan.mask),) for name, action in contestants.items()}
    measured = race(contestants, rounds=effort.rounds, shortest=effort.shortest)
    rows = [
        Row(row.case, row.contestant, row.cost, row.ratio, notes[row.contestant])
        for row in rows_of(f"8 coils, 128x128, {LINES} lines", measured, OURS)
    ]
    return Section(
        "ESPIRiT (cpu)",
        "One simulated slice with noise of 0.005 of the peak. Ours uses 48 calibration rows (the readout is fully "
        "sampled), kernels of 5 and a noise floor; sigpy a square of 24 and kernels of 6. Likeness is |sum_c conj(a_c) "
        "b_c| against the hidden coil fields, worst percentile and median over the head; 1 is equal.",
        "ms",
        rows,
        extra=("likeness to the hidden maps (1st percentile, median)",),
    )


def _likeness(maps: NDArray[np.complex64], truth: NDArray[Any], head: NDArray[np.bool_]) -> str:
    values = np.abs((maps.conj() * truth).sum(0))[head]
    return f"{np.percentile(values, 1):.4f}, {np.median(values):.4f}"
