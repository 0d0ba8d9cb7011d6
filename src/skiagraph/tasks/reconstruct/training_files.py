"""Training scans from k-space files: one resolution and matrix, any number of coils, each file with its one mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skiagraph.data.kspace import KSpace, read_kspace
from skiagraph.errors import InputError
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.reconstruct.prepare import Treatment, prepare_scan
from skiagraph.tasks.reconstruct.scan import PreparedScan

__all__ = ["scans_from_files", "stored_shape"]


def stored_shape(file: Path) -> tuple[int, int, int, int] | None:
    """(slices, coils, rows, columns) as a file in the fastMRI layout stores them; None for others and missing ones."""
    import h5py

    if not file.is_file() or not h5py.is_hdf5(file):
        return None
    with h5py.File(file, "r") as content:
        shape: tuple[int, ...] = content["kspace"].shape if "kspace" in content else ()
    if len(shape) not in (3, 4):
        return None
    return int(shape[0]), int(shape[1]) if len(shape) == 4 else 1, int(shape[-2]), int(shape[-1])


def scans_from_files(
    files: Sequence[Path],
    treatment: Treatment | None = None,
    on_progress: OnProgress = silent,
    *,
    counters: Mapping[str, int] | None = None,
) -> tuple[PreparedScan, list[dict[str, Any]]]:
    """Read and prepare k-space files of one matrix and resolution.

    Args:
        files: k-space files; those of fewer coils get coils of zeros.
        treatment: pre-whitening and coil compression, the same for all.
        on_progress: told about every file.
        counters: which contrast, phase, repetition or set of ISMRMRD files, by name.

    Returns:
        The slices, and a record of each file: name, licence, pixel size, warnings, and how it was prepared.
    """
    parts: list[PreparedScan] = []
    records: list[dict[str, Any]] = []
    first: KSpace | None = None
    for done, file in enumerate(files):
        on_progress("training scans", done, len(files))
        scan = read_kspace(file, counters=counters)
        first = first or scan
        _check_alike(file, scan, files[0], first)
        prepared = prepare_scan(scan, file, treatment)
        parts.append(prepared.scan)
        records.append(
            {
                "name": file.name,
                "licence": "not stated",
                "provenance": scan.provenance,
                "spacing_mm": list(first.spacing_mm[:2]),
                "treatment": prepared.record,
                "warnings": [f"{file.name}: {warning}" for warning in prepared.warnings],
            }
        )
    on_progress("training scans", len(files), len(files))
    return PreparedScan.join(parts), records


def _check_alike(file: Path, scan: KSpace, known: Path, first: KSpace) -> None:
    """Refuse files of several matrices or resolutions."""
    if scan.data.shape[2:] != first.data.shape[2:]:
        raise InputError(
            f"data: {file} has (rows, columns) {scan.data.shape[2:]}, but {known} has {first.data.shape[2:]}; "
            "one prior learns from scans of one size: train one for each."
        )
    pairs = list(zip(scan.spacing_mm[:2], first.spacing_mm[:2], strict=True))
    if any(abs(here - there) > 0.05 * there for here, there in pairs):
        raise InputError(
            f"data: {file} has pixels of {pairs[0][0]:.2f} x {pairs[1][0]:.2f} mm, but {known} of {pairs[0][1]:.2f} x "
            f"{pairs[1][1]:.2f} mm; one prior learns from scans of one resolution: train one for each."
        )
