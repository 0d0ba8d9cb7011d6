"""The command `generate`: synthetic images from a prior, ordinary or trained on masked measurements."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skiagraph.config import dump_yaml
from skiagraph.data.kspace import read_kspace
from skiagraph.data.map_files import read_maps
from skiagraph.diffusion.streams import Streams
from skiagraph.errors import DataError, InputError
from skiagraph.networks.unet import UNetConfig
from skiagraph.physics.coils import normalise_maps
from skiagraph.report import Highlight, Page, Picture, PictureRow, Table, write_page
from skiagraph.tasks.left_run import LeftRun
from skiagraph.tasks.measurement.network import network_cost, operations_per_second
from skiagraph.tasks.measurement.outputs import (
    as_pictures,
    caught_coverage,
    stale_pictures,
    write_arrays,
    write_pictures,
    write_stack,
)
from skiagraph.tasks.measurement.plans import evaluations, generation
from skiagraph.tasks.measurement.priors import ImagePrior, load_image_prior
from skiagraph.tasks.measurement.sampling_settings import GenerateSettings
from skiagraph.tasks.measurement.walks import Walk, draw
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.provenance import run_record
from skiagraph.tasks.reconstruct.outputs import check_writable, run_folder, write_text
from skiagraph.tasks.reconstruct.prepare import prepare_scan

__all__ = ["GenerateResult", "expectation", "generate", "generate_images", "sampling_cost"]

PROVENANCE = "synthetic"
LARGEST_PAGE = 24
ROWS = 16


@dataclass(frozen=True, eq=False)
class GenerateResult(LeftRun):
    """What the command left.

    Args:
        number: images drawn.
        seeds: first and last seed.
        evaluations: images through the network for one image drawn.
        seconds: in all.
    """

    number: int
    seeds: tuple[int, int]
    evaluations: int
    seconds: float

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            "images": self.number,
            "first_and_last_seed": list(self.seeds),
            "network_evaluations_per_image": self.evaluations,
            "seconds": round(self.seconds, 1),
            **super().record(),
        }


def load_maps(path: Path) -> Tensor:
    """Coil maps (S, coils, H, W), of unit root-sum-of-squares: from a file of `skiagraph maps`, or from a scan."""
    try:
        return normalise_maps(torch.from_numpy(read_maps(path).maps))
    except DataError as refusal:
        try:
            return prepare_scan(read_kspace(path), path).scan.maps
        except DataError as error:
            raise DataError(f"maps: {refusal}; nor is it a scan ({error})") from error


def _prior(settings: GenerateSettings) -> tuple[ImagePrior, Tensor | None]:
    """The prior, and the maps its images pass through; what has no effect is refused."""
    mask = None if settings.mask.family == "none" else settings.mask
    prior = load_image_prior(settings.prior, mask, settings.precision)
    if prior.mask is None:
        for name, given in (("views", settings.views is not None), ("sampler", settings.sampler != "default")):
            if given:
                raise InputError(f"{name} has no effect on {prior.record.name!r}, which saw whole images; leave it out")
    coils = prior.mask is not None and prior.complex_images
    if settings.maps is not None and not coils:
        raise InputError(f"maps: {prior.record.name!r} learned no masked k-space, so maps have no effect; leave it out")
    return prior, load_maps(settings.maps).to(prior.device) if settings.maps is not None else None


def _walk(prior: ImagePrior, settings: GenerateSettings, maps: Tensor | None, rows: Sequence[int]) -> Walk:
    chosen = None if maps is None else maps[[row % len(maps) for row in rows]]
    return generation(prior, settings, chosen)


def batch_size(prior: ImagePrior, wanted: int | None, items: int) -> int:
    """Images at a time: those wanted, else as many as 16 views make at 128 x 128 pixels."""
    rows = max(1, round(ROWS * 128**2 / (prior.size[0] * prior.size[1])))
    return max(1, min(items, wanted or max(1, rows // 2)))


def sampling_cost(prior: ImagePrior, per_image: int, images: int, batch: int, views: int = 2) -> dict[str, Any]:
    """Expected operations, memory and time of a number of walks."""
    config = UNetConfig(**{**prior.record.architecture.settings})  # type: ignore[arg-type]
    cost = network_cost(config, prior.size)
    total = per_image * images * cost.operations
    memory = 4 * cost.parameters + batch * views * cost.activations / 8
    return {
        "image": [prior.channels, *prior.size],
        "images": images,
        "network_parameters": cost.parameters,
        "network_evaluations_per_image": per_image,
        "gigaoperations_an_evaluation": round(cost.operations / 1e9, 1),
        "seconds_at_this_machines_present_speed": round(total / operations_per_second(prior.device)),
        "memory_gib": round(memory / 2**30 + 0.6, 2),
    }


def expectation(settings: GenerateSettings) -> dict[str, Any]:
    """What a run costs, without starting it."""
    if not settings.prior.exists():
        return _without_prior(settings.prior)
    prior, maps = _prior(settings)
    _walk(prior, settings, maps, [0])
    size = None if maps is None else (int(maps.shape[-2]), int(maps.shape[-1]))
    batch = batch_size(prior, settings.batch, settings.number)
    return sampling_cost(prior, evaluations(prior, settings, size), settings.number, batch)


def _without_prior(folder: Path) -> dict[str, Any]:
    return {"prior": f"not there yet: {folder}; memory, evaluations and time follow from it"}


def generate_images(
    prior: ImagePrior,
    settings: GenerateSettings,
    maps: Tensor | None = None,
    on_progress: OnProgress = silent,
) -> Tensor:
    """Draw `settings.number` images (N, C, H, W), normalised; image k is a function of the seed `settings.seed` + k.

    Args:
        prior: the prior.
        settings: sampler and its numbers.
        maps: (S, coils, H, W) for priors of masked k-space; image k takes map k modulo S.
        on_progress: told of levels done.
    """
    return draw(
        lambda rows: _walk(prior, settings, maps, rows),
        list(range(settings.seed, settings.seed + settings.number)),
        batch_size(prior, settings.batch, settings.number),
        prior.device,
        lambda done, total: on_progress("levels", done, total),
    )


def generate(settings: GenerateSettings, on_progress: OnProgress = silent) -> GenerateResult:
    """Draw images and leave a run folder: pictures, arrays, record, page; everything says that it is synthetic."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    prior, maps = _prior(settings)
    folder = settings.output or Path("runs") / f"generate-{prior.record.name}"
    check_writable(folder)
    if "nifti" in settings.formats and prior.channels > 1 and not prior.complex_images:
        raise InputError("formats: 'nifti' holds images of one channel, not colours; take png or npz")
    Streams([settings.seed + settings.number - 1])
    told = list(prior.warnings)
    started = time.perf_counter()
    with caught_coverage(told.append):
        images = generate_images(prior, settings, maps, on_progress)
    seconds = time.perf_counter() - started
    size = None if maps is None else (int(maps.shape[-2]), int(maps.shape[-1]))
    result = GenerateResult(
        folder,
        folder / "report.html",
        tuple(told),
        len(images),
        (settings.seed, settings.seed + settings.number - 1),
        evaluations(prior, settings, size),
        seconds,
    )
    _leave(settings, prior, images, result)
    return result


