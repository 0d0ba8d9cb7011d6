"""The source scan: read, refused where nothing sensible can be made of it, masked, scaled, framed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.dicom_series import find_series, read_series
from skiagraph.data.image_readers import format_of
from skiagraph.data.intensity import Scaling, correct_bias, percentile_scaling, window_scaling
from skiagraph.data.regrid import check_source
from skiagraph.data.volume import Volume, read_nifti
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.translate.frame import Frame, frame_of, framed, stack_of
from skiagraph.tasks.translate.method import SourceStack
from skiagraph.tasks.translate.prior import TargetPrior
from skiagraph.tasks.translate.run_settings import SourceSettings, TranslateSettings

__all__ = ["Scan", "foreground", "read_scan", "read_volume", "require_dicom_output", "scan_name"]

_AIR_HU, _AIR_SHARE = -500.0, 0.05
_LEAST_SHARE, _MOST_SHARE = 0.5, 1.3


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan ready to translate.

    Args:
        volume: as it came, in its own orientation and unit.
        mask: (X, Y, Z) bool on its grid.
        mask_from: how the mask was found.
        scaling: of its intensities to [0, 1].
        frame: where the prior sees it.
        stack: what the prior sees.
        warnings: what a reader must know.
        files: of a DICOM series, in the order of the volume's last axis; none for NIfTI.
    """

    volume: Volume
    mask: NDArray[np.bool_]
    mask_from: str
    scaling: Scaling
    frame: Frame
    stack: SourceStack
    warnings: tuple[str, ...]
    files: tuple[Path, ...] = ()


