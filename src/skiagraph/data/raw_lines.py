"""Acquisitions of an ISMRMRD file: which are image, calibration and noise, and where each lies in k-space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.encoding import Encoding, parse_header
from skiagraph.errors import DataError, InputError

__all__ = [
    "COUNTERS",
    "PlacedLines",
    "SortedLines",
    "noise_samples",
    "place_lines",
    "read_lines",
    "scaled_noise",
    "sort_lines",
]

COUNTERS = ("contrast", "phase", "repetition", "set")
"""Encoding counters that number whole images; one value of each is read."""

ENOUGH_NOISE = 1 << 15


@dataclass(frozen=True)
class SortedLines:
    """Acquisitions by purpose.

    Attributes:
        imaging: lines of the image, embedded calibration lines included.
        calibration: lines for calibration only.
        noise: noise lines with as many coils as the image.
        notes: what a reader must know of the lines left out.
    """

    imaging: list[Any]
    calibration: list[Any]
    noise: list[Any]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class PlacedLines:
    """Lines in their place.

    Attributes:
        data: (S, coils, H, W) complex64, repeated lines averaged, zero where nothing was measured.
        counts: (S, W) how many lines were averaged.
        partial: a line did not span the whole readout.
    """

    data: NDArray[np.complex64]
    counts: NDArray[np.int64]
    partial: bool


def read_lines(file: Path, group: str) -> tuple[Encoding, list[Any]]:
    """Return the header's encoding and every acquisition of the group; DataError for damaged files."""
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


def sort_lines(lines: list[Any], counters: Mapping[str, int], file: Path) -> SortedLines:
    """Part lines by their flags, and keep the image that `counters` choose.

    Navigators, corrections and lines of other encodings than the first are left out. Raises DataError where no imaging
    line is there, for echo-planar and three-dimensional scans, and where a counter takes several values and none is
    chosen; InputError for a counter or value that the file does not have.
    """
    import ismrmrd

    noise = [line for line in lines if line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)]
    rest = [line for line in lines if not line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT) and not _ignored(line)]
    first = [line for line in rest if int(line.encoding_space_ref) == 0]
    calibration = [line for line in first if _calibration_only(line)]
    imaging = [line for line in first if not _calibration_only(line)]
    if not imaging:
        raise DataError(f"{file}: none of the {len(lines)} acquisitions is an imaging line")
    if any(line.is_flag_set(ismrmrd.ACQ_IS_REVERSE) for line in imaging):
        raise DataError(
            f"{file}: lines are marked as reversed (echo-planar); only line-by-line Cartesian scans are read"
        )
    steps = sorted({int(line.idx.kspace_encode_step_2) for line in imaging})
    if len(steps) > 1:
        raise DataError(f"{file}: kspace_encode_step_2 takes the values {steps}; only two-dimensional scans are read")
    imaging = _chosen(imaging, counters, file)
    alike = [line for line in calibration if all(getattr(line.idx, n) == v for n, v in counters.items())]
    notes = []
    if len(first) < len(rest):
        notes.append(f"{len(rest) - len(first)} lines of other encodings than the first are left out")
    fitting = [line for line in noise if line.active_channels == imaging[0].active_channels]
    if len(fitting) < len(noise):
        notes.append(f"{len(noise) - len(fitting)} noise lines of another number of coils are left out")
    return SortedLines(imaging, alike or calibration, fitting, tuple(notes))


def _ignored(line: Any) -> bool:
    import ismrmrd

    flags = (
        ismrmrd.ACQ_IS_NAVIGATION_DATA,
        ismrmrd.ACQ_IS_PHASECORR_DATA,
        ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
        ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
        ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
        ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA,
        ismrmrd.ACQ_IS_PHASE_STABILIZATION,
        ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE,
    )
    return any(line.is_flag_set(flag) for flag in flags)


