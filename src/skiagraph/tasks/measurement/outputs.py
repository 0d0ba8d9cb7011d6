"""What `generate` and `restore` leave: pictures of 16 bits, arrays, volumes, each with words on where it comes from."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from skiagraph.data.files import write_whole
from skiagraph.data.png import contact_sheet, write_png
from skiagraph.data.volume import Volume, write_nifti
from skiagraph.errors import InputError
from skiagraph.inverse.measurement_score import UncoveredWarning

__all__ = ["as_pictures", "caught_coverage", "stale_pictures", "write_arrays", "write_pictures", "write_stack"]

SIXTEEN = 65535


def as_pictures(images: Tensor, *, complex_images: bool, brightest: float | None = None) -> NDArray[np.float32]:
    """Images (N, C, H, W) as values from 0 to 1, (N, H, W) or (N, H, W, 3): magnitudes of complex ones.

    Args:
        images: normalised images.
        complex_images: the two channels are real and imaginary part.
        brightest: magnitude that becomes 1; None for the largest.
    """
    if complex_images:
        magnitude = images.square().sum(1).sqrt()
        top = float(magnitude.max()) if brightest is None else brightest
        return (magnitude / max(top, 1e-12)).clamp(0, 1).numpy()
    shown = ((images + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    if shown.shape[-1] not in (1, 3):
        shown = shown[..., :1]
    return shown[..., 0] if shown.shape[-1] == 1 else shown


def write_pictures(
    folder: Path, stem: str, pictures: NDArray[np.float32], words: Mapping[str, str], *, grid: bool = True
) -> list[Path]:
    """Write each picture as a 16-bit PNG (`STEM-0000.png`), and all of them side by side in 8 bits (`grid.png`)."""
    deep = np.rint(pictures * SIXTEEN).astype(np.uint16)
    written = [write_png(folder / f"{stem}-{number:04d}.png", image, words) for number, image in enumerate(deep)]
    if grid:
        flat = np.rint(pictures * 255).astype(np.uint8)
        written.append(write_png(folder / "grid.png", contact_sheet(list(flat)), words))
    return written


def stale_pictures(folder: Path, stems: Sequence[str]) -> list[str]:
    """Names of numbered pictures that an earlier run left in a folder."""
    return [file.name for stem in stems for file in folder.glob(f"{stem}-[0-9]*.png")] if folder.is_dir() else []


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> Path:
    """Write a compressed .npz, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{name: np.asarray(value) for name, value in arrays.items()})
    return write_whole(path, buffer.getbuffer())


def write_stack(path: Path, pictures: NDArray[np.floating[Any]], affine: NDArray[np.float64]) -> Path:
    """Write pictures (N, H, W) as a NIfTI volume with the axes (row, column, number); colours are refused."""
    if pictures.ndim != 3:
        raise InputError("formats: 'nifti' holds images of one channel, not colours; take png or npz")
    return write_nifti(path, Volume(np.moveaxis(pictures, 0, 2).astype(np.float32), affine, path.name))


@contextmanager
def caught_coverage(tell: Callable[[str], None]) -> Iterator[None]:
    """Hand warnings of uncovered coordinates to `tell`, and let all others through."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UncoveredWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, UncoveredWarning):
            tell(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
