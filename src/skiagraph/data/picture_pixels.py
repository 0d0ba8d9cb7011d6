"""PNG, JPEG and TIFF files, slices of NIfTI volumes, and arrays of normalised images, as raw pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from skiagraph.data.files import existing_file
from skiagraph.data.image_readers import RawPixels
from skiagraph.data.pictures import read_picture
from skiagraph.data.volume import read_nifti
from skiagraph.errors import DataError

__all__ = ["SUFFIXES", "VOLUMES", "read_array_pixels", "read_picture_pixels", "read_volume_pixels"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
VOLUMES = (".nii", ".nii.gz")


def read_picture_pixels(path: Path, channels: int | None) -> RawPixels:
    """Read an image file of 8 or 16 bit, turned upright; the range of its bits is its range of intensities.

    Args:
        path: the file; of several pages it is refused.
        channels: 1 or 3 to convert to, None for its own.
    """
    array = read_picture(path, channels)
    _one_page(path)
    if array.dtype == np.uint8:
        return RawPixels(array[None], (0.0, 255.0))
    return RawPixels(array[None], (0.0, 65535.0) if array.dtype == np.uint16 else None)


def _one_page(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        pages = int(getattr(image, "n_frames", 1))
    if pages > 1:
        raise DataError(f"{path} holds {pages} pages; save each as a file of its own, with its own label")


def read_volume_pixels(path: Path, channels: int | None) -> RawPixels:
    """Read the slices along the third axis of a NIfTI volume, each (1, rows, columns) as stored; they need a window.

    Args:
        path: the file, of three axes, or of two: one slice.
        channels: 1 or None.
    """
    volume = read_nifti(path, flat=True)
    return RawPixels(np.ascontiguousarray(np.moveaxis(volume.array, 2, 0)[:, None]), None)


def read_array_pixels(path: Path, channels: int | None) -> RawPixels:
    """Read one image (H, W) or (C, H, W) of real numbers in [-1, 1] from an .npy file, as the program writes them.

    Args:
        path: the file.
        channels: 1, 3 or None.
    """
    try:
        array = np.load(existing_file(path, "an array file"), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is not a readable .npy file ({error})") from error
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.dtype.kind != "f":
        raise DataError(f"{path} is {array.dtype} {array.shape}; real numbers (C, H, W) in [-1, 1] are needed")
    return RawPixels(array[None], (-1.0, 1.0), normalised=True)
