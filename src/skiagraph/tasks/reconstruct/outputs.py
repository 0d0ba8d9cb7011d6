"""Files a reconstruction leaves: NIfTI with geometry where the scan has one, HDF5 always."""

from __future__ import annotations

import errno
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from skiagraph.data.files import write_whole
from skiagraph.data.volume import Volume, write_nifti
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.reconstruct.acquire import ToReconstruct
from skiagraph.tasks.reconstruct.results import Reconstruction

__all__ = ["VOLUMES", "check_writable", "run_folder", "write_images", "write_text"]

VOLUMES = ("mean.nii.gz", "standard_deviation.nii.gz")


def check_writable(folder: Path, name: str = "output") -> None:
    """Refuse, before any long work, a run folder that cannot be made or written; nothing is created."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise InputError(f"{name}: {folder} cannot be a folder, because {place} is a file; give another place.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{name}: {place} may not be written to; give another folder than {folder}.")


@contextmanager
def run_folder(folder: Path, stale: Sequence[str] = ()) -> Iterator[Path]:
    """Yield an empty folder to write a run into; its files move to `folder` once all of them are there.

    Where writing fails, `folder` is left as it was before.

    Args:
        folder: the run folder; made where it does not exist.
        stale: names of files that an earlier run may have left there and this one need not write; they are removed.
    """
    staged: Path | None = None
    there = folder.exists()
    written: set[str] = set()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
        yield staged
        for file in sorted(staged.iterdir()):
            if file.is_dir():
                shutil.rmtree(folder / file.name, ignore_errors=True)
            file.rename(folder / file.name)
            written.add(file.name)
        for name in set(stale) - written:
            (folder / name).unlink(missing_ok=True)
    except (DataError, OSError) as error:
        if isinstance(error, OSError):
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = "the disk is full" if full else str(error.strerror or error)
            raise DataError(f"{folder} could not be written: {reason}; nothing was left behind") from error
        raise DataError(str(error).replace(str(staged), str(folder))) from error
    finally:
        if staged is not None:
            shutil.rmtree(staged, ignore_errors=True)
        if not there and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def write_text(path: Path, text: str) -> Path:
    """Write a text file, whole or not at all."""
    return write_whole(path, text.encode())


def write_images(folder: Path, data: ToReconstruct, result: Reconstruction) -> list[Path]:
    """Write the posterior mean, its standard deviation and the samples, in the scan's own intensity unit.

    `reconstruction.h5` holds `mean` (S, H, W) complex64, `standard_deviation` (S, H, W) float32, `samples`
    (S, K, H, W) complex64 and the attribute `provenance`; `mean.nii.gz` and `standard_deviation.nii.gz` are written
    where the scan has an affine, and are volumes of magnitudes with axes (row, column, slice).
    """
    import h5py

    scale = data.scan.scale[:, None, None]
    mean, deviation = result.mean * scale, result.deviation * scale
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as content:
        content["mean"] = mean.numpy()
        content["standard_deviation"] = deviation.numpy().astype(np.float32)
        content["samples"] = (result.samples * scale[:, None]).numpy()
        content.attrs["provenance"] = f"reconstructed by a prior, not measured; input: {data.provenance}"
        content.attrs["spacing_mm"] = data.spacing_mm
        if data.affine is not None:
            content.attrs["affine"] = data.affine
    written = [write_whole(folder / "reconstruction.h5", buffer.getvalue())]
    if data.affine is not None:
        for name, image in (("mean", mean.abs()), ("standard_deviation", deviation)):
            volume = Volume(image.permute(1, 2, 0).numpy().astype(np.float32), data.affine, name)
            written.append(write_nifti(folder / f"{name}.nii.gz", volume))
    return written
