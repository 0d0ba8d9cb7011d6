"""Coil sensitivity maps on disk, beside the scan they were estimated from."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.files import existing_file, write_whole
from skiagraph.errors import DataError

__all__ = ["CoilMaps", "read_maps", "write_maps"]

FORMAT = "skiagraph coil maps 1"


@dataclass(frozen=True, eq=False)
class CoilMaps:
    """Maps of some slices of a scan.

    Attributes:
        maps: (S, coils, H, W) complex64, unit root-sum-of-squares over coils where not zero.
        slices: the S slice indices in the scan.
        scan_sha256: checksum of the scan file that they belong to.
        settings: how they were estimated, as JSON types.
    """

    maps: NDArray[np.complex64]
    slices: tuple[int, ...]
    scan_sha256: str
    settings: dict[str, Any]

    def __post_init__(self) -> None:
        if self.maps.ndim != 4 or self.maps.shape[0] != len(self.slices):
            raise DataError(
                f"coil maps have shape {self.maps.shape} for {len(self.slices)} slices; "
                "(slices, coils, rows, columns) is needed"
            )
        if not np.isfinite(self.maps).all():
            raise DataError("coil maps hold NaN or infinite values; estimate them again")


def write_maps(path: str | os.PathLike[str], maps: CoilMaps) -> Path:
    """Write maps as HDF5, whole or not at all: `maps`, `slices`, and what they belong to as attributes."""
    import h5py

    buffer = BytesIO()
    with h5py.File(buffer, "w") as content:
        content.attrs["format"] = FORMAT
        content.attrs["scan_sha256"] = maps.scan_sha256
        content.attrs["settings"] = json.dumps(maps.settings, sort_keys=True)
        content.create_dataset("maps", data=maps.maps)
        content.create_dataset("slices", data=np.asarray(maps.slices, dtype=np.int64))
    return write_whole(path, buffer.getbuffer())


def read_maps(path: str | os.PathLike[str]) -> CoilMaps:
    """Read maps that `write_maps` wrote; DataError for any other file."""
    import h5py

    file = existing_file(path, "a file of coil maps")
    try:
        with h5py.File(file, "r") as content:
            if content.attrs.get("format") != FORMAT:
                raise DataError(f"{file} holds no coil maps of this library; make some with `skiagraph maps SCAN`")
            return CoilMaps(
                maps=np.asarray(content["maps"], dtype=np.complex64),
                slices=tuple(int(index) for index in content["slices"]),
                scan_sha256=str(content.attrs["scan_sha256"]),
                settings=json.loads(content.attrs["settings"]),
            )
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{file} is not a readable file of coil maps ({error})") from error