def _calibration_only(line: Any) -> bool:
    import ismrmrd

    return bool(
        line.is_flag_set(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
        and not line.is_flag_set(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
    )


def _chosen(imaging: list[Any], counters: Mapping[str, int], file: Path) -> list[Any]:
    """Return the lines of the chosen counters."""
    unknown = sorted(set(counters) - set(COUNTERS))
    if unknown:
        raise InputError(f"counters: found {', '.join(unknown)}; allowed: {', '.join(COUNTERS)}")
    for name in COUNTERS:
        values = sorted({int(getattr(line.idx, name)) for line in imaging})
        if name in counters and counters[name] not in values:
            raise InputError(f"counters: {name} {counters[name]} is not in {file}; it has {values}")
        if name not in counters and len(values) > 1:
            raise DataError(
                f"{file}: {name} takes the values {values}; one two-dimensional image per slice is read: choose one "
                f"with counters (--counters {name} {values[0]})"
            )
        imaging = [line for line in imaging if int(getattr(line.idx, name)) == counters.get(name, values[0])]
    return imaging


def place_lines(lines: list[Any], encoding: Encoding, order: list[int], file: Path) -> PlacedLines:
    """Put lines of the slices in `order` into k-space, averaging repeated ones.

    A line's centre sample goes to row H // 2, the header's centre step to column W // 2.
    """
    coils = int(lines[0].active_channels)
    height, width = encoding.encoded[0], encoding.encoded[1]
    data = np.zeros((len(order), coils, height, width), dtype=np.complex64)
    counts = np.zeros((len(order), width), dtype=np.int64)
    where = {number: position for position, number in enumerate(order)}
    partial = False
    for line in lines:
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
        partial = partial or samples.shape[1] < height
    data /= np.maximum(counts, 1)[:, None, None, :].astype(np.float32)
    return PlacedLines(data, counts, partial)


def noise_samples(lines: SortedLines, encoding: Encoding, averages: int) -> NDArray[np.complex64] | None:
    """Noise alone (coils, N) at the level of the averaged image lines, from noise lines or from repeated lines.

    Noise lines of another bandwidth are scaled: variance goes with 1 / dwell time, and with 1 / b where the header
    states the relative noise bandwidth b of the receiver. Without noise lines, the deviations of repeated lines from
    their mean serve, times sqrt(k / (k - 1)) for k repetitions. None where there is neither.
    """
    if lines.noise:
        return scaled_noise(lines.noise, encoding, float(lines.imaging[0].sample_time_us), averages)
    return _deviations(lines.imaging, averages)


def scaled_noise(noise: list[Any], encoding: Encoding, dwell_us: float, averages: int) -> NDArray[np.complex64]:
    """Samples (coils, N) of noise lines, at the level of image lines of another dwell time and number of averages.

    Args:
        noise: noise lines of one number of coils and one dwell time.
        encoding: of the file that holds them; states the relative noise bandwidth.
        dwell_us: time of one sample of the image lines; 0 where it is not known, and taken to be that of the noise.
        averages: image lines that were averaged.
    """
    whole = np.concatenate([line.data for line in noise], axis=1)
    own = float(noise[0].sample_time_us)
    ratio = own / (dwell_us * encoding.noise_bandwidth) if own > 0 and dwell_us > 0 else 1.0
    scaled: NDArray[np.complex64] = (whole * np.sqrt(ratio / averages)).astype(np.complex64)
    return scaled


def _deviations(imaging: list[Any], averages: int) -> NDArray[np.complex64] | None:
    """Deviations of repeated lines from their mean, at the noise level of the mean of `averages` lines."""
    groups: dict[tuple[int, int], list[Any]] = {}
    for line in imaging:
        groups.setdefault((int(line.idx.slice), int(line.idx.kspace_encode_step_1)), []).append(line)
    found: list[NDArray[Any]] = []
    samples = 0
    for group in groups.values():
        alike = [line.data for line in group if line.data.shape == group[0].data.shape]
        if len(alike) < 2 or samples >= ENOUGH_NOISE:
            continue
        stack = np.stack(alike)
        deviation = (stack - stack.mean(axis=0)) * np.sqrt(len(alike) / ((len(alike) - 1) * averages))
        found += list(deviation)
        samples += deviation.shape[0] * deviation.shape[2]
    return np.concatenate(found, axis=1).astype(np.complex64) if found else None
