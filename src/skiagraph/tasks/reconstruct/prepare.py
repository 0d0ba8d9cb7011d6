"""From a scan as it was read to slices that methods are given: pre-whitening, coil compression, coil maps, unit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skiagraph.data.kspace import LEAST_CALIBRATION, KSpace, calibration_columns
from skiagraph.data.map_files import CoilMaps
from skiagraph.data.maps import espirit
from skiagraph.data.noise import NoiseModel
from skiagraph.errors import DataError
from skiagraph.physics.coils import compress, compression_matrix, kept_energy, normalise_maps, root_sum_of_squares
from skiagraph.physics.masks.profile import central_lines
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.reconstruct.given_maps import maps_of_scan
from skiagraph.tasks.reconstruct.noise import find_noise
from skiagraph.tasks.reconstruct.scan import PreparedScan, prepare_slices

__all__ = ["Prepared", "Treatment", "prepare_scan"]


@dataclass(frozen=True, eq=False)
class Treatment:
    """What is done to a scan before methods see it.

    Args:
        prewhiten: make the noise white across coils where its covariance is known.
        coils: compress to at most this many virtual coils; None keeps all.
        noise_std: stated noise per part in file units; None takes what the scan holds, or estimates it.
        noise: noise of the receivers from a file of its own; None for what the scan holds.
        maps: coil maps from a file, of the file's own coils; None estimates them.
    """

    prewhiten: bool = True
    coils: int | None = None
    noise_std: float | None = None
    noise: NoiseModel | None = None
    maps: CoilMaps | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """Slices ready for reconstruction, and what was done to them.

    Args:
        scan: what methods are given.
        weight: (S, H, W) factor from their images to the root-sum-of-squares of the file's own coils; None for 1.
        record: coils, noise, compression and maps, as JSON types.
        warnings: what a reader must know.
    """

    scan: PreparedScan
    weight: Tensor | None
    record: dict[str, Any]
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Coils:
    """k-space of a scan in some combination of its coils.

    `mix` takes the file's coils to these, `back` these to the file's: (1 or S, to, from); None where they are the same.
    """

    data: Tensor
    calibration: Tensor | None
    mix: Tensor | None = None
    back: Tensor | None = None

    def mixed(self, matrix: Tensor, back: Tensor) -> _Coils:
        """These coils combined by matrix (1 or S, to, from), undone by `back` as far as it can be."""
        return _Coils(
            compress(self.data, matrix),
            None if self.calibration is None else compress(self.calibration, matrix),
            matrix if self.mix is None else matrix @ self.mix,
            back if self.back is None else self.back @ back,
        )


def prepare_scan(
    scan: KSpace, file: Path | str, treatment: Treatment | None = None, on_progress: OnProgress = silent
) -> Prepared:
    """Whiten, compress, find or take the coil maps, normalise; refusals name the file.

    White noise of one level in every coil is what every method assumes: with the covariance Psi of the coils' noise,
    k-space becomes W y with W = level L^-1, Psi = L L^H, and its maps are those of the whitened coils. Virtual coils
    are the principal components A of the calibration lines of each slice. Images of methods then have the intensity of
    a root-sum-of-squares over the combined coils; times `weight` = |W^-1 A^H C|, C their maps, they have that of the
    file's own coils.

    Args:
        scan: the slices.
        file: name for messages.
        treatment: what to do.
        on_progress: told about the coil maps.
    """
    treatment = treatment or Treatment()
    try:
        found = find_noise(scan, treatment.noise_std, treatment.noise, prewhiten=treatment.prewhiten)
        separate = None if scan.calibration is None else torch.from_numpy(scan.calibration)
        coils = _Coils(torch.from_numpy(scan.data), separate)
        if found.whitener is not None:
            matrix = torch.from_numpy(found.whitener)[None]
            coils = coils.mixed(matrix.to(torch.complex64), torch.linalg.inv(matrix).to(torch.complex64))
        record: dict[str, Any] = {"coils": scan.data.shape[1], "noise": found.record()}
        if treatment.coils is not None and treatment.coils < scan.data.shape[1]:
            coils, kept = _compressed(coils, scan.mask, treatment.coils)
            record["coil_compression"] = {"virtual_coils": treatment.coils, "energy_kept": round(kept, 5)}
        maps, source, warnings = _maps(scan, coils, treatment.maps, on_progress)
        noise = None if found.level is None else torch.full((len(scan),), found.level)
        mask = torch.from_numpy(scan.mask.astype(np.float32))
        prepared = prepare_slices(coils.data, mask, maps, noise, calibration=coils.calibration)
    except DataError as error:
        raise DataError(str(error) if str(file) in str(error) else f"{file}: {error}") from error
    record["maps"] = source
    weight = None if coils.back is None else root_sum_of_squares(compress(maps, coils.back))
    return Prepared(prepared, weight, record, (*scan.notes, *found.warnings, *warnings))


def _calibration_region(coils: _Coils, mask: Any) -> Tensor:
    """Calibration lines (S, coils, H, lines)."""
    if coils.calibration is not None:
        return coils.calibration
    first, stop = central_lines(torch.as_tensor(mask))
    if first == stop:
        raise DataError(
            f"the mask leaves out zero frequency (column {len(mask) // 2}): the image's intensity is unknown; "
            "calibration lines about the centre are needed"
        )
    return coils.data[..., first:stop]


def _compressed(coils: _Coils, mask: Any, count: int) -> tuple[_Coils, float]:
    """Principal coils of each slice's calibration lines, and the least share of their energy that is kept."""
    region = _calibration_region(coils, mask)
    matrix = compression_matrix(region, count)
    return coils.mixed(matrix, matrix.mH), float(kept_energy(region, matrix).min())


def _few_lines(lines: int) -> tuple[str, ...]:
    """A warning where the unit of intensity rests on very few lines."""
    if lines >= LEAST_CALIBRATION:
        return ()
    return (
        f"There are {lines} contiguous lines about zero frequency: the intensity that the prior is told is rough, and "
        "what it fills in may be too bright or too dark. Scan with calibration lines.",
    )


def _maps(
    scan: KSpace, coils: _Coils, given: CoilMaps | None, on_progress: OnProgress
) -> tuple[Tensor, str, tuple[str, ...]]:
    """Maps (S, coils, H, W) of the combined coils, where they are from, and what to beware of."""
    warnings = _few_lines(_calibration_region(coils, scan.mask).shape[-1])
    if given is not None:
        maps, more = maps_of_scan(given, scan)
        if coils.mix is not None:
            maps = normalise_maps(compress(maps, coils.mix))
        return maps, "from the file given", (*warnings, *more)
    if coils.data.shape[1] == 1:
        return torch.ones_like(coils.data), "one coil: ones", warnings
    lines = calibration_columns(scan.calibrating[1])
    source, separate = (coils.data, "") if coils.calibration is None else (coils.calibration, "separate ")
    maps_found = []
    for done, data in enumerate(source):
        on_progress("coil maps", done, len(source))
        maps_found.append(torch.from_numpy(espirit(data.numpy(), lines)))
    on_progress("coil maps", len(source), len(source))
    return torch.stack(maps_found), f"ESPIRiT, {lines} {separate}calibration lines", ()
