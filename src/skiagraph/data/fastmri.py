"""k-space files in the layout of the fastMRI data set: HDF5 with `kspace`, `ismrmrd_header` and what goes with them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.encoding import Encoding, build_header, parse_header, remove_oversampling
from skiagraph.data.files import existing_file, write_whole
from skiagraph.data.kspace import KSpace, select_slices
from skiagraph.errors import DataError

__all__ = ["read_fastmri", "write_fastmri"]

TRUTHS = ("reconstruction_rss", "reconstruction_esc")


def _complex(dataset: Any, file: Path, index: list[int]) -> NDArray[np.complex64]:
    """Read the chosen slices of `kspace` as (S, coils, H, W); single-coil files get a coil axis."""
    if dataset.dtype.kind != "c":
        raise DataError(f"{file}: 'kspace' has the type {dataset.dtype}; a complex type is needed")
    if dataset.ndim not in (3, 4):
        raise DataError(f"{file}: 'kspace' has shape {dataset.shape}; (slices, coils, rows, columns) is needed")
    data = np.stack([dataset[position] for position in index]).astype(np.complex64)
    return data[:, None] if data.ndim == 3 else data


def _mask(content: Any, file: Path, data: NDArray[np.complex64], columns: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the sampled columns: the file's mask, or the columns with signal; padding is never sampled."""
    width = data.shape[-1]
    if "mask" in content:
        mask = np.asarray(content["mask"]).squeeze()
        if mask.shape != (width,):
            raise DataError(
                f"{file}: 'mask' has shape {content['mask'].shape} but 'kspace' has {width} columns; "
                "one mask value per column is needed"
            )
        if not np.isin(mask, (0, 1)).all():
            raise DataError(f"{file}: 'mask' holds values other than 0 and 1")
    else:
        mask = np.any(data != 0, axis=(0, 1, 2))
    measured = np.zeros(width, dtype=bool)
    measured[columns[0] : columns[1]] = True
    return mask.astype(bool) & measured


def _attribute_affine(content: Any) -> NDArray[np.float64] | None:
    """Return the affine that `write_fastmri` stores; other files of this layout have none."""
    if "affine" not in content.attrs:
        return None
    return np.asarray(content.attrs["affine"], dtype=np.float64).reshape(4, 4)


def read_fastmri(path: str | os.PathLike[str], *, slices: Sequence[int] | None = None) -> KSpace:
    """Read a fastMRI-layout file: readout oversampling removed, padding and mask applied.

    Args:
        path: the file; keys `kspace` (slices, coils, rows, columns) or (slices, rows, columns), `ismrmrd_header`, and
            where present `mask`, `reconstruction_rss` or `reconstruction_esc`, `noise_scan`.
        slices: slice indices to keep; default all.
    """
    import h5py

    file = existing_file(path, "a fastMRI-layout HDF5 file")
    try:
        with h5py.File(file, "r") as content:
            for key in ("kspace", "ismrmrd_header"):
                if key not in content:
                    raise DataError(f"{file} has no key {key!r}; it has {sorted(content)}. The fastMRI layout needs it")
            encoding = parse_header(content["ismrmrd_header"][()], str(file))
            index = select_slices(content["kspace"].shape[0], slices, str(file))
            data = _complex(content["kspace"], file, index)
            mask = _mask(content, file, data, encoding.measured_columns(data.shape[-1]))
            truth = next((np.stack([content[key][i] for i in index]) for key in TRUTHS if key in content), None)
            noise = np.asarray(content["noise_scan"], dtype=np.complex64) if "noise_scan" in content else None
            affine = _attribute_affine(content)
    except (OSError, KeyError, IndexError) as error:
        raise DataError(f"{file} is a truncated or damaged HDF5 file ({error}); copy or export it again") from error
    if affine is not None and index[0]:
        affine = affine.copy()
        affine[:3, 3] += affine[:3, 2] * index[0]
    return _assemble(data * mask.astype(np.float32), mask, encoding, affine, truth, noise, file.name)


def _assemble(
    data: NDArray[np.complex64],
    mask: NDArray[np.bool_],
    encoding: Encoding,
    affine: NDArray[np.float64] | None,
    truth: NDArray[Any] | None,
    noise: NDArray[np.complex64] | None,
    source: str,
) -> KSpace:
    """Cut oversampled rows and put sizes from the header beside the data."""
    rows = data.shape[-2]
    wanted = round(rows * encoding.image_mm[0] / encoding.encoded_mm[0])
    kept = min(rows, wanted + wanted % 2)
    height_mm = encoding.encoded_mm[0] * kept / rows
    cut = remove_oversampling(data, kept) * mask.astype(np.float32)
    scan = KSpace(
        data=cut,
        mask=mask,
        field_of_view_mm=(height_mm, encoding.encoded_mm[1]),
        slice_spacing_mm=encoding.image_mm[2] / max(1, encoding.image[2]),
        affine=affine,
        image_shape=(min(kept, encoding.image[0]), min(data.shape[-1], encoding.image[1])),
        noise_scan=noise,
        source=source,
    )
    return scan if truth is None else replace(scan, truth=truth.astype(np.float32))


def write_fastmri(path: str | os.PathLike[str], scan: KSpace) -> Path:
    """Write a scan in the fastMRI layout, whole or not at all.

    `mask` is written when a column is missing; `noise_scan` and the attribute `affine` are additions that other readers
    of the layout ignore. No identifier, date or device name is written.
    """
    import h5py

    target = Path(path)
    slices, coils, rows, columns = scan.data.shape
    image = scan.image_shape or (rows, columns)
    step = scan.spacing_mm
    encoding = Encoding(
        encoded=(rows, columns, 1),
        image=(image[0], image[1], 1),
        encoded_mm=(*scan.field_of_view_mm, scan.slice_spacing_mm),
        image_mm=(scan.field_of_view_mm[0], image[1] * step[1], scan.slice_spacing_mm),
        centre=columns // 2,
        last=columns - 1,
    )
    buffer = BytesIO()
    with h5py.File(buffer, "w") as content:
        content["kspace"] = scan.data.astype(np.complex64)
        content["ismrmrd_header"] = build_header(encoding, coils, slices)
        if not scan.mask.all():
            content["mask"] = scan.mask.astype(np.float32)
        if scan.truth is not None:
            content["reconstruction_rss"] = scan.truth.astype(np.float32)
            content.attrs["max"] = float(scan.truth.max())
            content.attrs["norm"] = float(np.linalg.norm(scan.truth))
        if scan.noise_scan is not None:
            content["noise_scan"] = scan.noise_scan.astype(np.complex64)
        if scan.affine is not None:
            content.attrs["affine"] = scan.affine
    return write_whole(target, buffer.getbuffer())
