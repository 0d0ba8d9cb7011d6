"""What `segment` reads and writes: NIfTI volumes, DICOM series and pictures in, masks on the same grid out.

    read_cases(path, window=None) -> list[Case];  write_case(case, folder, mask=..., maps=..., score=...) -> paths

Slices of volumes are axial, front at the top, the patient's right side on the right: the way
`skiagraph simulate lesions` writes its slices, whatever the orientation of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.volume import Volume
from skiagraph.errors import DataError, InputError

__all__ = ["Case", "axial_slices", "mask_ml", "read_cases", "volume_of_slices", "write_case"]

Kind = Literal["nifti", "dicom", "picture"]
NIFTI = (".nii", ".nii.gz")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True, eq=False)
class Case:
    """One volume or picture, ready for a prior of slices.

    Attributes:
        name: of the file or folder, without its ending.
        kind: what it was read from.
        slices: (D, 1, H, W) float32 in [-1, 1].
        spacing_mm: between slices, rows and columns; pictures: 1, and the pixels that the reader is told.
        foreground: (D, H, W) bool: what lies above Otsu's threshold, filled; None where nothing does.
        volume: the file's own voxels and affine; None for a picture.
        sources: the files it was read from, DICOM slices in the order of the volume's last axis.
        scaling: how intensities became [-1, 1], for records.
    """

    name: str
    kind: Kind
    slices: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    foreground: NDArray[np.bool_] | None
    volume: Volume | None
    sources: tuple[Path, ...]
    scaling: str


def axial_slices(volume: Volume) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    """(D, H, W) axial slices from below, front at the top, and their spacing (slice, row, column) in mm."""
    from skiagraph.data.regrid import reorient

    upright = reorient(volume, "RAS")
    x, y, z = upright.spacing_mm
    return np.ascontiguousarray(upright.array.transpose(2, 1, 0)[:, ::-1], dtype=np.float32), (z, y, x)


def volume_of_slices(slices: NDArray, like: Volume) -> Volume:
    """The inverse of `axial_slices`: (D, H, W) put back onto the grid of `like`, value by value.

    Args:
        slices: as `axial_slices` gives them, of any type.
        like: the volume they were taken from.
    """
    from skiagraph.data.regrid import reorient

    upright = reorient(like, "RAS")
    array = slices[:, ::-1].transpose(2, 1, 0)
    if array.shape != upright.array.shape:
        raise InputError(f"slices have shape {slices.shape}; those of {like.source or 'the volume'} have another")
    back = reorient(Volume(np.ascontiguousarray(array), upright.affine, like.source), like.orientation)
    return Volume(back.array, like.affine, like.source)


def _foreground(slices: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    if float(slices.min()) == float(slices.max()):
        return None
    bright = slices > 0.5 * (threshold_otsu(slices.ravel()) + float(slices.min()))
    filled = bright.any(axis=(1, 2))  # slices without anything in them do not part what lies on both sides
    pieces, count = ndimage.label(bright[filled])
    if count == 0:
        return None
    largest = np.zeros(slices.shape, dtype=np.bool_)
    largest[filled] = pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    return np.stack([ndimage.binary_fill_holes(part) for part in largest]).astype(bool)


def _of_volume(
    volume: Volume, name: str, kind: Kind, sources: Sequence[Path], window: tuple[float, float] | None
) -> Case:
    from skiagraph.data.intensity import foreground_scaling, window_scaling
    from skiagraph.data.regrid import check_source

    check_source(volume, largest_tilt_degrees=45.0)
    scaling = foreground_scaling(volume.array) if window is None else window_scaling(*window)
    slices, spacing = axial_slices(volume)
    scaled = (2 * scaling.apply(slices) - 1)[:, None].astype(np.float32)
    if float(scaled.min()) == float(scaled.max()):
        raise DataError(
            f"{name}: its intensities, from {float(slices.min()):g} to {float(slices.max()):g}, lie beyond "
            f"{scaling.low:g} to {scaling.high:g} ({scaling.kind}), so nothing is left to see; give another window"
        )
    return Case(name, kind, scaled, spacing, _foreground(slices), volume, tuple(sources), scaling.kind)


def _of_picture(path: Path, window: tuple[float, float] | None, pixel_mm: tuple[float, float]) -> Case:
    from skiagraph.data.image_readers import PixelRules, read_pixels

    pixels = read_pixels(path, PixelRules(channels=1, window=window))
    if float(pixels.min()) == float(pixels.max()):
        raise DataError(f"{path}: every pixel is alike; an empty picture shows no lesion and no brain")
    scaling = "range of the bit depth" if window is None else "window"
    return Case(path.stem, "picture", pixels, (1.0, *pixel_mm), _foreground(pixels[:, 0]), None, (path,), scaling)


def _of_file(path: Path, window: tuple[float, float] | None, pixel_mm: tuple[float, float]) -> Case:
    from skiagraph.data.dicom_series import read_series
    from skiagraph.data.image_readers import format_of
    from skiagraph.data.volume import read_nifti

    name = path.name.lower()
    if name.endswith(NIFTI):
        return _of_volume(
            read_nifti(path), path.name[: -len(".nii.gz" if name.endswith(".gz") else ".nii")], "nifti", (path,), window
        )
    if name.endswith(PICTURES):
        return _of_picture(path, window, pixel_mm)
    if format_of(path) == ".dcm":
        series = read_series([path])
        return _of_volume(series.volume, path.stem, "dicom", series.files, window)
    raise DataError(f"{path}: no format that is known here; NIfTI, DICOM and pictures ({', '.join(PICTURES)}) are read")


def read_cases(
    path: Path, *, window: tuple[float, float] | None = None, pixel_mm: tuple[float, float] = (1.0, 1.0)
) -> list[Case]:
    """Read a NIfTI file, a picture, a DICOM file, a folder with DICOM series, or a folder of files of such kinds.

    Args:
        path: file or folder; sub-folders are searched for DICOM files only.
        window: intensities that become -1 and 1 (Hounsfield units for CT). None: 0 and 1.8 medians of the foreground
            for volumes, as `skiagraph simulate lesions` scales; the range of the bit depth for pictures.
        pixel_mm: rows and columns of pictures, which do not say; they are looked at pixel by pixel, so that the prior's
            spacing is theirs.
    """
    from skiagraph.data.dicom_series import find_series, read_series

    if not path.exists():
        raise DataError(f"{path} does not exist; a NIfTI file, a picture, a DICOM series or a folder of them is needed")
    if path.is_file():
        return [_of_file(path, window, pixel_mm)]
    files = sorted(item for item in path.iterdir() if item.name.lower().endswith((*NIFTI, *PICTURES)))
    cases = [_of_file(item, window, pixel_mm) for item in files]
    for number, group in enumerate(find_series(path).values()):
        series = read_series(group)
        name = series.files[0].parent.name if number == 0 else f"{series.files[0].parent.name}-{number}"
        cases.append(_of_volume(series.volume, name, "dicom", series.files, window))
    if not cases:
        raise DataError(f"{path} holds no NIfTI file, no picture and no DICOM image")
    names = [case.name for case in cases]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"{path}: the names {twice[:3]} occur more than once; their masks would overwrite each other")
    return cases


def mask_ml(case: Case, mask: NDArray[np.bool_]) -> float:
    """Volume of a mask in millilitres; a picture counts as 1 mm thick."""
    return float(mask.sum()) * float(np.prod(case.spacing_mm)) / 1000.0


def write_case(
    case: Case,
    folder: Path,
    *,
    mask: NDArray[np.bool_],
    maps: NDArray[np.float32],
    score: float,
    probability: NDArray[np.float32] | None = None,
) -> dict[str, Path]:
    """Write mask and map in the form of the input, and what they amount to.

    Args:
        case: from `read_cases`.
        folder: where to; files are NAME.mask.*, NAME.map.*, NAME.probability.*, NAME.segmentation.dcm and NAME.json.
        mask: (D, H, W), on the case's own slices.
        maps: (D, H, W), larger where a lesion is likelier.
        score: of the gate, for the record.
        probability: (D, H, W) in [0, 1]; None where no normal cases say what is usual.
    """
    import json

    from skiagraph.data.files import write_whole

    fields = {"map": maps} if probability is None else {"map": maps, "probability": probability}
    for name, array in {"mask": mask, **fields}.items():
        if array.shape != (len(case.slices), *case.slices.shape[2:]):
            raise InputError(f"{name} has shape {array.shape}; the slices of {case.name} are {case.slices.shape}")
    write = _write_picture if case.volume is None else _write_volume
    paths = write(case, folder, mask, {name: array.astype(np.float32) for name, array in fields.items()})
    content = {
        "name": case.name,
        "volume_ml": mask_ml(case, mask),
        "voxels": int(mask.sum()),
        "score": score,
        "scaling": case.scaling,
        "spacing_mm": case.spacing_mm,
        "files": {k: v.name for k, v in paths.items()},
    }
    paths["record"] = write_whole(folder / f"{case.name}.json", (json.dumps(content, indent=1) + "\n").encode())
    return paths


def _write_volume(
    case: Case, folder: Path, mask: NDArray[np.bool_], fields: dict[str, NDArray[np.float32]]
) -> dict[str, Path]:
    from skiagraph import __version__
    from skiagraph.data.dicom_segmentation import write_segmentation
    from skiagraph.data.volume import nifti_codes, write_nifti

    if case.volume is None:
        raise InputError(f"{case.name} is a picture; it has no grid in space")
    codes = nifti_codes(case.sources[0]) if case.kind == "nifti" else (1, 1)
    paths = {}
    arrays: dict[str, NDArray] = {"mask": mask.astype(np.uint8), **fields}
    for name, array in arrays.items():
        target, told = folder / f"{case.name}.{name}.nii.gz", f"lesion {name} by skiagraph, computed; not for diagnosis"
        paths[name] = write_nifti(target, volume_of_slices(array, case.volume), description=told, codes=codes)
    if case.kind == "dicom":
        frames = volume_of_slices(mask.astype(np.uint8), case.volume).array.transpose(2, 1, 0) > 0
        target = folder / f"{case.name}.segmentation.dcm"
        written = write_segmentation(target, frames, case.sources, version=__version__)
        if written is not None:
            paths["segmentation"] = written
    return paths


def _write_picture(
    case: Case, folder: Path, mask: NDArray[np.bool_], fields: dict[str, NDArray[np.float32]]
) -> dict[str, Path]:
    import io

    from skiagraph.data.files import write_whole
    from skiagraph.data.png import write_png

    paths = {}
    for name, array in fields.items():
        buffer = io.BytesIO()
        np.save(buffer, array)
        paths[name] = write_whole(folder / f"{case.name}.{name}.npy", buffer.getvalue())
    paths["mask"] = write_png(folder / f"{case.name}.mask.png", mask[0].astype(np.uint8) * 255)
    return paths
