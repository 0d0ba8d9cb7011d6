"""Sets of images as arrays, read from folders, files, or what `generate` left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.pictures import find_files, open_pictures
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.distribution.settings import DistributionSettings

__all__ = ["ImageSet", "ImageSets", "read_sets"]

LEAST = 2


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one set.

    Args:
        images: (N, C, H, W) float32, black at -1 and white at 1.
        names: one name an image.
    """

    images: NDArray[np.float32]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def flat(self) -> NDArray[np.float64]:
        """(N, d), scaled so that a Euclidean distance is the root mean square difference, black to white being 1."""
        rows: NDArray[np.float64] = self.images.reshape(len(self), -1).astype(np.float64)
        rows /= 2 * float(np.sqrt(rows.shape[1]))
        return rows

    def picture(self, index: int) -> NDArray[np.float64]:
        """Image `index` as (H, W) or (H, W, 3), 0 to 1."""
        image = (np.moveaxis(self.images[index], 0, 2) + 1.0) / 2
        shown: NDArray[np.float64] = image[..., 0] if image.shape[2] == 1 else image
        return shown


@dataclass(frozen=True)
class ImageSets:
    """What is compared; `held_out` is None where there is none."""

    generated: ImageSet
    training: ImageSet
    held_out: ImageSet | None


def read_sets(settings: DistributionSettings) -> ImageSets:
    """Read all sets of a comparison; sets of another shape than the generated images are refused."""
    generated = _read(settings.generated, settings, settings.channels, None)
    channels = int(generated.images.shape[1])
    if channels not in (1, 3):
        raise InputError(f"generated: found {channels} channels; 1 or 3 are compared. Give its PNG pictures")
    training = _read(settings.training, settings, 1 if channels == 1 else 3, generated.images.shape)
    held_out = None
    if settings.held_out:
        held_out = _read(settings.held_out, settings, 1 if channels == 1 else 3, generated.images.shape)
    return ImageSets(generated, training, held_out)


def _files(places: Sequence[Path]) -> tuple[list[Path], bool]:
    """Files to read, and whether they hold arrays that `generate` normalised."""
    found: list[Path] = []
    for place in places:
        drawn = sorted(place.glob("image-[0-9]*.png")) if place.is_dir() else []
        if not drawn and (place / "images.npz").is_file():
            if len(places) > 1:
                raise InputError(f"generated: {place} holds no pictures, only images.npz; give it alone")
            return [place / "images.npz"], True
        found += drawn or [file for file in find_files([place]) if file.name != "grid.png"]
    return found, False


def _read(
    places: Sequence[Path], settings: DistributionSettings, channels: int | None, shape: tuple[int, ...] | None
) -> ImageSet:
    files, normalised = _files(places)
    named = ", ".join(map(str, places))
    if not files:
        raise DataError(f"{named}: no picture is there")
    intensity = (-1.0, 1.0) if normalised else settings.intensity
    pictures = open_pictures(files, channels=channels, size=settings.shape, intensity=intensity)
    expected = pictures.size if shape is None else (shape[2], shape[3])
    if pictures.size != expected:
        raise InputError(f"size: pictures of {named} are {pictures.size}, the generated ones {expected}; give `size`")
    if len(pictures) < LEAST:
        raise DataError(f"{named}: found {len(pictures)} picture; a set needs at least {LEAST}")
    images = np.stack([pictures.image(index) for index in range(len(pictures))])
    return ImageSet(images, tuple(pictures.names))
