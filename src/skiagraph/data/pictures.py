"""Pictures to learn from or to restore: PNG, JPEG and TIFF files, slices of NIfTI volumes, arrays; one or three
channels, with masks of their own where they have them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.files import existing_file
from skiagraph.data.volume import read_nifti
from skiagraph.errors import DataError, InputError

__all__ = ["Pictures", "Stack", "find_files", "open_pictures", "read_picture", "read_stack"]

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
VOLUMES = (".nii", ".nii.gz")
ARRAYS = (".npy", ".npz", ".h5", ".hdf5")
FORMATS = (*IMAGES, *VOLUMES, *ARRAYS)
PERCENTILE = 99.5


@dataclass(frozen=True, eq=False)
class Stack:
    """Pictures of one file that share their intensity range.

    Args:
        array: (S, C, H, W) of any real type, in the file's unit.
        masks: (S, H, W) of 0 and 1, where pixels were measured; None where all were.
        limits: intensities that become -1 and 1.
        affine: (4, 4) from (row, column, slice) to world mm, or None where the file has none.
    """

    array: NDArray[Any]
    masks: NDArray[Any] | None
    limits: tuple[float, float]
    affine: NDArray[np.float64] | None = None

    def normalised(self, index: int) -> NDArray[np.float32]:
        """Picture `index` (C, H, W), `limits` at -1 and 1."""
        low, high = self.limits
        image: NDArray[np.float32] = (2 * (self.array[index].astype(np.float32) - low) / (high - low) - 1).astype("f4")
        return image


def find_files(places: Iterable[Path], formats: Sequence[str] = FORMATS) -> list[Path]:
    """Return the files of the formats known here, those of folders (subfolders too) in the order of their names.

    Of a run of `synthesize` the pictures that it kept: not those it rejected, nor those from before the push.

    Args:
        places: files and folders; files come as they are named, of folders only `formats` count.
        formats: endings of file names, in lower case.
    """
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            kept = place / "images" if (place / "recipe.json").is_file() else place
            inside = sorted(item for item in kept.rglob("*") if item.name.lower().endswith(tuple(formats)))
            if kept != place:  # numbers beside the pictures are the same images again
                inside = [item for item in inside if item.suffix.lower() != ".npy"]
            if not inside:
                raise DataError(f"{place} holds no file that ends in {', '.join(formats)}; give another folder")
            found += inside
        else:
            found.append(existing_file(place, f"a folder or a file that ends in {', '.join(formats)}"))
    return found


def read_picture(path: Path, channels: int | None = None, size: tuple[int, int] | None = None) -> NDArray[Any]:
    """Read a PNG, JPEG or TIFF file as (C, H, W) in its own integers; turned upright, transparency dropped.

    Args:
        path: the file.
        channels: 1 for grey, 3 for colours; None keeps what the file has.
        size: (H, W) to make of it: resized (antialiased cubic) until both sides reach it, then cropped about the
            middle; float32 then.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(existing_file(path, "an image file")) as opened:
            image = ImageOps.exif_transpose(opened)
            image.load()
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataError(f"{path} is not a readable image file ({error}); save it again, or move it away") from error
    deep = image.mode.startswith(("I", "F"))
    if not deep:
        grey = image.mode in ("1", "L", "LA") if channels is None else channels == 1
        image = image.convert("L" if grey else "RGB")
    elif channels == 3:
        raise DataError(f"{path} has one channel of type {image.mode}; 3 are wanted. Set channels to 1")
    array = np.asarray(image)
    array = array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
    if deep and array.dtype.kind == "i" and array.min() >= 0 and array.max() < 2**16:
        array = array.astype(np.uint16)
    return array if size is None or array.shape[1:] == size else _fitted(array, size)