def scan_name(path: Path) -> str:
    """The subject's name: the file's or folder's, without its ending."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def read_volume(path: Path) -> tuple[Volume, tuple[Path, ...]]:
    """A NIfTI file or a folder with one DICOM series, and the files of its slices in order (none for NIfTI)."""
    if not path.is_dir():
        if format_of(path) == ".dcm":
            raise DataError(f"{path}: one DICOM slice is no volume; give the folder of its series")
        return read_nifti(path), ()
    series = find_series(path)
    if len(series) != 1:
        found = f"{len(series)} DICOM series" if series else "no DICOM image"
        raise DataError(f"{path}: {found} found there; a folder with one series is needed, or a NIfTI file")
    read = read_series(next(iter(series.values())))
    return read.volume, read.files


def require_dicom_output(settings: TranslateSettings) -> None:
    """Refuse to write DICOM where there is no DICOM source to take place, patient and study from."""
    if settings.dicom and not settings.scan.is_dir():
        raise InputError(
            f"dicom: {settings.scan} is no DICOM series, so there is none to write one beside; leave it out"
        )


def foreground(volume: Volume, wanted: str) -> tuple[NDArray[np.bool_], str]:
    """The mask and how it was found; see `SourceSettings.mask`."""
    from skiagraph.tasks.brain_mask import brain_mask

    if wanted not in ("auto", "brain", "nonzero"):
        file = Path(wanted)
        if not file.exists():
            raise InputError(f"source.mask: found {wanted!r}; allowed are auto, brain, nonzero, or a NIfTI mask here")
        given = read_nifti(file)
        if given.array.shape != volume.array.shape or not np.allclose(given.affine, volume.affine, atol=1e-3):
            raise InputError(
                f"source.mask: {file} has shape {given.array.shape} and another place than the scan, "
                f"{volume.array.shape}; it must lie on the scan's grid"
            )
        found, told = given.array > 0.5, "given"
    else:
        above = volume.array > float(volume.array.min())
        stripped = float(above.mean()) < 0.75
        if wanted == "nonzero" or (wanted == "auto" and stripped):
            found, told = above, "all above the smallest value"
        else:
            found, told = brain_mask(volume).mask, "SynthStrip"
    if not found.any():
        raise DataError(f"{volume.source}: the mask is empty; no voxel is left to translate")
    return found, told


def read_scan(path: Path, settings: SourceSettings, prior: TargetPrior, on_progress: OnProgress = silent) -> Scan:
    """Read, check, mask, scale and frame a scan for a prior.

    Args:
        path: NIfTI file or DICOM folder.
        settings: how.
        prior: whose frame it is brought to.
        on_progress: told about every stage.
    """
    on_progress("reading the scan", 0, 4)
    volume, files = read_volume(path)
    check_source(volume, largest_tilt_degrees=settings.largest_tilt_degrees)
    _refuse_unscaled_ct(volume, settings)
    on_progress("finding the foreground", 1, 4)
    mask, told = foreground(volume, settings.mask)
    if settings.correct_bias:
        on_progress("taking the shading out", 2, 4)
        volume, _ = correct_bias(volume, mask)
    scaling = (
        window_scaling(*settings.window)
        if settings.window is not None
        else percentile_scaling(volume.array, mask, settings.percentiles)
    )
    _refuse_cut_off(volume, mask, scaling)
    on_progress("resampling", 3, 4)
    frame = frame_of(volume, mask, prior.spacing_mm, prior.size, prior.multiple)
    stack = stack_of(*framed(volume, mask, frame, scaling), frame, scan_name(path))
    if not bool(stack.mask.any()):
        raise DataError(
            f"{path}: no foreground is left at the prior's spacing {prior.spacing_mm} mm; is the mask right?"
        )
    on_progress("resampling", 4, 4)
    return Scan(volume, mask, told, scaling, frame, stack, _warnings(volume, mask, prior), files)


def _refuse_unscaled_ct(volume: Volume, settings: SourceSettings) -> None:
    """Percentiles of a CT depend on how much air is in it; Hounsfield units are to be taken as they are."""
    if settings.window is None and float((volume.array < _AIR_HU).mean()) > _AIR_SHARE:
        raise DataError(
            f"{volume.source}: {100 * float((volume.array < _AIR_HU).mean()):.0f} % of the voxels lie below -500, so "
            "this is CT in Hounsfield units; state what becomes 0 and 1, such as --source.window -20 80 for brain"
        )


def _refuse_cut_off(volume: Volume, mask: NDArray[np.bool_], scaling: Scaling) -> None:
    """A window that all of the foreground lies beyond leaves a constant image."""
    inside = volume.array[mask]
    seen = scaling.apply(inside)
    if float(seen.min()) == float(seen.max()):
        raise DataError(
            f"{volume.source}: the foreground, from {float(inside.min()):g} to {float(inside.max()):g}, lies beyond "
            f"{scaling.low:g} to {scaling.high:g} ({scaling.kind}), so nothing is left to see; state other values"
        )


def _warnings(volume: Volume, mask: NDArray[np.bool_], prior: TargetPrior) -> tuple[str, ...]:
    from skiagraph.data.regrid import reorient, tilt_degrees

    told = []
    upright = reorient(Volume(mask.astype(np.uint8), volume.affine))
    thick = upright.spacing_mm[2]
    if thick > 2 * prior.spacing_mm[0]:
        told.append(
            f"slices lie {thick:.1f} mm apart, those of the prior {prior.spacing_mm[0]:.1f} mm: in between the source "
            "is interpolated, and the result can be no sharper"
        )
    corners = np.argwhere(upright.array > 0)
    extent = (np.ptp(corners, axis=0) + 1) * np.asarray(upright.spacing_mm)
    wanted = np.array([prior.size[1] * prior.spacing_mm[2], prior.size[0] * prior.spacing_mm[1]])
    share = float((extent[:2] / wanted).max())
    if not _LEAST_SHARE <= share <= _MOST_SHARE:
        told.append(
            f"the foreground is {extent[0]:.0f} x {extent[1]:.0f} mm, the prior's slices {wanted[0]:.0f} x "
            f"{wanted[1]:.0f} mm: another field of view, or another part of the body, than it has learned"
        )
    tilt = tilt_degrees(volume.affine)
    if tilt > 5:
        told.append(f"slices are tilted by {tilt:.1f} degrees; the prior has learned straight ones")
    return tuple(told)
