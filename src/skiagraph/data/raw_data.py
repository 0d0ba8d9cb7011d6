"""k-space files in ISMRMRD, the open raw-data format of MR scanners."""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.encoding import Encoding, build_header, remove_oversampling
from skiagraph.data.files import existing_file, write_whole
from skiagraph.data.kspace import KSpace, SliceChoice, select_slices
from skiagraph.data.raw_lines import PlacedLines, SortedLines, noise_samples, place_lines, read_lines, sort_lines
from skiagraph.errors import DataError

__all__ = ["read_ismrmrd", "write_ismrmrd"]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def _affine(imaging: list[Any], order: list[int], spacing: tuple[float, float, float], shape: tuple[int, int]) -> Any:
    """Return the (4, 4) affine from the lines' directions and positions, or None when they are not given."""
    first = {int(line.idx.slice): line for line in reversed(imaging)}
    directions = [
        np.array(getattr(first[order[0]], name), dtype=np.float64) for name in ("read_dir", "phase_dir", "slice_dir")
    ]
    if any(abs(np.linalg.norm(direction) - 1) > 1e-3 for direction in directions):
        return None
    positions = [LPS_TO_RAS @ np.array(first[number].position, dtype=np.float64) for number in order]
    into = np.stack(
        [LPS_TO_RAS @ direction * step for direction, step in zip(directions, spacing, strict=True)], axis=1
    )
    if len(positions) > 1:
        into[:, 2] = (positions[-1] - positions[0]) / (len(positions) - 1)
    affine = np.eye(4)
    affine[:3, :3] = into
    affine[:3, 3] = positions[0] - into @ np.array([shape[0] // 2, shape[1] // 2, 0.0])
    return affine if abs(np.linalg.det(into)) > 1e-9 else None


def read_ismrmrd(
    path: str | os.PathLike[str],
    *,
    group: str = "dataset",
    slices: SliceChoice = None,
    counters: Mapping[str, int] | None = None,
) -> KSpace:
    """Read a two-dimensional Cartesian ISMRMRD scan: lines placed by their counters, averages averaged.

    Readout oversampling is removed in the image domain; steps that the header does not count are padding; calibration
    lines fill gaps of the image where they belong to the same scan, and are kept apart where the header calls them
    separate. Noise lines (else the scatter of repeated lines) become `noise_scan`. The affine comes from the lines'
    positions and directions (patient axes left, posterior, superior in the file).

    Refused, naming what was found: other trajectories, several partitions, echo-planar lines, slices with different
    sampled columns, and several contrasts, phases, repetitions or sets unless `counters` chooses one.
    """
    file = existing_file(path, "an ISMRMRD file")
    encoding, lines = read_lines(file, group)
    if encoding.trajectory != "cartesian":
        raise DataError(f"{file}: the trajectory is {encoding.trajectory!r}; only 'cartesian' is read")
    kinds = sort_lines(lines, counters or {}, file)
    numbers = sorted({int(line.idx.slice) for line in kinds.imaging})
    chosen = select_slices(len(numbers), slices, str(file))
    order = [numbers[index] for index in chosen]
    placed, calibration = _with_calibration(kinds, encoding, order, file)
    sampled = placed.counts > 0
    if (sampled != sampled[0]).any():
        raise DataError(f"{file}: slices were sampled at different columns; read them one at a time with `slices`")
    rows, columns = placed.data.shape[-2:]
    kept = encoding.kept_rows(rows)
    spacing = (encoding.encoded_mm[0] / rows, encoding.encoded_mm[1] / columns, encoding.image_mm[2])
    affine = _affine(kinds.imaging, order, spacing, (kept, columns))
    gap = spacing[2] / max(1, encoding.image[2]) if affine is None else float(np.linalg.norm(affine[:3, 2]))
    averages = placed.counts[:, sampled[0]]
    return KSpace(
        data=remove_oversampling(placed.data, kept) * sampled[0].astype(np.float32),
        mask=sampled[0],
        field_of_view_mm=(spacing[0] * kept, encoding.encoded_mm[1]),
        slice_spacing_mm=gap,
        affine=affine,
        image_shape=(min(kept, encoding.image[0]), encoding.image_columns(columns)),
        noise_scan=noise_samples(kinds, encoding, int(averages.min())),
        calibration=None if calibration is None else remove_oversampling(calibration, kept),
        measurable=_measurable(encoding, sampled[0]),
        slices=tuple(chosen),
        provenance=encoding.provenance,
        dwell_us=float(kinds.imaging[0].sample_time_us),
        averages=int(averages.min()),
        notes=(*kinds.notes, *_notes(placed, averages)),
        source=file.name,
    )


def _with_calibration(
    kinds: SortedLines, encoding: Encoding, order: list[int], file: Path
) -> tuple[PlacedLines, NDArray[np.complex64] | None]:
    """Place the image's lines, and calibration lines in their gaps or, where they are a scan of their own, apart."""
    placed = place_lines(kinds.imaging, encoding, order, file)
    if not kinds.calibration:
        return placed, None
    extra = place_lines(kinds.calibration, encoding, order, file)
    if extra.data.shape != placed.data.shape:
        raise DataError(
            f"{file}: calibration lines have {extra.data.shape[1]} coils, the image's {placed.data.shape[1]}; "
            "one count is needed"
        )
    if encoding.separate_calibration:
        return placed, extra.data
    gaps = placed.counts == 0
    data = np.where(gaps[:, None, None, :], extra.data, placed.data)
    counts = np.where(gaps, extra.counts, placed.counts)
    return PlacedLines(data, counts, placed.partial or extra.partial), None


def _measurable(encoding: Encoding, sampled: NDArray[np.bool_]) -> tuple[int, int]:
    """First and one-past-last column of the header's limits, and no less than what was sampled."""
    first, stop = encoding.measured_columns(sampled.size)
    where = np.flatnonzero(sampled)
    return (min(first, int(where[0])), max(stop, int(where[-1]) + 1)) if where.size else (first, stop)


def _notes(placed: PlacedLines, averages: NDArray[np.int64]) -> list[str]:
    notes = []
    if placed.partial:
        notes.append("Lines don't span the whole readout (partial echo); the samples that are missing count as zero.")
    if averages.min() != averages.max():
        notes.append(
            f"Lines were averaged {averages.min()} to {averages.max()} times; the noise of the least averaged is used "
            "for all."
        )
    return notes


def _line(data: NDArray[np.complex64], slot: int, column: int, geometry: dict[str, Any]) -> Any:
    """Make one acquisition from (coils, samples)."""
    import ismrmrd

    line = ismrmrd.Acquisition.from_array(np.ascontiguousarray(data, dtype=np.complex64))
    line.center_sample = data.shape[1] // 2
    line.idx.slice = slot
    line.idx.kspace_encode_step_1 = column
    for name, value in geometry.items():
        getattr(line, name)[:] = value
    return line


def _directions(affine: NDArray[np.float64], shape: tuple[int, int], slot: int) -> dict[str, Any]:
    """Return position and directions of one slice in patient axes (left, posterior, superior)."""
    into = affine[:3, :3]
    unit = into / np.linalg.norm(into, axis=0)
    centre = affine[:3, 3] + into @ np.array([shape[0] // 2, shape[1] // 2, float(slot)])
    names = ("read_dir", "phase_dir", "slice_dir")
    turned = {name: tuple(float(v) for v in LPS_TO_RAS @ unit[:, axis]) for axis, name in enumerate(names)}
    return {**turned, "position": tuple(float(v) for v in LPS_TO_RAS @ centre)}


def write_ismrmrd(path: str | os.PathLike[str], scan: KSpace) -> Path:
    """Write a scan as ISMRMRD, whole or not at all: sampled lines only, noise lines first; the truth is not written."""
    import h5py
    import ismrmrd

    target = Path(path)
    slices, coils, rows, columns = scan.data.shape
    image = scan.image_shape or (rows, columns)
    step = scan.spacing_mm
    encoding = Encoding(
        encoded=(rows, columns, 1),
        image=(image[0], image[1], 1),
        encoded_mm=(*scan.field_of_view_mm, scan.slice_spacing_mm),
        image_mm=(scan.field_of_view_mm[0], image[1] * step[1], scan.slice_spacing_mm),
        centre=columns // 2,
        last=columns - 1,
        provenance=scan.provenance,
    )
    lines = []
    noise = np.zeros((coils, 0), dtype=np.complex64) if scan.noise_scan is None else scan.noise_scan
    for first in range(0, noise.shape[1], 4096):
        line = _line(noise[:, first : first + 4096], 0, 0, {})
        line.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        lines.append(line)
    for slot in range(slices):
        geometry = {} if scan.affine is None else _directions(scan.affine, (rows, columns), slot)
        lines.extend(
            _line(scan.data[slot, :, :, column], slot, int(column), geometry) for column in np.flatnonzero(scan.mask)
        )
    buffer = BytesIO()
    with h5py.File(buffer, "w") as content:
        group = ismrmrd.file.Container(content.require_group("dataset"))
        group.header = ismrmrd.xsd.CreateFromDocument(build_header(encoding, coils, slices))
        group.acquisitions = lines
    return write_whole(target, buffer.getbuffer())
