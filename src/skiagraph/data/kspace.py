"""Cartesian multi-coil k-space of a stack of slices, whatever file it came from, and the checks it must pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.files import existing_file
from skiagraph.errors import DataError, InputError

__all__ = ["LEAST_CALIBRATION", "KSpace", "SliceChoice", "calibration_columns", "read_kspace", "select_slices"]

LEAST_CALIBRATION = 6
"""Contiguous lines about zero frequency that coil maps and the unit of intensity need."""

SliceChoice = Sequence[int] | Callable[[int], Sequence[int]] | None
"""Slices to keep: their indices, or a function from how many there are to the indices; None for all."""


@dataclass(frozen=True, eq=False)
class KSpace:
    """Measured k-space of S slices.

    Attributes:
        data: (S, coils, H, W) complex64, centred (zero frequency at H // 2, W // 2), zero where not sampled;
            rows are the readout, columns the phase encoding.
        mask: (W,) bool, sampled columns, the same for every slice.
        field_of_view_mm: (rows, columns) of the image of the whole k-space, readout oversampling removed.
        slice_spacing_mm: distance between slices.
        affine: (4, 4) from (row, column, slice) of that image to world mm (RAS+), or None where the file has none.
        image_shape: (rows, columns) that the scanner would crop the image to (its centre); at most (H, W).
        truth: (S, rows, columns) float32 reference image, if the file holds one.
        noise_scan: (coils, samples) complex64 noise alone, at the level of the noise in `data`, if the file holds one.
        noise_covariance: (coils, coils) complex128, E[n n^H] / 2, if the file states one.
        calibration: (S, coils, H, W) complex64, calibration lines of a scan of their own (another contrast perhaps),
            zero elsewhere; None where the calibration lines are those of `data`.
        measurable: first and one-past-last column that the scan could have measured; the others are padding.
        slices: indices of the slices in the file.
        notes: what a reader must know of how the file was read.
        provenance: "measured", or "simulated k-space".
        dwell_us: time of one sample of the readout as it was acquired, in microseconds; 0 where the file says nothing.
        averages: fewest repetitions of a line that were averaged.
        source: file name or description; never a patient identifier.
    """

    data: NDArray[np.complex64]
    mask: NDArray[np.bool_]
    field_of_view_mm: tuple[float, float]
    slice_spacing_mm: float
    affine: NDArray[np.float64] | None = None
    image_shape: tuple[int, int] | None = None
    truth: NDArray[np.float32] | None = None
    noise_scan: NDArray[np.complex64] | None = None
    source: str = field(default="")
    noise_covariance: NDArray[np.complex128] | None = None
    calibration: NDArray[np.complex64] | None = None
    measurable: tuple[int, int] | None = None
    slices: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    provenance: str = "measured"
    dwell_us: float = 0.0
    averages: int = 1

    def __post_init__(self) -> None:
        if self.data.ndim != 4 or 0 in self.data.shape:
            raise DataError(
                f"{self.source}: k-space has shape {self.data.shape}; (slices, coils, rows, columns) is needed"
            )
        if self.mask.shape != self.data.shape[-1:]:
            raise DataError(
                f"{self.source}: the mask has shape {self.mask.shape} but k-space has {self.data.shape[-1]} columns "
                f"(shape {self.data.shape}); one mask value per column is needed"
            )
        sizes = (*self.field_of_view_mm, self.slice_spacing_mm)
        if not all(np.isfinite(size) and size > 0 for size in sizes):
            raise DataError(f"{self.source}: field of view and slice spacing are {sizes} mm; positive sizes are needed")
        if self.image_shape is None:
            object.__setattr__(self, "image_shape", (int(self.data.shape[2]), int(self.data.shape[3])))
        if self.measurable is None:
            object.__setattr__(self, "measurable", (0, int(self.data.shape[3])))
        if not self.slices:
            object.__setattr__(self, "slices", tuple(range(len(self))))
        self._check_values()

    def _check_values(self) -> None:
        """Refuse NaN, slices without signal, masks that promise empty lines, and noise of other coils."""
        coils = self.data.shape[1]
        for name, noise in (("noise scan", self.noise_scan), ("noise covariance", self.noise_covariance)):
            if noise is not None and (noise.ndim != 2 or noise.shape[0] != coils):
                raise DataError(
                    f"{self.source}: the {name} has shape {noise.shape}, but k-space has {coils} coils; "
                    "one row for each is needed"
                )
        if not self.mask.any():
            raise DataError(f"{self.source}: the mask marks no column as sampled")
        broken = np.asarray(~np.isfinite(self.data).all(axis=(1, 2, 3)))
        if broken.any():
            raise DataError(
                f"{self.source}: k-space holds NaN or infinite values in {_which_slices(broken)}; {_way_out(broken)}"
            )
        present = np.any(self.data != 0, axis=(1, 2))
        empty = ~present.any(axis=1)
        if empty.any():
            raise DataError(f"{self.source}: k-space is all zero in {_which_slices(empty)}; {_way_out(empty)}")
        silent = self.mask & ~present.all(axis=0)
        if silent.any():
            raise DataError(
                f"{self.source}: the mask marks {int(self.mask.sum())} columns as sampled, but {int(silent.sum())} of "
                f"them hold no signal (the first: {np.flatnonzero(silent)[:8].tolist()}); mask and k-space don't match"
            )

    def __len__(self) -> int:
        return int(self.data.shape[0])

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Pixel size (row, column) and slice spacing of the image of the whole k-space, in mm."""
        rows, columns = self.data.shape[-2:]
        return self.field_of_view_mm[0] / rows, self.field_of_view_mm[1] / columns, self.slice_spacing_mm

    @property
    def calibrating(self) -> tuple[NDArray[np.complex64], NDArray[np.bool_]]:
        """k-space (S, coils, H, W) whose centre shows the coils, and its sampled columns (W,)."""
        if self.calibration is None:
            return self.data, self.mask
        return self.calibration, np.any(self.calibration != 0, axis=(0, 1, 2))

    @property
    def acceleration(self) -> float:
        """Columns that could be measured per sampled column: the effective acceleration, padding not counted."""
        first, stop = self.measurable or (0, self.mask.size)
        return float((stop - first) / self.mask.sum())

    def undersampled(self, mask: NDArray[Any]) -> KSpace:
        """Return a copy that keeps the columns of `mask` (W,) only; all of them must have been sampled."""
        wanted = np.asarray(mask).astype(bool)
        if wanted.shape != self.mask.shape:
            raise InputError(
                f"mask has shape {wanted.shape}; {self.mask.shape} is needed, one value per column of k-space"
            )
        missing = wanted & ~self.mask
        if missing.any():
            raise InputError(f"mask asks for {int(missing.sum())} columns that were not measured in {self.source}")
        return replace(self, data=self.data * wanted.astype(np.float32), mask=wanted)


def _which_slices(wrong: NDArray[np.bool_]) -> str:
    """Name the marked slices."""
    if wrong.all():
        return f"all {wrong.size} slices that were read" if wrong.size > 1 else "the one slice that was read"
    return f"{int(wrong.sum())} of {wrong.size} slices ({np.flatnonzero(wrong).tolist()})"


def _way_out(wrong: NDArray[np.bool_]) -> str:
    if wrong.all():
        return "export the file again, or choose others with `slices` if it holds more"
    return "leave these out with `slices` or export the file again"


def calibration_columns(mask: NDArray[Any], *, least: int = LEAST_CALIBRATION) -> int:
    """Return how many columns around the centre W // 2 are sampled without a gap, as a symmetric count.

    Args:
        mask: (W,) sampled columns.
        least: smallest count that will do; DataError below it.
    """
    sampled = np.asarray(mask).astype(bool)
    centre = sampled.size // 2
    before = after = 0
    while centre - before - 1 >= 0 and sampled[centre - before - 1]:
        before += 1
    while centre + after < sampled.size and sampled[centre + after]:
        after += 1
    count = min(2 * min(before, after) + (1 if before < after else 0), sampled.size)
    if count < least:
        found = f"{count} calibration {'line' if count == 1 else 'lines'}"
        raise DataError(
            f"the mask has {found} without a gap around the centre column {centre}; at least {least} are needed to "
            "estimate coil maps. Scan with calibration lines, or give coil maps"
        )
    return count


def _kind(file: Path) -> str:
    """Name what a file that is not HDF5 looks like, from its first bytes."""
    with open(file, "rb") as stream:
        start = stream.read(352)
    known = {b"\x1f\x8b": "gzip (a compressed NIfTI?)", b"PK": "zip", b"MATLAB 5": "MATLAB 5", b"\x93NUMPY": "numpy"}
    for magic, name in known.items():
        if start.startswith(magic):
            return name
    if start[128:132] == b"DICM":
        return "DICOM: it holds images, not k-space"
    if start[344:348] in (b"n+1\0", b"ni1\0"):
        return "NIfTI: it holds images, not k-space"
    return f"unknown, first bytes {start[:8]!r}"


def read_kspace(
    path: str | os.PathLike[str], *, slices: SliceChoice = None, counters: Mapping[str, int] | None = None
) -> KSpace:
    """Read k-space from a file in the fastMRI layout or in ISMRMRD, told apart by content, never by name.

    Args:
        path: an HDF5 file with `kspace` (fastMRI) or with a group that holds `xml` and `data` (ISMRMRD).
        slices: the slices to keep, in this order; default all.
        counters: which contrast, phase, repetition or set of an ISMRMRD file, by name.

    Readout oversampling is removed, and columns that the header marks as padding count as not sampled. Raises DataError
    for a missing, truncated or foreign file, a missing key, NaN or empty k-space and a mask of another size.
    """
    import h5py

    file = existing_file(path, "an HDF5 k-space file")
    try:
        with h5py.File(file, "r") as content:
            keys = sorted(content)
            groups = [key for key in keys if isinstance(content[key], h5py.Group) and "data" in content[key]]
    except OSError as error:
        if "truncated" in str(error) or h5py.is_hdf5(file):
            raise DataError(f"{file} is a truncated or damaged HDF5 file ({error}); copy or export it again") from error
        raise DataError(f"{file} is not an HDF5 file: its format is {_kind(file)}") from error
    if "kspace" in keys:
        from skiagraph.data.fastmri import read_fastmri

        if counters:
            raise InputError(f"counters: found {dict(counters)}, but {file} is no ISMRMRD file: it has slices only")
        return read_fastmri(file, slices=slices)
    if groups:
        from skiagraph.data.raw_data import read_ismrmrd

        return read_ismrmrd(file, group=groups[0], slices=slices, counters=counters)
    raise DataError(
        f"{file} has the keys {keys}; 'kspace' (fastMRI layout) or a group with 'xml' and 'data' (ISMRMRD) is needed"
    )


def select_slices(count: int, slices: SliceChoice, source: str) -> list[int]:
    """Return valid slice indices; InputError names the range there is."""
    if slices is None:
        return list(range(count))
    wanted = [int(index) for index in (slices(count) if callable(slices) else slices)]
    wrong = [index for index in wanted if not 0 <= index < count]
    if wrong or not wanted:
        raise InputError(f"slices are {wanted}; {source} has slices 0 to {count - 1}")
    return wanted
