"""MedMNIST files: arrays {train, val, test}_{images, labels} in one .npz, the split kept."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.files import existing_file
from skiagraph.data.image_readers import Fit, fitted
from skiagraph.errors import DataError, InputError

__all__ = ["read_medmnist"]

SIDES = {"train": "train", "val": "validation", "test": "test"}


def read_medmnist(
    path: Path,
    classes: Sequence[str] | None,
    size: tuple[int, int] | None,
    channels: int | None,
    fit: Fit,
) -> tuple[NDArray[np.float32], NDArray[np.int64], tuple[str, ...], tuple[str, ...], None, tuple[str, ...]]:
    """Read images (n, H, W) or (n, H, W, 3) of bytes and labels (n, 1); 0 and 255 become -1 and 1.

    Args:
        path: the file.
        classes: names of the labels 0, 1, ...; default "0", "1", ..., since the file has none.
        size, fit: see `read_labelled`.
        channels: 1 or 3; must be what the file has.

    Returns images, labels, classes, names "train/000012", no patients, and sides.
    """
    content = _arrays(path)
    images, labels, names, sides = [], [], [], []
    for key, side in SIDES.items():
        if f"{key}_images" not in content:
            continue
        pixels, marks = _side(path, key, content)
        images.append(pixels[:, None] if pixels.ndim == 3 else np.moveaxis(pixels, 3, 1))
        labels.append(marks.reshape(-1).astype(np.int64))
        names += [f"{key}/{number:06d}" for number in range(len(pixels))]
        sides += [side] * len(pixels)
    stacked = np.concatenate(images).astype(np.float32) / 127.5 - 1
    if channels is not None and channels != stacked.shape[1]:
        raise InputError(f"channels: found {channels}, but {path} has {stacked.shape[1]}; leave channels out")
    if size is not None and stacked.shape[2:] != size:
        stacked = np.stack([fitted(image, size, fit) for image in stacked])
    marks = np.concatenate(labels)
    known = tuple(str(number) for number in range(int(marks.max()) + 1)) if classes is None else tuple(classes)
    if marks.min() < 0 or marks.max() >= len(known):
        raise InputError(f"classes: found {len(known)} names, but {path} has labels {marks.min()} to {marks.max()}")
    return stacked, marks, known, tuple(names), None, tuple(sides)


def _side(path: Path, key: str, content: dict[str, NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Images and labels of one side, checked."""
    pixels, marks = content[f"{key}_images"], content[f"{key}_labels"]
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        raise DataError(f"{path}: {key}_images is {pixels.dtype} {pixels.shape}; bytes (n, H, W[, 3]) are needed")
    if pixels.ndim == 4 and pixels.shape[3] != 3:
        raise DataError(
            f"{path}: {key}_images has shape {pixels.shape}, which are volumes; pictures (n, H, W) or (n, H, W, 3) are "
            "needed. Save the slices that show what the label says, each as a picture, with the volume as its patient"
        )
    if marks.ndim > 1 and marks.shape[1:] != (1,):
        raise DataError(f"{path}: {key}_labels has shape {marks.shape}; one label an image (n, 1) is needed")
    if len(marks) != len(pixels):
        raise DataError(f"{path}: {len(pixels)} {key}_images but {len(marks)} {key}_labels")
    return pixels, marks


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(existing_file(path, "a MedMNIST file (.npz)"), allow_pickle=False) as content:
            arrays = dict(content)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a readable .npz file ({error}); fetch it again") from error
    for key in SIDES:
        if (f"{key}_images" in arrays) != (f"{key}_labels" in arrays):
            raise DataError(f"{path} holds {sorted(arrays)}; {key}_images and {key}_labels belong together")
    if not any(f"{key}_images" in arrays for key in SIDES):
        raise DataError(f"{path} holds {sorted(arrays)}; train_images and train_labels are needed, as MedMNIST has")
    return arrays
