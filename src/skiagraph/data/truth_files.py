"""What a simulated scan hides, in a file of its own: methods never read it, evaluation does."""

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
from skiagraph.data.kspace import read_kspace, select_slices
from skiagraph.errors import DataError, InputError

__all__ = ["HiddenTruth", "read_images", "write_truth"]

FORMAT = "skiagraph hidden truth 1"


@dataclass(frozen=True, eq=False)
class HiddenTruth:
    """Everything about a simulated scan that no method is given.

    Attributes:
        images: (S, H, W) float32, root-sum-of-squares of the noise-free, fully sampled coil images, in the scan's unit.
        maps: (S, coils, H, W) complex64, the coils' fields.
        object_mask: (S, H, W) bool, where the object is.
        covariance: (coils, coils) complex128, E[n n^H] / 2 of the noise.
        scan_sha256: checksum of the scan file that they belong to.
        record: what the scan was made from, as JSON types.
    """

    images: NDArray[np.float32]
    maps: NDArray[np.complex64]
    object_mask: NDArray[np.bool_]
    covariance: NDArray[np.complex128]
    scan_sha256: str
    record: dict[str, Any]


def write_truth(path: str | os.PathLike[str], truth: HiddenTruth) -> Path:
    """Write the truth as HDF5, whole or not at all; `reconstruction_rss` holds the images, as in the fastMRI layout."""
    import h5py

    buffer = BytesIO()
    with h5py.File(buffer, "w") as content:
        content.attrs["format"] = FORMAT
        content.attrs["scan_sha256"] = truth.scan_sha256
        content.attrs["record"] = json.dumps(truth.record, sort_keys=True)
        content["reconstruction_rss"] = truth.images.astype(np.float32)
        content["hidden_maps"] = truth.maps.astype(np.complex64)
        content["object_mask"] = truth.object_mask
        content["noise_covariance"] = truth.covariance.astype(np.complex128)
    return write_whole(path, buffer.getbuffer())


def read_images(
    path: str | os.PathLike[str], slices: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None, str]:
    """Read reference images of some slices, and where the object is if the file says.

    Args:
        path: a file of `write_truth`, or a k-space file in the fastMRI layout with reference images.
        slices: their indices in the scan.

    Returns:
        (S, H, W) images, (S, H, W) bool or None, and the checksum of the scan that they belong to ("" if not stated).
    """
    import h5py

    file = existing_file(path, "a file with reference images")
    try:
        with h5py.File(file, "r") as content:
            if content.attrs.get("format") == FORMAT:
                index = select_slices(content["reconstruction_rss"].shape[0], slices, str(file))
                images = np.stack([content["reconstruction_rss"][i] for i in index]).astype(np.float32)
                inside = np.stack([content["object_mask"][i] for i in index]).astype(bool)
                return images, inside, str(content.attrs["scan_sha256"])
    except (OSError, KeyError) as error:
        if h5py.is_hdf5(file):
            raise DataError(
                f"{file} is a truncated or damaged file of hidden truth ({error}); make it again"
            ) from error
    images_found = read_kspace(file, slices=slices).truth
    if images_found is None:
        raise InputError(f"truth: {file} holds no reference images (key reconstruction_rss).")
    return images_found, None, ""