def _fitted(array: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize (C, H, W) so that it covers `size`, and crop about the middle."""
    from PIL import Image

    scale = max(size[0] / array.shape[1], size[1] / array.shape[2])
    height, width = (max(wanted, round(scale * found)) for wanted, found in zip(size, array.shape[1:], strict=True))
    bands = [
        Image.fromarray(band.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC) for band in array
    ]
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    whole = np.stack([np.asarray(band) for band in bands])
    return whole[:, top : top + size[0], left : left + size[1]].astype(np.float32)


def read_stack(path: Path, intensity: tuple[float, float] | None = None) -> Stack:
    """Read a NIfTI volume (its slices along the third axis) or arrays.

    Args:
        path: .nii, .nii.gz; .npy; .npz or HDF5 with `images` and, where pixels are missing, `masks`. Arrays are
            (S, H, W), (S, C, H, W) or (S, H, W, C) with C of 1 or 3.
        intensity: values that become -1 and 1; default the whole range of whole numbers, and 0 to the 99.5th percentile
            of the measured values of a volume. Arrays of real numbers need it.
    """
    if path.name.lower().endswith(VOLUMES):
        volume = read_nifti(path)
        array = np.moveaxis(volume.array, 2, 0)[:, None]
        high = float(np.percentile(volume.array, PERCENTILE))
        if intensity is None and not high > 0:
            raise DataError(f"{path}: its {PERCENTILE}th percentile is {high:g}; give `intensity`")
        return Stack(np.ascontiguousarray(array), None, intensity or (0.0, high), volume.affine)
    images, masks = _arrays(path)
    array = _channels_first(images, path)
    if masks is not None:
        masks = np.asarray(masks).reshape(masks.shape[0], *masks.shape[-2:])
        if masks.shape != (array.shape[0], *array.shape[2:]) or not np.isin(masks, (0, 1)).all():
            raise DataError(
                f"{path}: masks have shape {masks.shape}, values {np.unique(masks)[:4].tolist()}; 0 and 1 of shape "
                f"{(array.shape[0], *array.shape[2:])} are needed, one mask a picture"
            )
    return Stack(array, masks, intensity or _whole_range(array, path))


def _arrays(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Read `images` and `masks` of an array file; .npy files stay on disk until read."""
    import h5py

    file = existing_file(path, "an array file")
    try:
        if file.suffix.lower() == ".npy":
            return np.load(file, mmap_mode="r", allow_pickle=False), None
        if file.suffix.lower() == ".npz":
            with np.load(file, allow_pickle=False) as content:
                return _named(dict(content), file)
        with h5py.File(file, "r") as content:
            return _named({name: np.asarray(content[name]) for name in ("images", "masks") if name in content}, file)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file} is not a readable array file ({error})") from error


