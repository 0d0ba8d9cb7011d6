"""k-space for measurement-score priors: as it was acquired, or simulated from coil-combined images as released."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from skiagraph.data.kspace import read_kspace
from skiagraph.data.map_files import read_maps
from skiagraph.errors import DataError, InputError
from skiagraph.physics.coils import combine, normalise_maps
from skiagraph.physics.fourier import CoilFourier, centred_ifft2, to_real
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.reconstruct.prepare import Treatment, prepare_scan

__all__ = ["CoilSlices", "combined_images", "map_file", "read_coil_slices"]


@dataclass(frozen=True, eq=False)
class CoilSlices:
    """S slices of multi-coil k-space in normalised intensity.

    Args:
        kspace: (S, coils, H, W) complex64, zero off the mask.
        mask: (S, 1, 1, W) float32 of 0 and 1.
        maps: (S, coils, H, W) complex64, unit root-sum-of-squares where not zero.
        noise: (S,) standard deviation per real and per imaginary part; 0 for simulated k-space.
        scale: (S,) file units per normalised unit.
        names: one a slice.
        spacing_mm: (row, column).
    """

    kspace: Tensor
    mask: Tensor
    maps: Tensor
    noise: Tensor
    scale: Tensor
    names: tuple[str, ...]
    spacing_mm: tuple[float, float]

    def __len__(self) -> int:
        return self.kspace.shape[0]

    @property
    def complete(self) -> bool:
        """Whether every line of every slice was measured."""
        return bool((self.mask == 1).all())


def map_file(scan: Path) -> Path:
    """Where `skiagraph maps` puts the coil maps of a scan."""
    return scan.with_name(scan.name.removesuffix("".join(scan.suffixes[-1:])) + ".maps.h5")


def combined_images(kspace: Tensor, maps: Tensor, size: tuple[int, int] | None) -> tuple[Tensor, Tensor, Tensor]:
    """Coil-combined images, cropped in the image domain and scaled, as the released data are made.

        x = sum conj(C) F^H k,  |x| <- (|x| - min) / (max - min) per slice, the phase kept

    Args:
        kspace: (S, coils, H, W) complex, complete.
        maps: (S, coils, H, W) complex.
        size: (rows, columns) of the centre that is kept; None for all.

    Returns:
        Images (S, H', W') complex with magnitudes in [0, 1], the cropped maps (unit root-sum-of-squares), and the
        largest minus the smallest magnitude (S,).
    """
    images = combine(centred_ifft2(kspace), maps)
    if size is not None:
        rows, columns = images.shape[-2:]
        if size[0] > rows or size[1] > columns:
            raise InputError(f"size: found {list(size)}, but the images are {rows} x {columns}; allowed: at most that")
        top, left = (rows - size[0]) // 2, (columns - size[1]) // 2
        window = (..., slice(top, top + size[0]), slice(left, left + size[1]))
        images, maps = images[window], normalise_maps(maps[window])
    magnitude = images.abs()
    low, high = magnitude.amin((-2, -1), keepdim=True), magnitude.amax((-2, -1), keepdim=True)
    if bool((high <= low).any()):
        raise DataError("k-space: a slice is empty; leave it out with `skip_last`, or export the file again")
    scaled = torch.polar((magnitude - low) / (high - low), images.angle())
    return scaled, maps, (high - low).flatten()


def read_coil_slices(
    file: Path,
    *,
    combined: bool,
    size: tuple[int, int] | None = None,
    choose: Callable[[int], Sequence[int]] = range,
    on_progress: OnProgress = silent,
) -> CoilSlices:
    """Read slices of one k-space file.

    Args:
        file: fastMRI layout or ISMRMRD.
        combined: simulate k-space T x of the combined images x (see `combined_images`); needs complete k-space. Else
            the measured lines, scaled by the 99th percentile of the calibration lines' image.
        size: see `combined_images`; only with `combined`.
        choose: number of slices -> those to keep.
        on_progress: told of slices whose coil maps are estimated.
    """
    whole = read_kspace(file)
    indices = list(choose(len(whole)))
    if not indices:
        raise InputError(f"skip_last: leaves none of the {len(whole)} slices of {file}; give a smaller number")
    scan = whole if len(indices) == len(whole) else read_kspace(file, slices=indices)
    if combined and not scan.mask.all():
        raise InputError(
            f'kspace: {file} misses {int((~scan.mask).sum())} lines, but "combined" images need complete k-space; '
            'use "acquired"'
        )
    beside = map_file(file)
    treatment = Treatment(prewhiten=not combined, maps=read_maps(beside) if beside.exists() else None)
    made = prepare_scan(scan, file, treatment, on_progress).scan
    names = tuple(f"{file.name}/{index}" for index in indices)
    spacing = scan.spacing_mm[:2]
    if not combined:
        return CoilSlices(made.kspace, made.mask, made.maps, made.noise, made.scale, names, spacing)
    images, cropped, span = combined_images(made.kspace, made.maps, size)
    full = CoilFourier(cropped).forward(to_real(images))
    ones = torch.ones(len(indices), 1, 1, full.shape[-1])
    return CoilSlices(full, ones, cropped, torch.zeros(len(indices)), span * made.scale, names, spacing)
