"""The command `maps`: coil sensitivity maps of a scan, written beside it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from pydantic import Field

from skiagraph.config import Settings
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.slices import chosen_slices

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from skiagraph.data.kspace import KSpace

__all__ = ["MapsResult", "MapsSettings", "expectation", "maps_path", "write_maps"]


class MapsSettings(Settings):
    """Estimate coil sensitivity maps from a scan's calibration lines (ESPIRiT) and write them beside the scan."""

    scan: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SCAN")] = Field(
        description="k-space file: HDF5 in the fastMRI layout or ISMRMRD."
    )
    output: Path | None = Field(None, description="File to write; default NAME.maps.h5 beside the scan.")
    slices: str = Field("all", description='Which slices: "all", an index, or START:STOP[:STEP], separated by commas.')
    counters: dict[str, int] = Field(
        {}, description="Which contrast, phase, repetition or set of an ISMRMRD file that holds several, by name."
    )
    lines: int | None = Field(None, ge=6, description="Calibration lines to use; default: all that the mask holds.")
    method: Literal["espirit", "sigpy"] = Field(
        "espirit", description="Implementation: this library's, or sigpy's (slower; for comparison)."
    )
    crop: float = Field(
        0.0, ge=0, le=1, description="Pixels whose eigenvalue is below this get zero maps; 0 keeps all."
    )


@dataclass(frozen=True)
class MapsResult:
    """Where the maps lie and what they are."""

    path: Path
    shape: tuple[int, ...]
    lines: int

    def record(self) -> dict[str, Any]:
        """Return path, shape (slices, coils, rows, columns) and calibration lines used."""
        return {"maps": self.path, "shape": self.shape, "calibration_lines": self.lines}


def maps_path(settings: MapsSettings) -> Path:
    """Return the file to write."""
    return settings.output or settings.scan.with_name(settings.scan.stem + ".maps.h5")


def _read(settings: MapsSettings) -> tuple[KSpace, int]:
    """Return the chosen slices of the scan and the calibration lines to use, all checked."""
    from skiagraph.data.kspace import calibration_columns, read_kspace

    scan = read_kspace(
        settings.scan, slices=partial(chosen_slices, settings.slices), counters=settings.counters or None
    )
    try:
        found = calibration_columns(scan.calibrating[1])
    except DataError as error:
        raise DataError(f"{settings.scan}: {error}") from error
    if settings.lines is not None and settings.lines > found:
        raise InputError(f"lines: found {settings.lines}, but {settings.scan} has {found} calibration lines")
    return scan, settings.lines or found


def expectation(settings: MapsSettings) -> dict[str, Any]:
    """Return what `maps` would write, after checking the scan."""
    scan, lines = _read(settings)
    size = scan.data.size * 8
    return {"writes": maps_path(settings), "slices": len(scan), "calibration_lines": lines, "bytes": size}


def _estimate(settings: MapsSettings, kspace: NDArray[np.complex64], lines: int) -> NDArray[np.complex64]:
    from skiagraph.data.maps import EspiritSettings, espirit, espirit_sigpy

    if settings.method == "sigpy":
        return espirit_sigpy(kspace, lines, crop=settings.crop)
    return espirit(kspace, lines, EspiritSettings(crop=settings.crop))


def write_maps(settings: MapsSettings, on_progress: OnProgress = silent) -> MapsResult:
    """Estimate the maps of every chosen slice and write them in one file.

    Args:
        settings: scan, slices and method.
        on_progress: told about every slice.
    """
    import numpy as np

    from skiagraph.config import resolved
    from skiagraph.data import map_files
    from skiagraph.data.archives import file_sha256

    scan, lines = _read(settings)
    maps = []
    for done, kspace in enumerate(scan.calibrating[0]):
        on_progress("coil maps", done, len(scan))
        maps.append(_estimate(settings, kspace, lines))
    on_progress("coil maps", len(scan), len(scan))
    made = {name: value for name, value in resolved(settings).items() if name in ("method", "crop")}
    result = map_files.CoilMaps(
        np.stack(maps), scan.slices, file_sha256(settings.scan), {**made, "calibration_lines": lines}
    )
    path = map_files.write_maps(maps_path(settings), result)
    return MapsResult(path, result.maps.shape, lines)
