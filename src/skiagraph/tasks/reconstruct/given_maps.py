"""Coil maps that a user gives: whether they belong to the scan and mean what maps must mean."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from skiagraph.data.archives import file_sha256
from skiagraph.data.kspace import KSpace
from skiagraph.data.map_files import CoilMaps
from skiagraph.errors import DataError, InputError
from skiagraph.physics.coils import normalise_maps, root_sum_of_squares
from skiagraph.physics.fourier import CoilFourier, centred_ifft2, to_complex
from skiagraph.physics.masks.profile import central_lines

__all__ = ["foreign_scan", "maps_of_scan"]

LEAST_SUPPORT = 0.01
LEAST_EXPLAINED = 0.8
HOPELESS_EXPLAINED = 0.3
TOLERANCE = 1e-3


def maps_of_scan(given: CoilMaps, scan: KSpace) -> tuple[Tensor, tuple[str, ...]]:
    """The maps (S, coils, H, W) of the scan's slices, with sum_c |C_c|^2 = 1 on their support, and warnings.

    Maps of another scale are normalised with a warning. Refused: another matrix or number of coils, slices that are
    missing, maps that are zero almost everywhere, and maps that explain less than 30 % of the calibration lines' energy
    (|sum_c conj(C_c) y_c|^2 against sum_c |y_c|^2 in the image domain): they are those of another scan.
    """
    if given.maps.shape[1:] != scan.data.shape[1:]:
        raise InputError(
            f"maps: found (coils, rows, columns) {given.maps.shape[1:]}, but {scan.source} has {scan.data.shape[1:]}; "
            "give the maps of this scan (skiagraph maps SCAN)"
        )
    missing = sorted(set(scan.slices) - set(given.slices))
    if missing:
        raise InputError(f"maps: slices {missing} of {scan.source} are not there; the maps are of {list(given.slices)}")
    maps = torch.from_numpy(given.maps[[given.slices.index(number) for number in scan.slices]])
    size = root_sum_of_squares(maps)
    peak = size.flatten(1).amax(1)
    support = size > 1e-3 * peak[:, None, None]
    if not bool((support.flatten(1).float().mean(1) >= LEAST_SUPPORT).all()) or not bool((peak > 0).all()):
        raise DataError("maps: they are zero almost everywhere; estimate them again (skiagraph maps SCAN)")
    warnings = []
    power = size[support].square()
    if float((power - 1).abs().max()) > TOLERANCE:
        warnings.append(
            f"The coil maps given don't sum to one: sum |C|^2 runs from {float(power.min()):.3g} to "
            f"{float(power.max()):.3g} on their support. They were normalised."
        )
        maps = normalise_maps(maps, 1e-3)
    explained = _explained(maps, scan)
    if explained < HOPELESS_EXPLAINED:
        raise DataError(
            f"maps: they explain {100 * explained:.0f} % of the energy of the calibration lines of {scan.source}; "
            "those of this scan explain nearly all. Give the maps of this scan, of these coils in this order"
        )
    if explained < LEAST_EXPLAINED:
        warnings.append(
            f"The coil maps given explain {100 * explained:.0f} % of the energy of the calibration lines; maps of the "
            "same scan explain nearly all. Are they of this scan?"
        )
    return maps, tuple(warnings)


def _explained(maps: Tensor, scan: KSpace) -> float:
    """Share of the energy of the calibration lines' coil images that lies along the maps; 1 without such lines."""
    first, stop = central_lines(torch.from_numpy(scan.mask))
    source = torch.from_numpy(scan.data if scan.calibration is None else scan.calibration)
    if scan.calibration is None:
        if first == stop:
            return 1.0
        lines = torch.zeros(scan.mask.size)
        lines[first:stop] = 1
        source = source * lines
    whole = float(centred_ifft2(source).abs().square().sum())
    along = float(to_complex(CoilFourier(maps).adjoint(source)).abs().square().sum())
    return along / whole if whole > 0 else 1.0


def foreign_scan(given: CoilMaps, file: Path) -> tuple[str, ...]:
    """A warning where the maps were estimated from another file than `file`."""
    if given.scan_sha256 and given.scan_sha256 != file_sha256(file):
        return (f"The coil maps given were estimated from another file than {file.name}; are they of the same scan?",)
    return ()
