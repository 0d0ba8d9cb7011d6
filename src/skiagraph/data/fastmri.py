"""k-space files in the layout of the fastMRI data set: HDF5 with `kspace`, `ismrmrd_header` and what goes with them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.encoding import Encoding, build_header, parse_header, remove_oversampling
from skiagraph.data.files import existing_file, write_whole
from skiagraph.data.kspace import KSpace, SliceChoice, select_slices
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
    return mask.astype(bool) & measured & _between_signal(data)


def _between_signal(data: NDArray[np.complex64]) -> NDArray[np.bool_]:
    """Columns from the first to the last that hold signal: empty ones beyond are padding the header does not count.

    All columns where none or most would be left: that is no padding, and the scan is refused with what is wrong.
    """
    where = np.flatnonzero(np.any(data != 0, axis=(0, 1, 2)))
    inside = np.ones(data.shape[-1], dtype=bool)
    if where.size and where[-1] + 1 - where[0] >= inside.size // 2:
        inside[: where[0]], inside[where[-1] + 1 :] = False, False
    return inside


def _attribute_affine(content: Any) -> NDArray[np.float64] | None:
    """Return the affine that `write_fastmri` stores; other files of this layout have none."""
    if "affine" not in content.attrs:
        return None
    return np.array(content.attrs["affine"], dtype=np.float64).reshape(4, 4)


@dataclass(frozen=True, eq=False)
class _Content:
    """What a file of this layout holds of the chosen slices."""

    data: NDArray[np.complex64]
    mask: NDArray[np.bool_]
    encoding: Encoding
    index: list[int]
    affine: NDArray[np.float64] | None
    truth: NDArray[np.float32] | None
    noise: NDArray[np.complex64] | None
    covariance: NDArray[np.complex128] | None


def read_fastmri(path: str | os.PathLike[str], *, slices: SliceChoice = None) -> KSpace:
    """Read a fastMRI-layout file (knee or brain, single or multi-coil, with reference images or masked).

    Readout oversampling is removed in the image domain. Columns that the header marks as padding, and empty ones beside
    them, count as never sampled. `image_shape` is that of the reference images where the file has some.

    Args:
        path: the file; keys `kspace` (slices, coils, rows, columns) or (slices, rows, columns), `ismrmrd_header`, and
            where present `mask`, `reconstruction_rss` or `reconstruction_esc`, `noise_scan`, `noise_covariance`.
        slices: the slices to keep; default all.
    """
    import h5py

    file = existing_file(path, "a fastMRI-layout HDF5 file")
    try:
        with h5py.File(file, "r") as content:
            for key in ("kspace", "ismrmrd_header"):
                if key not in content:
                    raise DataError(f"{file} has no key {key!r}; it has {sorted(content)}. The fastMRI layout needs it")
            return _assemble(_read(content, file, slices), file)
    except (OSError, KeyError, IndexError) as error:
        raise DataError(f"{file} is a truncated or damaged HDF5 file ({error}); copy or export it again") from error


def _read(content: Any, file: Path, slices: SliceChoice) -> _Content:
    encoding = parse_header(content["ismrmrd_header"][()], str(file))
    index = select_slices(content["kspace"].shape[0], slices, str(file))
    data = _complex(content["kspace"], file, index)
    mask = _mask(content, file, data, encoding.measured_columns(data.shape[-1]))
    truth = next((np.stack([content[key][i] for i in index]) for key in TRUTHS if key in content), None)
    affine = _attribute_affine(content)
    if affine is not None:
        affine[:3, 3] += affine[:3, 2] * index[0]
    return _Content(
        data=data * mask.astype(np.float32),
        mask=mask,
        encoding=encoding,
        index=index,
        affine=affine,
        truth=None if truth is None else truth.astype(np.float32),
        noise=np.asarray(content["noise_scan"], dtype=np.complex64) if "noise_scan" in content else None,
        covariance=np.asarray(content["noise_covariance"], np.complex128) if "noise_covariance" in content else None,
    )


def _assemble(found: _Content, file: Path) -> KSpace:
    """Cut oversampled rows and put sizes from the header beside the data."""
    rows, columns = found.data.shape[-2:]
    encoding = found.encoding
    kept = encoding.kept_rows(rows)
    shape = (min(kept, encoding.image[0]), encoding.image_columns(columns))
    if found.truth is not None:
        shape = (int(found.truth.shape[1]), int(found.truth.shape[2]))
        if shape[0] > kept or shape[1] > columns:
            raise DataError(
                f"{file}: the reference images are {shape[0]}x{shape[1]}, larger than the image of k-space, "
                f"{kept}x{columns}; reference images of this scan are needed"
            )
    return KSpace(
        data=remove_oversampling(found.data, kept) * found.mask.astype(np.float32),
        mask=found.mask,
        field_of_view_mm=(encoding.encoded_mm[0] * kept / rows, encoding.encoded_mm[1]),
        slice_spacing_mm=encoding.image_mm[2] / max(1, encoding.image[2]),
        affine=found.affine,
        image_shape=shape,
        truth=found.truth,
        noise_scan=found.noise,
        noise_covariance=found.covariance,
        measurable=encoding.measured_columns(columns),
        slices=tuple(found.index),
        provenance=encoding.provenance,
        source=file.name,
    )


def write_fastmri(path: str | os.PathLike[str], scan: KSpace) -> Path:
    """Write a scan in the fastMRI layout, whole or not at all.

    `mask` is written when a column is missing; `noise_scan`, `noise_covariance` and the attribute `affine` are
    additions that other readers of the layout ignore. No identifier, date or device name is written.
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
        provenance=scan.provenance,
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
        if scan.noise_covariance is not None:
            content["noise_covariance"] = scan.noise_covariance
        if scan.affine is not None:
            content.attrs["affine"] = scan.affine
    return write_whole(target, buffer.getbuffer())
