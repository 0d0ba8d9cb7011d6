"""k-space files in ISMRMRD, the open raw-data format of MR scanners."""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.encoding import Encoding, build_header, parse_header, remove_oversampling
from skiagraph.data.files import existing_file, write_whole
from skiagraph.data.kspace import KSpace, select_slices
from skiagraph.errors import DataError

__all__ = ["read_ismrmrd", "write_ismrmrd"]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def _read_lines(file: Path, group: str) -> tuple[Encoding, list[Any]]:
    """Return the header's encoding and every acquisition of the group."""
    import ismrmrd

    try:
        with ismrmrd.File(str(file), "r") as content:
            if group not in content:
                raise DataError(f"{file} has no group {group!r}; it has {sorted(content.keys())}")
            part = content[group]
            keys = sorted(part._contents)
            if "xml" not in keys or "data" not in keys:
                raise DataError(f"{file}: the group {group!r} has the keys {keys}; ISMRMRD needs 'xml' and 'data'")
            encoding = parse_header(part._contents["xml"][0], str(file))
            lines = part.acquisitions[:]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{file} is a truncated or damaged ISMRMRD file ({error}); copy or export it again") from error
    return encoding, lines


def _sort(lines: list[Any], file: Path) -> tuple[list[Any], list[Any]]:
    """Part imaging and calibration lines from noise lines; navigators and corrections are left out."""
    import ismrmrd

    ignored = (
        ismrmrd.ACQ_IS_NAVIGATION_DATA,
        ismrmrd.ACQ_IS_PHASECORR_DATA,
        ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
        ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
        ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
        ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA,
    )
    noise = [line for line in lines if line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)]
    imaging = [
        line
        for line in lines
        if not line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        and not any(line.is_flag_set(flag) for flag in ignored)
    ]
    if not imaging:
        raise DataError(f"{file}: none of the {len(lines)} acquisitions is an imaging line")
    if any(line.is_flag_set(ismrmrd.ACQ_IS_REVERSE) for line in imaging):
        raise DataError(
            f"{file}: lines are marked as reversed (echo-planar); only line-by-line Cartesian scans are read"
        )
    for name in ("kspace_encode_step_2", "contrast", "phase", "repetition", "set"):
        values = sorted({int(getattr(line.idx, name)) for line in imaging})
        if len(values) > 1:
            raise DataError(f"{file}: {name} takes the values {values}; one two-dimensional image per slice is read")
    return imaging, noise


def _place(
    imaging: list[Any], encoding: Encoding, order: list[int], file: Path
) -> tuple[NDArray[np.complex64], NDArray[np.bool_]]:
    """Put lines into (S, coils, H, W), averaging repeated ones; return it and the (S, W) sampled columns."""
    coils = int(imaging[0].active_channels)
    height, width = encoding.encoded[0], encoding.encoded[1]
    data = np.zeros((len(order), coils, height, width), dtype=np.complex64)
    counts = np.zeros((len(order), width), dtype=np.int64)
    where = {number: position for position, number in enumerate(order)}
    for line in imaging:
        if int(line.idx.slice) not in where:
            continue
        if int(line.active_channels) != coils:
            raise DataError(f"{file}: lines have {coils} and {int(line.active_channels)} coils; one count is needed")
        row = height // 2 - int(line.center_sample) + int(line.discard_pre)
        column = int(line.idx.kspace_encode_step_1) - encoding.centre + width // 2
        samples = line.data[:, int(line.discard_pre) : line.data.shape[1] - int(line.discard_post)]
        if row < 0 or row + samples.shape[1] > height or not 0 <= column < width:
            raise DataError(
                f"{file}: a line of {samples.shape[1]} samples (centre {int(line.center_sample)}) at step "
                f"{int(line.idx.kspace_encode_step_1)} does not fit the header's matrix {height}x{width}"
            )
        slot = where[int(line.idx.slice)]
        data[slot, :, row : row + samples.shape[1], column] += samples
        counts[slot, column] += 1
    data /= np.maximum(counts, 1)[:, None, None, :].astype(np.float32)
    return data, counts > 0


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
    path: str | os.PathLike[str], *, group: str = "dataset", slices: Sequence[int] | None = None
) -> KSpace:
    """Read a two-dimensional Cartesian ISMRMRD scan: lines placed by their counters, averages averaged.

    Noise lines become `noise_scan`; readout oversampling is removed; the affine comes from the lines' positions and
    directions (patient axes left, posterior, superior in the file). Refused, naming what was found: other
    trajectories, several partitions, contrasts, phases, repetitions or sets, echo-planar lines, and slices with
    different sampled columns.
    """
    file = existing_file(path, "an ISMRMRD file")
    encoding, lines = _read_lines(file, group)
    if encoding.trajectory != "cartesian":
        raise DataError(f"{file}: the trajectory is {encoding.trajectory!r}; only 'cartesian' is read")
    imaging, noise = _sort(lines, file)
    numbers = sorted({int(line.idx.slice) for line in imaging})
    order = [numbers[index] for index in select_slices(len(numbers), slices, str(file))]
    data, sampled = _place(imaging, encoding, order, file)
    if (sampled != sampled[0]).any():
        raise DataError(f"{file}: slices were sampled at different columns; read them one at a time with `slices`")
    rows = data.shape[-2]
    wanted = round(rows * encoding.image_mm[0] / encoding.encoded_mm[0])
    kept = min(rows, wanted + wanted % 2)
    spacing = (encoding.encoded_mm[0] / rows, encoding.encoded_mm[1] / data.shape[-1], encoding.image_mm[2])
    affine = _affine(imaging, order, spacing, (kept, data.shape[-1]))
    gap = spacing[2] / max(1, encoding.image[2]) if affine is None else float(np.linalg.norm(affine[:3, 2]))
    return KSpace(
        data=remove_oversampling(data, kept) * sampled[0].astype(np.float32),
        mask=sampled[0],
        field_of_view_mm=(spacing[0] * kept, encoding.encoded_mm[1]),
        slice_spacing_mm=gap,
        affine=affine,
        image_shape=(min(kept, encoding.image[0]), min(data.shape[-1], encoding.image[1])),
        noise_scan=np.concatenate([line.data for line in noise], axis=1).astype(np.complex64) if noise else None,
        source=file.name,
    )


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
