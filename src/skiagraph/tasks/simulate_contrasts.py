"""The command `simulate contrasts`: one brain in several contrasts, with its tissues, from a T1-weighted head."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray
from pydantic import Field

from skiagraph.config import Settings
from skiagraph.errors import InputError
from skiagraph.tasks.progress import OnProgress, silent

if TYPE_CHECKING:
    from skiagraph.data.contrast_simulation import SimulatedContrasts
    from skiagraph.data.samples import FetchedSample
    from skiagraph.data.volume import Volume

__all__ = ["ContrastSettings", "ContrastsResult", "expectation", "simulate_contrast_files"]

PROVENANCE = "simulated contrast"
_TISSUE_LABELS = {1: "csf", 2: "grey", 3: "white"}


class ContrastSettings(Settings):
    """Show one brain as T1, PD, T2 and FLAIR would: real anatomy, computed signal, tissue truth beside it.

    Without a mask the sample's own is taken, else SynthStrip finds the brain (half a minute, 4 GB).
    """

    head: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="HEAD")] = Field(
        description="T1-weighted NIfTI volume of a head, or name of a sample (see `skiagraph samples`)."
    )
    output: Path = Field(description="New folder for the contrasts.")
    contrasts: tuple[str, ...] = Field(("T1", "PD", "T2", "FLAIR"), description="Which: T1, PD, T2, FLAIR.")
    mask: Path | None = Field(None, description="NIfTI mask of the brain on the head's grid; default: see above.")
    correct_bias: bool = Field(True, description="Take the head's own shading out first (N4; needs SimpleITK).")
    noise_percent: float = Field(3.0, ge=0, le=100, description="Noise in percent of the reference tissue's signal.")
    bias_percent: float = Field(20.0, ge=0, lt=200, description="Range of the shading in the brain: 20 is 0.9 to 1.1.")
    texture_percent: float = Field(1.5, ge=0, lt=50, description="Smooth texture that each contrast has of its own.")
    seed: int = Field(0, ge=0, description="Seed of tissue parameters, texture, shading and noise.")


@dataclass(frozen=True)
class ContrastsResult:
    """What was written.

    Args:
        output: the folder.
        contrasts: their names.
        litres: volume of the brain mask.
        tissue_litres: volume of fluid, grey and white matter.
    """

    output: Path
    contrasts: tuple[str, ...]
    litres: float
    tissue_litres: dict[str, float]

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            "output": self.output,
            "contrasts": list(self.contrasts),
            "brain_litres": round(self.litres, 3),
            **{f"{name}_litres": round(value, 3) for name, value in self.tissue_litres.items()},
        }


def expectation(settings: ContrastSettings) -> dict[str, Any]:
    """What `simulate contrasts` would write."""
    files = 2 * len(settings.contrasts) + 5
    return {
        "writes": settings.output,
        "files": files + 2,
        "megabytes_for_a_head_of_1_mm": 12 * files,
        "minutes_on_one_core": 2 + (0 if settings.mask else 1),
    }


def _source(settings: ContrastSettings) -> tuple[Volume, FetchedSample | None]:
    from skiagraph.data.sample_volumes import sample_volume
    from skiagraph.data.samples import fetch, registry
    from skiagraph.data.volume import read_nifti

    if Path(settings.head).exists() or "." in Path(settings.head).name:
        return read_nifti(settings.head), None
    if settings.head not in registry():
        raise InputError(
            f"head: {settings.head!r} is no file here and no sample; give a NIfTI volume or one of "
            f"{', '.join(registry())}"
        )
    fetched = fetch(settings.head)
    return sample_volume(fetched), fetched


def _mask(settings: ContrastSettings, head: Volume, fetched: FetchedSample | None) -> tuple[NDArray[np.bool_], str]:
    """The brain, and where it was taken from."""
    from skiagraph.data.sample_volumes import sample_volume
    from skiagraph.data.volume import read_nifti
    from skiagraph.tasks.brain_mask import brain_mask

    if settings.mask is not None:
        given = read_nifti(settings.mask)
        if given.array.shape != head.array.shape or not np.allclose(given.affine, head.affine, atol=1e-3):
            raise InputError(
                f"mask: {settings.mask} has shape {given.array.shape} and another place than the head, "
                f"{head.array.shape}; it must lie on the head's grid"
            )
        return given.array > 0.5, "given"
    if fetched is not None and "brain" in fetched.files:
        brain = sample_volume(fetched, "brain")
        if brain.array.shape == head.array.shape:
            return brain.array > 0, "shipped with the sample"
    if fetched is not None and "grey-matter" in fetched.files:
        return head.array > 0, "the sample is without its skull"
    return brain_mask(head).mask, "SynthStrip"


def _fractions(head: Volume, mask: NDArray[np.bool_], fetched: FetchedSample | None) -> tuple[NDArray[np.float32], str]:
    from skiagraph.data.contrast_tissue import fractions_from_intensity, fractions_from_maps, tissue_means
    from skiagraph.data.sample_volumes import sample_volume

    if fetched is not None and "grey-matter" in fetched.files:
        maps = [sample_volume(fetched, f"{name}-matter").array / 255.0 for name in ("grey", "white")]
        return fractions_from_maps(maps[0], maps[1], mask), "maps shipped with the sample"
    means = tissue_means(head.array[mask])
    found = fractions_from_intensity(head.array, mask, means)
    return found, f"linear between class means {means.csf:.4g}, {means.grey:.4g}, {means.white:.4g}"


def simulate_contrast_files(settings: ContrastSettings, on_progress: OnProgress = silent) -> ContrastsResult:
    """Simulate the contrasts and write them as NIfTI on the head's grid, with tissue truth and a record.

    Args:
        settings: head, contrasts and folder.
        on_progress: told about every stage.
    """
    from skiagraph.data.contrast_simulation import ContrastOptions, simulate_contrasts
    from skiagraph.data.intensity import correct_bias
    from skiagraph.data.regrid import check_source

    options = ContrastOptions(
        contrasts=tuple(settings.contrasts),
        noise_percent=settings.noise_percent,
        bias_percent=settings.bias_percent,
        texture_percent=settings.texture_percent,
    )
    if settings.output.exists() and any(settings.output.iterdir()):
        raise InputError(f"output: {settings.output} is not empty; give a new folder")
    head, fetched = _source(settings)
    check_source(head, largest_tilt_degrees=90.0)
    on_progress("finding the brain", 0, 4)
    mask, mask_from = _mask(settings, head, fetched)
    on_progress("taking the shading out", 1, 4)
    if settings.correct_bias:
        head, _ = correct_bias(head, mask)
    on_progress("telling tissues apart", 2, 4)
    fractions, tissue_from = _fractions(head, mask, fetched)
    on_progress("simulating", 3, 4)
    case = Path(settings.head).name
    made = simulate_contrasts(head.array, fractions, mask, head.spacing_mm, options, seed=settings.seed, case=case)
    record = {
        "provenance": PROVENANCE,
        "head": case,
        "sample": None if fetched is None else fetched.record(),
        "mask": mask_from,
        "tissue": tissue_from,
        "settings": settings.model_dump(mode="json"),
        "options": asdict(options),
        "parameters": {
            name: dict(zip(("pd", "t1_ms", "t2_ms"), made.parameters[name], strict=True)) for name in made.parameters
        },
        "noise_std": made.noise_std,
        "labels": _TISSUE_LABELS,
    }
    _write(settings.output, head, mask, made, record)
    on_progress("simulating", 4, 4)
    voxel = abs(float(np.linalg.det(head.affine[:3, :3]))) / 1e6
    tissue = {name: float(made.fractions[index].sum()) * voxel for index, name in enumerate(_TISSUE_LABELS.values())}
    return ContrastsResult(settings.output, options.contrasts, float(mask.sum()) * voxel, tissue)


def _write(
    output: Path, head: Volume, mask: NDArray[np.bool_], made: SimulatedContrasts, record: dict[str, Any]
) -> None:
    from skiagraph.data.files import write_whole
    from skiagraph.data.volume import Volume, write_nifti
    from skiagraph.tasks.provenance import run_record

    def save(name: str, array: NDArray[Any]) -> None:
        write_nifti(output / f"{name}.nii.gz", Volume(array, head.affine))

    output.mkdir(parents=True, exist_ok=True)
    for name, image in made.images.items():
        save(name, image)
        save(f"{name}.clean", made.clean[name])
    save("mask", mask.astype(np.uint8))
    for index, name in enumerate(_TISSUE_LABELS.values()):
        save(f"tissue-{name}", made.fractions[index])
    save("tissues", ((np.argmax(made.fractions, 0) + 1) * mask).astype(np.uint8))
    write_whole(output / "preview.png", _preview(made, mask))
    content = json.dumps({**record, **run_record()}, indent=1, default=str)
    write_whole(output / "contrasts.json", content.encode())


def _preview(made: SimulatedContrasts, mask: NDArray[np.bool_]) -> bytes:
    """Three planes through the middle of the brain, one row a contrast, as PNG."""
    from skiagraph.data.png import encode_png

    middle = [
        int(np.median(np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))))) for axis in range(3)
    ]
    side = max(mask.shape)
    rows = []
    for image in made.images.values():
        top = float(np.percentile(image[mask], 99.5))
        tiles = []
        for axis in range(3):
            plane = np.take(image, middle[axis], axis)[:, ::-1].T
            tile = np.zeros((side, side))
            tile[: plane.shape[0], : plane.shape[1]] = plane
            tiles.append(tile)
        rows.append(np.clip(np.concatenate(tiles, 1) / top, 0, 1))
    return encode_png(np.round(255 * np.concatenate(rows)).astype(np.uint8), {"Source": PROVENANCE})
