"""From one file to normalised pixels (S, C, H, W): a reader a format, and one place that scales, sizes and checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from skiagraph.errors import DataError, InputError

__all__ = [
    "Fit",
    "PixelRules",
    "RawPixels",
    "fitted",
    "format_of",
    "read_pixels",
    "readable_suffixes",
    "register_reader",
]

Fit = Literal["crop", "pad", "stretch"]


@dataclass(frozen=True)
class PixelRules:
    """How pixels become what a network sees.

    Args:
        size: (H, W) wanted, or None.
        channels: 1 or 3, or None for what the file has.
        window: intensities that become -1 and 1; None for the range of the file's numbers.
        fit: how another size becomes `size`; see `skiagraph.data.labelled.read_labelled`.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    window: tuple[float, float] | None = None
    fit: Fit = "crop"

    def __post_init__(self) -> None:
        if self.fit not in ("crop", "pad", "stretch"):
            raise InputError(f"fit: found {self.fit!r}, allowed: crop, pad, stretch")
        if self.channels not in (None, 1, 3):
            raise InputError(f"channels: found {self.channels!r}, allowed: 1, 3")
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise InputError(f"size: found {self.size!r}, allowed: rows and columns, each at least 1")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise InputError(f"window: found {self.window!r}, allowed: two numbers, the lower first")


@dataclass(frozen=True, eq=False)
class RawPixels:
    """Pixels in the unit of their file.

    Args:
        array: (S, C, H, W) of any real type.
        limits: values that stand for darkest and brightest; None where the file does not say.
        normalised: already in [-1, 1]; no window applies.
    """

    array: NDArray[Any]
    limits: tuple[float, float] | None
    normalised: bool = False


Reader = Callable[[Path, int | None], RawPixels]
"""Reads a file, converted to 1 or 3 channels where asked."""

_READERS: dict[str, Reader] = {}


def register_reader(suffixes: tuple[str, ...], read: Reader) -> None:
    """Make a format known.

    Args:
        suffixes: ends of file names in lower case, with the dot.
        read: from (path, channels or None) to `RawPixels`; DataError where the file is damaged.
    """
    for suffix in suffixes:
        if not suffix.startswith(".") or _READERS.get(suffix, read) is not read:
            raise InputError(f"suffixes: {suffix!r} has no dot, or another reader; choose another")
        _READERS[suffix] = read


def readable_suffixes() -> tuple[str, ...]:
    """The ends of file names that can be read."""
    _known()
    return tuple(sorted(_READERS))


def _known() -> None:
    """Register the formats of this library, once."""
    from skiagraph.data import dicom_pixels, picture_pixels

    if ".png" not in _READERS:
        register_reader(picture_pixels.SUFFIXES, picture_pixels.read_picture_pixels)
        register_reader(picture_pixels.VOLUMES, picture_pixels.read_volume_pixels)
        register_reader((".npy",), picture_pixels.read_array_pixels)
        register_reader(dicom_pixels.SUFFIXES, dicom_pixels.read_dicom_pixels)


def format_of(path: Path) -> str | None:
    """The format of a file by the end of its name, ".dcm" for DICOM files of any name; None where none is known."""
    _known()
    name = path.name.lower()
    suffix = next((suffix for suffix in sorted(_READERS, key=len, reverse=True) if name.endswith(suffix)), None)
    if suffix is None and path.is_file():
        with open(path, "rb") as file:
            if file.read(132)[128:] == b"DICM":
                return ".dcm"
    return suffix


def read_pixels(path: Path, rules: PixelRules) -> NDArray[np.float32]:
    """Read the images (S, C, H, W) of one file, float32 in [-1, 1].

    Args:
        path: the file; its name says the format.
        rules: size, channels, intensities.
    """
    suffix = format_of(path)
    if suffix is None:
        raise DataError(f"{path}: files that end in {', '.join(readable_suffixes())} can be read; convert it to one")
    raw = _READERS[suffix](path, rules.channels)
    array = raw.array.astype(np.float32)
    if rules.channels is not None and array.shape[1] != rules.channels:
        raise DataError(f"{path} has {array.shape[1]} channels, {rules.channels} are wanted; set channels to its own")
    if not np.isfinite(array).all():
        raise DataError(f"{path}: {int((~np.isfinite(array)).sum())} values are NaN or infinite; none may be")
    scaled = _scaled(array, raw, rules, path)
    if rules.size is not None and scaled.shape[2:] != rules.size:
        scaled = np.stack([fitted(image, rules.size, rules.fit) for image in scaled])
    return scaled


def _scaled(array: NDArray[np.float32], raw: RawPixels, rules: PixelRules, path: Path) -> NDArray[np.float32]:
    if raw.normalised:
        if array.min() < -1.001 or array.max() > 1.001:
            raise DataError(f"{path} spans {array.min():g} to {array.max():g}; arrays of images lie in [-1, 1]")
        return np.clip(array, -1, 1)
    limits = rules.window or raw.limits
    if limits is None:
        raise InputError(
            f"window: {path} does not say which values are dark and bright; give the two that become -1 and 1, such as "
            "-160 240"
        )
    low, high = limits
    scaled: NDArray[np.float32] = np.clip(2 * (array - np.float32(low)) / np.float32(high - low) - 1, -1, 1)
    return scaled.astype(np.float32)


def fitted(image: NDArray[np.float32], size: tuple[int, int], fit: Fit) -> NDArray[np.float32]:
    """Bring a normalised image (C, H, W) to another size: antialiased cubic, clipped to [-1, 1].

    Args:
        image: in [-1, 1].
        size: (H, W) wanted.
        fit: "crop", "pad" (with -1) or "stretch".
    """
    from PIL import Image

    ratios = [wanted / found for wanted, found in zip(size, image.shape[1:], strict=True)]
    scale = {"crop": max(ratios), "pad": min(ratios), "stretch": None}[fit]
    height, width = size
    if scale is not None:
        bound = max if fit == "crop" else min
        pairs = zip(size, image.shape[1:], strict=True)
        height, width = (bound(wanted, max(1, round(scale * found))) for wanted, found in pairs)
    bands = [Image.fromarray(band).resize((width, height), Image.Resampling.BICUBIC) for band in image]
    whole = np.stack([np.asarray(band) for band in bands]).clip(-1, 1)
    result = np.full((len(image), *size), -1, dtype=np.float32)
    source, target = [slice(None)], [slice(None)]
    for wanted, found in zip(size, (height, width), strict=True):
        margin = abs(found - wanted) // 2
        source.append(slice(margin, margin + wanted) if found > wanted else slice(None))
        target.append(slice(margin, margin + found) if found < wanted else slice(None))
    result[tuple(target)] = whole[tuple(source)]
    return result
