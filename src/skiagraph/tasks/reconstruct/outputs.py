"""Files a reconstruction leaves: NIfTI with geometry where the scan has one, HDF5 always."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from skiagraph.data.files import write_whole
from skiagraph.data.volume import Volume, write_nifti
from skiagraph.tasks.reconstruct.acquire import ToReconstruct
from skiagraph.tasks.reconstruct.results import Reconstruction

__all__ = ["write_images", "write_text"]


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
