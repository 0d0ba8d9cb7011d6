"""The program `bart` as a baseline: its files, and its reconstruction `pics`, called as a subprocess."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skiagraph.errors import DataError, InputError

__all__ = ["bart_available", "pics", "read_cfl", "write_cfl"]


def bart_available() -> bool:
    """Whether the program `bart` is on the path."""
    return shutil.which("bart") is not None


def write_cfl(path: Path, array: NDArray[np.complex64]) -> None:
    """Write PATH.hdr (dimensions as text) and PATH.cfl (complex64, first axis fastest).

    Args:
        path: without suffix.
        array: any shape, up to 16 axes.
    """
    dimensions = " ".join(str(size) for size in array.shape)
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{dimensions}\n", encoding="ascii")
    array.astype(np.complex64).ravel(order="F").tofile(path.with_suffix(".cfl"))


def read_cfl(path: Path) -> NDArray[np.complex64]:
    """Read a pair of PATH.hdr and PATH.cfl; trailing axes of size 1 are dropped.

    Args:
        path: without suffix.
    """
    try:
        lines = path.with_suffix(".hdr").read_text(encoding="ascii").splitlines()
        sizes = [int(size) for size in lines[lines.index("# Dimensions") + 1].split()]
        values: NDArray[np.complex64] = np.fromfile(path.with_suffix(".cfl"), dtype=np.complex64)
        while len(sizes) > 1 and sizes[-1] == 1:
            sizes.pop()
        return values.reshape(sizes, order="F")
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{path}: not a readable pair of .hdr and .cfl files ({error}).") from error


def pics(
    kspace: NDArray[np.complex64],
    maps: NDArray[np.complex64],
    mask: NDArray[np.float32],
    strength: float,
    iterations: int,
) -> NDArray[np.complex64]:
    """L1-wavelet reconstruction by `bart pics -l1`, in the units of the k-space.

    Its rescaling is switched off and its sign undone: `pics` leaves out the factor (-1)^(H/2 + W/2) of the centred
    transform, and its transform is off by half a pixel at odd sizes (seen in 0.8.00), which are refused.

    Args:
        kspace: (coils, H, W), zero off the mask; centred orthonormal convention, which is BART's.
        maps: (coils, H, W), H and W even.
        mask: (H, W) 0/1.
        strength: weight of the l1 norm.
        iterations: FISTA steps.

    Returns:
        (H, W).
    """
    program = shutil.which("bart")
    if program is None:
        raise InputError("baseline bart-pics: found no program `bart` on the path; install BART or leave it out.")
    height, width = mask.shape
    if height % 2 or width % 2:
        raise InputError(f"baseline bart-pics: found {height} x {width} pixels; allowed are even sizes. Leave it out.")
    sign = np.complex64((-1) ** (height // 2 + width // 2))
    with tempfile.TemporaryDirectory(prefix="skiagraph-bart-") as name:
        folder = Path(name)
        write_cfl(folder / "kspace", kspace.transpose(1, 2, 0)[:, :, None])
        write_cfl(folder / "maps", maps.transpose(1, 2, 0)[:, :, None])
        write_cfl(folder / "mask", mask.astype(np.complex64))
        options = ["-l1", "-r", repr(float(strength)), "-i", str(iterations), "-w", "1", "-p", "mask"]
        done = subprocess.run(
            [program, "pics", *options, "kspace", "maps", "image"],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise DataError(f"bart pics failed with exit code {done.returncode}: {done.stderr.strip() or done.stdout}")
        image: NDArray[np.complex64] = sign * read_cfl(folder / "image")
        return image
