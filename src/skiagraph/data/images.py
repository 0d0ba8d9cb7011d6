"""Stacks of magnitude images, whatever file they lie in: NIfTI volumes, or HDF5 files with a named array."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.files import existing_file
from skiagraph.data.volume import read_nifti
from skiagraph.errors import DataError, InputError

__all__ = ["IMAGE_KEYS", "ImageStack", "read_images"]

IMAGE_KEYS = ("mean", "reconstruction", "reconstruction_rss", "reconstruction_esc")
"""Names under which this library's and fastMRI's HDF5 files hold images, in the order they are looked for."""


@dataclass(frozen=True, eq=False)
class ImageStack:
    """Slices (S, rows, columns) float32, where they came from, and the file's affine (4, 4) to world mm, if any."""

    array: NDArray[np.float32]
    affine: NDArray[np.float64] | None
    source: str

    def __len__(self) -> int:
        return int(self.array.shape[0])


def read_images(
    path: str | os.PathLike[str], *, key: str | None = None, known: Sequence[str] = IMAGE_KEYS
) -> ImageStack:
    """Read magnitude images; complex ones become magnitudes.

    Args:
        path: a NIfTI file, whose third axis counts slices, or an HDF5 file with (slices, rows, columns).
        key: name of the array in an HDF5 file; default the first of `known` that is there.
        known: names to look for.

    Raises DataError for a missing, damaged or foreign file, another number of axes, and values that are not finite.
    """
    file = existing_file(path, "a NIfTI or HDF5 file with images")
    with open(file, "rb") as stream:
        is_hdf5 = stream.read(8) == b"\x89HDF\r\n\x1a\n"
    if is_hdf5:
        return _read_hdf5(file, key, known)
    if key is not None:
        raise InputError(f"key: found {key!r}, but {file} is not an HDF5 file; only those hold named arrays")
    volume = read_nifti(file)
    return ImageStack(np.ascontiguousarray(np.moveaxis(volume.array, 2, 0)), volume.affine, file.name)


def _read_hdf5(file: Path, key: str | None, known: Sequence[str]) -> ImageStack:
    import h5py

    try:
        with h5py.File(file, "r") as content:
            array = np.asarray(_dataset(content, file, key, known))
            affine = content.attrs.get("affine")
    except (OSError, KeyError) as error:
        raise DataError(f"{file} is a truncated or damaged HDF5 file ({error}); copy or export it again") from error
    if array.ndim != 3 or array.dtype.kind not in "fciu":
        raise DataError(
            f"{file}: the array has shape {array.shape}, type {array.dtype}; (slices, rows, columns) is needed"
        )
    if not np.isfinite(array).all():
        raise DataError(f"{file}: {int((~np.isfinite(array)).sum())} values are NaN or infinite; none may be")
    image = (np.abs(array) if array.dtype.kind == "c" else array).astype(np.float32)
    return ImageStack(image, None if affine is None else np.asarray(affine, dtype=np.float64).reshape(4, 4), file.name)


def _dataset(content: Any, file: Path, key: str | None, known: Sequence[str]) -> Any:
    import h5py

    arrays = [name for name, item in content.items() if isinstance(item, h5py.Dataset)]
    if key is None:
        key = next((name for name in known if name in arrays), None)
        if key is None:
            raise DataError(f"{file} holds none of {', '.join(known)}; it has {arrays}. Name one with `key`")
    elif key not in arrays:
        raise InputError(f"key: found {key!r}, but {file} has {arrays}")
    return content[key]