def _named(content: dict[str, NDArray[Any]], file: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    if "images" not in content:
        raise DataError(f"{file} holds {sorted(content)}; an array named 'images' is needed, 'masks' where pixels miss")
    return content["images"], content.get("masks")


def _channels_first(array: NDArray[Any], path: Path) -> NDArray[Any]:
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[3] in (1, 3):
        return np.moveaxis(array, 3, 1)
    if array.ndim == 4 and array.shape[1] in (1, 3):
        return array
    raise DataError(f"{path}: images have shape {array.shape}; (S, H, W) or 1 or 3 channels after or before H, W")


def _whole_range(array: NDArray[Any], path: Path) -> tuple[float, float]:
    if array.dtype.kind == "b":
        return 0.0, 1.0
    if array.dtype.kind != "u":
        raise InputError(
            f"intensity: {path} holds numbers of type {array.dtype}, whose range is not known; give the two values "
            "that are to become -1 and 1, such as 0 1"
        )
    return 0.0, float(np.iinfo(array.dtype).max)


@dataclass(frozen=True, eq=False)
class Pictures:
    """N pictures of one size and number of channels; image files are read when asked for.

    Args:
        entries: (file, index in its stack or -1 for an image file) of each picture.
        stacks: stacks by file.
        channels: C.
        size: (H, W).
        intensity: range given for image files; None for the whole range of their type.
        fitted: image files of another size are resized and cropped; else they are refused.
    """

    entries: tuple[tuple[Path, int], ...]
    stacks: dict[Path, Stack]
    channels: int
    size: tuple[int, int]
    intensity: tuple[float, float] | None = None
    fitted: bool = False

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def names(self) -> list[str]:
        """A name for every picture."""
        return [file.name if index < 0 else f"{file.name}/{index}" for file, index in self.entries]

    @property
    def masked(self) -> bool:
        """Whether every picture has a mask of its own."""
        return all(file in self.stacks and self.stacks[file].masks is not None for file, _ in self.entries)

    def limits(self, index: int) -> tuple[float, float]:
        """Intensities of picture `index` that became -1 and 1."""
        file, position = self.entries[index]
        if position >= 0:
            return self.stacks[file].limits
        return self.intensity or _whole_range(read_picture(file), file)

    def image(self, index: int) -> NDArray[np.float32]:
        """Picture `index` (C, H, W) float32, its range of intensities at -1 and 1; DataError where it does not fit."""
        file, position = self.entries[index]
        if position >= 0:
            image = self.stacks[file].normalised(position)
        else:
            low, high = self.limits(index)
            array = read_picture(file, self.channels, self.size if self.fitted else None).astype(np.float32)
            image = 2 * (array - low) / (high - low) - 1
        if image.shape != (self.channels, *self.size) or not np.isfinite(image).all():
            found = f"shape {image.shape}" if np.isfinite(image).all() else "values that are NaN or infinite"
            raise DataError(f"{file}: found {found}; {(self.channels, *self.size)} of finite numbers are needed")
        return image

    def mask(self, index: int) -> NDArray[np.float32] | None:
        """Mask (1, H, W) of picture `index`, or None."""
        file, position = self.entries[index]
        masks = self.stacks[file].masks if position >= 0 else None
        return None if masks is None else masks[position][None].astype(np.float32)

    def select(self, indices: Sequence[int]) -> Pictures:
        """Some of the pictures."""
        return replace(self, entries=tuple(self.entries[i] for i in indices))


def open_pictures(
    places: Sequence[Path],
    *,
    channels: int | None = None,
    size: tuple[int, int] | None = None,
    intensity: tuple[float, float] | None = None,
) -> Pictures:
    """Find pictures; stacks are read at once, image files later, one at a time.

    Args:
        places: files and folders.
        channels: 1 or 3; None for what the first picture has. Image files are converted, stacks are not.
        size: (H, W); image files are resized and cropped to it, stacks must have it. None for the first picture's.
        intensity: values that become -1 and 1; see `read_stack`.
    """
    stacks: dict[Path, Stack] = {}
    entries: list[tuple[Path, int]] = []
    for file in find_files(places):
        if file.name.lower().endswith(IMAGES):
            entries.append((file, -1))
            continue
        stack = stacks[file] = read_stack(file, intensity)
        flat = [index for index in range(len(stack.array)) if stack.array[index].min() < stack.array[index].max()]
        entries += [(file, index) for index in (flat if stack.affine is not None else range(len(stack.array)))]
    if not entries:
        raise DataError(f"{', '.join(map(str, places))}: found no picture that holds anything")
    file, position = entries[0]
    first = stacks[file].array[position] if position >= 0 else read_picture(file, channels, size)
    shape = size or (int(first.shape[1]), int(first.shape[2]))
    found = Pictures(tuple(entries), stacks, int(first.shape[0]), shape, intensity, size is not None)
    for file, stack in stacks.items():
        if stack.array.shape[1:] != (channels or found.channels, *found.size):
            raise DataError(
                f"{file}: pictures are {stack.array.shape[1:]} (channels, rows, columns), but "
                f"{(channels or found.channels, *found.size)} is needed; resample it, or leave size and channels out"
            )
    return found