def _leave(settings: GenerateSettings, prior: ImagePrior, images: Tensor, result: GenerateResult) -> None:
    """Write everything a run leaves."""
    shown = as_pictures(images, complex_images=prior.complex_images)
    record = prior.record
    source = f"{PROVENANCE}: drawn from the prior {record.name}, not measured; not for diagnosis"
    words = {"Source": source, "Software": "skiagraph"}
    summary = {
        **run_record(),
        "provenance": source,
        "prior": {"name": record.name, "weights_sha256": record.weights_sha256},
        **{key: value for key, value in result.record().items() if key not in ("folder", "page")},
        "seeds": list(range(result.seeds[0], result.seeds[1] + 1)),
    }
    stale = [*stale_pictures(result.folder, ["image"]), "grid.png", "images.npz", "images.nii.gz"]
    with run_folder(result.folder, stale) as staged:
        if "png" in settings.formats:
            write_pictures(staged, "image", shown, words)
        if "npz" in settings.formats:
            channels = [channel.name for channel in record.channels]
            arrays = {"images": images.numpy(), "seeds": summary["seeds"], "channels": channels, "provenance": source}
            write_arrays(staged / "images.npz", arrays)
        if "nifti" in settings.formats:
            affine = np.diag([record.spacing_mm[0], record.spacing_mm[-1], 1.0, 1.0])
            write_stack(staged / "images.nii.gz", shown, affine)
        write_text(staged / "config.yaml", dump_yaml(settings))
        write_text(staged / "run.json", json.dumps(summary, indent=2))
        write_page(_page(settings, prior, shown, summary, result), staged / "report.html")


def _page(
    settings: GenerateSettings, prior: ImagePrior, shown: Any, summary: dict[str, Any], result: GenerateResult
) -> Page:
    pictures = [Picture(image, f"seed {seed}") for image, seed in zip(shown, summary["seeds"], strict=True)][
        :LARGEST_PAGE
    ]
    rows = [
        PictureRow(f"images {first} to {first + len(part) - 1}", tuple(part), window=(0.0, 1.0))
        for first in range(0, len(pictures), 6)
        if (part := pictures[first : first + 6])
    ]
    cells = [(name, str(value)) for name, value in settings.model_dump(mode="json", exclude_none=True).items()]
    return Page(
        title=f"Images drawn from {prior.record.name}",
        provenance=PROVENANCE,
        summary="Synthetic images: drawn from a diffusion prior, showing nobody and nothing that was measured.",
        highlights=(
            Highlight(str(result.number), "images", f"the first {len(pictures)} are shown"),
            Highlight(str(result.evaluations), "network evaluations an image"),
        ),
        warnings=result.warnings,
        tables=(Table("What was run", ("setting", "value"), tuple(cells), folded=True),),
        rows=tuple(rows),
        footer=f"skiagraph {summary['skiagraph']}, commit {summary['commit'] or 'unknown'}",
    )
