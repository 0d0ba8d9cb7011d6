"""The command `simulate`: a k-space file to try things on, made from a head volume; its truth in a file of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from pydantic import Field

from skiagraph.config import Settings
from skiagraph.errors import InputError
from skiagraph.tasks.progress import OnProgress, silent

if TYPE_CHECKING:
    from skiagraph.data.slicing import Head
    from skiagraph.tasks.reconstruct.simulated_scan import ScanPlan

__all__ = ["ScanFileSettings", "SimulateResult", "expectation", "simulate_file"]


class ScanFileSettings(Settings):
    """Scan a head volume in simulation: undersampled multi-coil k-space in one file, the hidden truth in another."""

    head: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="HEAD")] = Field(
        description="NIfTI volume of a head, name of a sample (see `skiagraph samples`), or `phantom`."
    )
    output: Path | None = Field(None, description="k-space file to write; default NAME.h5 in the current folder.")
    format: Literal["fastmri", "ismrmrd"] = Field("fastmri", description="Layout of the k-space file.")
    slices: int = Field(8, ge=1, description="Evenly spaced axial slices through the cerebrum.")
    masks: Literal["random", "equispaced", "variable-density", "full"] = Field("random", description="Mask family.")
    acceleration: float = Field(4.0, ge=1, description="Nominal acceleration.")
    centre: int | None = Field(None, ge=8, description="Calibration lines about zero frequency; default by rate.")
    matrix: int = Field(128, ge=32, description="Rows and columns of the acquisition.")
    field_of_view_mm: float = Field(256.0, gt=0, description="Field of view along rows and columns.")
    coils: int = Field(8, ge=1, description="Receive coils.")
    noise_fraction: float = Field(0.005, ge=0, description="Noise per part as a fraction of the image's peak.")
    seed: int = Field(0, ge=0, description="Seed of coils, phase, noise and mask.")


@dataclass(frozen=True)
class SimulateResult:
    """Where the scan and its truth lie.

    Args:
        scan: the k-space file.
        truth: file of what no method is given.
        shape: (slices, coils, rows, columns).
        acceleration: effective acceleration.
        noise_std: noise per real and imaginary part, in the file's unit.
    """

    scan: Path
    truth: Path
    shape: tuple[int, ...]
    acceleration: float
    noise_std: float

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            "scan": self.scan,
            "truth": self.truth,
            "shape": list(self.shape),
            "effective_acceleration": round(self.acceleration, 3),
            "noise_std": self.noise_std,
        }


def _paths(settings: ScanFileSettings) -> tuple[Path, Path]:
    name = Path(settings.head).name.split(".")[0]
    scan = settings.output or Path(f"{name}.h5")
    return scan, scan.with_name(f"{scan.name.removesuffix('.h5')}.truth.h5")


def _head(settings: ScanFileSettings) -> Head:
    """The head of a file, a sample or the phantom."""
    from skiagraph.data.phantom import head_phantom
    from skiagraph.data.sample_volumes import sample_volume
    from skiagraph.data.samples import fetch, registry
    from skiagraph.data.slicing import locate_head
    from skiagraph.data.volume import read_nifti

    if Path(settings.head).exists() or "." in Path(settings.head).name:
        return locate_head(read_nifti(settings.head))
    if settings.head == "phantom":
        return locate_head(head_phantom(settings.seed))
    if settings.head not in registry():
        raise InputError(
            f"head: {settings.head!r} is no file here and no sample; give a NIfTI volume, 'phantom', or one of "
            f"{', '.join(registry())}"
        )
    return locate_head(sample_volume(fetch(settings.head)))


def _plan(settings: ScanFileSettings, head: Head) -> ScanPlan:
    from skiagraph.data.simulation import ScanSettings
    from skiagraph.data.slicing import slice_positions
    from skiagraph.tasks.reconstruct.acquire import default_centre
    from skiagraph.tasks.reconstruct.simulated_scan import ScanPlan

    side, size = settings.matrix, settings.field_of_view_mm
    scanner = ScanSettings(
        coils=settings.coils,
        matrix=(side, side),
        field_of_view_mm=(size, size),
        noise_fraction=settings.noise_fraction,
    )
    return ScanPlan(
        name=Path(settings.head).name,
        positions=slice_positions(head, settings.slices),
        masks=settings.masks,
        acceleration=settings.acceleration,
        centre=settings.centre or default_centre(settings.acceleration),
        seed=settings.seed,
        scanner=scanner,
    )


def expectation(settings: ScanFileSettings) -> dict[str, Any]:
    """What `simulate` would write."""
    scan, truth = _paths(settings)
    size = settings.slices * settings.coils * settings.matrix**2 * 8
    return {"writes": scan, "truth": truth, "bytes": size, "seconds_on_one_core": 1 + settings.slices // 2}


def simulate_file(settings: ScanFileSettings, on_progress: OnProgress = silent) -> SimulateResult:
    """Simulate a scan, write it as a scanner would export it, and its hidden truth beside it.

    Args:
        settings: head, scan and file.
        on_progress: told about every slice.
    """
    from dataclasses import replace

    from skiagraph.data.archives import file_sha256
    from skiagraph.data.fastmri import write_fastmri
    from skiagraph.data.raw_data import write_ismrmrd
    from skiagraph.data.truth_files import write_truth
    from skiagraph.tasks.reconstruct.simulated_scan import simulate_scan

    scan_path, truth_path = _paths(settings)
    head = _head(settings)
    scan, truth = simulate_scan(head, _plan(settings, head), on_progress=on_progress)
    write = write_fastmri if settings.format == "fastmri" else write_ismrmrd
    write(scan_path, scan)
    record = {**truth.record, "mask_family": settings.masks, "nominal_acceleration": settings.acceleration}
    write_truth(truth_path, replace(truth, scan_sha256=file_sha256(scan_path), record=record))
    return SimulateResult(scan_path, truth_path, scan.data.shape, scan.acceleration, truth.record["noise_std"])
