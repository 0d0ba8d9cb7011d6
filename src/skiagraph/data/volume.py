"""Three-dimensional images with their geometry: array and affine always travel together."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.files import atomic_path, existing_file
from skiagraph.errors import DataError, InputError

__all__ = ["Volume", "nifti_codes", "read_nifti", "write_nifti"]

FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Volume:
    """A three-dimensional real image and where its voxels lie.

    Attributes:
        array: (X, Y, Z), any real type, arbitrary intensity unit.
        affine: (4, 4) float64, voxel index to world position in mm, axes to the right, anterior and superior (RAS+).
        source: where it came from, for records; never a patient identifier.
    """

    array: FloatArray
    affine: NDArray[np.float64]
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.array.ndim != 3 or 0 in self.array.shape:
            raise InputError(f"array has shape {self.array.shape}; a volume needs three axes of at least one voxel")
        affine = np.asarray(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.allclose(affine[3], (0, 0, 0, 1)):
            raise InputError(f"affine is {affine.tolist()}; a finite 4x4 matrix with last row 0 0 0 1 is needed")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise InputError(f"affine {affine.tolist()} is singular: the voxels would have no volume")
        object.__setattr__(self, "affine", affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel edge lengths in mm, in array order."""
        x, y, z = (float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0))
        return x, y, z

    @property
    def orientation(self) -> str:
        """Axis letters such as "RAS": the direction in which each array axis grows."""
        import nibabel

        return "".join(nibabel.aff2axcodes(self.affine))

    def canonical(self) -> Volume:
        """Return the same image with axes reordered and flipped to RAS; world positions do not change."""
        import nibabel

        steps = nibabel.io_orientation(self.affine)
        array = np.ascontiguousarray(nibabel.apply_orientation(self.array, steps))
        affine = self.affine @ nibabel.orientations.inv_ornt_aff(steps, self.array.shape)
        return Volume(array, affine, self.source)


def _require_geometry(header: Any, path: Path) -> None:
    """Refuse a NIfTI whose header defines no orientation, rather than invent one."""
    if int(header["qform_code"]) == 0 and int(header["sform_code"]) == 0:
        raise DataError(
            f"{path}: the NIfTI header defines no affine (qform_code and sform_code are 0). "
            "Give it one with the tool that made it, or pass `affine` explicitly"
        )


def read_nifti(
    path: str | os.PathLike[str], *, affine: NDArray[np.float64] | None = None, flat: bool = False
) -> Volume:
    """Read a NIfTI-1 or NIfTI-2 file (.nii, .nii.gz) as float32 with its affine.

    Args:
        path: the file.
        affine: (4, 4) voxel to world mm; needed only where the header defines none, and refused where it does.
        flat: whether a file of two axes is read too, as a volume of one slice.

    Raises DataError for a missing, truncated or foreign file, for a header without affine, and for more than one image.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    file = existing_file(path, "a NIfTI file")
    try:
        image = nibabel.load(file)
        if not isinstance(image, nibabel.Nifti1Image):
            raise DataError(f"{file}: the format is {type(image).__name__}; only NIfTI (.nii, .nii.gz) is read here")
        header = image.header
        if affine is None:
            _require_geometry(header, file)
        elif int(header["qform_code"]) or int(header["sform_code"]):
            raise InputError(f"{file}: the header already defines an affine; drop the `affine` argument")
        array = np.asarray(image.dataobj, dtype=np.float32)
    except (ImageFileError, OSError, EOFError, ValueError) as error:
        raise DataError(f"{file}: not a readable NIfTI file ({error})") from error
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if flat and array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3:
        raise DataError(f"{file}: the image has shape {array.shape}; one volume with three axes is needed")
    if not np.isfinite(array).all():
        raise DataError(f"{file}: {int((~np.isfinite(array)).sum())} voxels are NaN or infinite; none may be")
    return Volume(array, image.affine if affine is None else affine, file.name)


def nifti_codes(path: str | os.PathLike[str]) -> tuple[int, int]:
    """The qform and sform code of a NIfTI file: the kinds of world that its affine leads to.

    A result that is written with the codes of its source lies where the source lies in every viewer.

    Args:
        path: the file.
    """
    import nibabel

    header: Any = nibabel.load(path).header
    return (int(header["qform_code"]), int(header["sform_code"]))


def write_nifti(
    path: str | os.PathLike[str], volume: Volume, *, description: str = "", codes: tuple[int, int] = (1, 1)
) -> Path:
    """Write a volume as NIfTI-1 with its affine, under a temporary name first; nothing else goes into the header.

    Args:
        path: ends in .nii or .nii.gz.
        volume: what to write.
        description: what the image is, at most 79 characters, such as that it is synthetic.
        codes: qform and sform code, the kind of world that the affine leads to; 1: the scanner's.
    """
    import nibabel

    target = Path(path)
    if not target.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"path {str(target)!r} must end in .nii or .nii.gz")
    array = volume.array if volume.array.dtype in (np.float32, np.int16, np.uint8) else volume.array.astype(np.float32)
    image = nibabel.Nifti1Image(array, volume.affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(volume.affine, code=codes[1])
    image.set_qform(volume.affine, code=codes[0], strip_shears=True)
    if len(description.encode()) > 79:
        raise InputError(f"description {description!r} is too long; a NIfTI header holds 79 bytes")
    image.header["descrip"] = description.encode()
    save: Callable[..., None] = nibabel.save
    with atomic_path(target, suffix=".nii.gz" if target.name.endswith(".gz") else ".nii") as partial:
        save(image, partial)
    return target
