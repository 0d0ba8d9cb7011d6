"""The command `restore`: images from degraded ones, or from undersampled k-space, with a prior."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skiagraph.config import dump_yaml
from skiagraph.errors import InputError
from skiagraph.physics.selection import PixelMask
from skiagraph.report import write_page
from skiagraph.tasks.left_run import LeftRun
from skiagraph.tasks.measurement.generate import batch_size, sampling_cost
from skiagraph.tasks.measurement.outputs import (
    as_pictures,
    caught_coverage,
    stale_pictures,
    write_arrays,
    write_pictures,
    write_stack,
)
from skiagraph.tasks.measurement.plans import evaluations, restoration, restoration_method
from skiagraph.tasks.measurement.priors import ImagePrior, load_image_prior
from skiagraph.tasks.measurement.problems import Measured, measure
from skiagraph.tasks.measurement.restore_page import restore_page
from skiagraph.tasks.measurement.restored import Restored, magnitude_of
from skiagraph.tasks.measurement.sampling_settings import RestoreSettings
from skiagraph.tasks.measurement.walks import draw
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.provenance import run_record
from skiagraph.tasks.reconstruct.checks import mask_distances, mask_warnings
from skiagraph.tasks.reconstruct.outputs import check_writable, run_folder, write_text
from skiagraph.training.order import derive_seed

__all__ = ["RestoreResult", "expectation", "restore", "restore_images"]


@dataclass(frozen=True, eq=False)
class RestoreResult(LeftRun):
    """What the command left.

    Args:
        method: what restored.
        figures: one row an item, where the truth is known.
        evaluations: images through the network for one image, all samples.
    """

    method: str
    figures: list[dict[str, float | str]]
    evaluations: int

    def means(self) -> dict[str, float]:
        """Mean of every figure over the items."""
        names = [name for name in self.figures[0] if name != "name"] if self.figures else []
        return {name: float(np.mean([float(row[name]) for row in self.figures])) for name in names}

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            "method": self.method,
            **{name: round(value, 4) for name, value in self.means().items()},
            "figures": self.figures,
            "network_evaluations_per_image": self.evaluations,
            **super().record(),
        }

    def __rich__(self) -> Any:
        from rich.table import Table

        if not self.figures:
            return self.shown()
        table = Table("", "PSNR (dB)", "SSIM", title=f"{self.method}, {len(self.figures)} images")
        means = self.means()
        for label in ("input", "restored"):
            similarity = means.get(f"{label}_ssim")
            shown = "-" if similarity is None else f"{similarity:.3f}"
            table.add_row(label, f"{means[f'{label}_psnr_db']:.2f}", shown)
        return self.shown(table)


def _prior(settings: RestoreSettings) -> ImagePrior:
    mask = None if settings.mask.family == "none" else settings.mask
    prior = load_image_prior(settings.prior, mask, settings.precision)
    restoration_method(prior, settings)
    return prior


def expectation(settings: RestoreSettings) -> dict[str, Any]:
    """What a run costs, without starting it; a prior or input that is not there yet is said to be missing."""
    missing = [path for path in (settings.prior, settings.input) if not path.exists()]
    if missing:
        return {"missing": f"not there yet: {', '.join(map(str, missing))}; memory, evaluations and time follow"}
    prior = _prior(settings)
    data = measure(settings, prior)
    size = None if data.maps is None else (int(data.maps.shape[-2]), int(data.maps.shape[-1]))
    restoration(prior, settings, data.rows([0], prior.device))
    count = len(data) * settings.samples
    per_sample = evaluations(prior, settings, size)
    cost = sampling_cost(prior, per_sample, count, batch_size(prior, settings.batch, count))
    return {"items": len(data), "samples": settings.samples, **cost}


def restore_images(
    prior: ImagePrior, settings: RestoreSettings, data: Measured, on_progress: OnProgress = silent
) -> Restored:
    """Draw posterior samples of every item.

    Args:
        prior: the prior.
        settings: method, sampler and their numbers.
        data: what was measured.
        on_progress: told of levels done.
    """
    count = settings.samples
    total = len(data) * count
    seeds = [derive_seed("restore", settings.seed, name, sample) for name in data.names for sample in range(count)]
    try:
        images = draw(
            lambda rows: restoration(prior, settings, data.rows([row // count for row in rows], prior.device)),
            seeds,
            batch_size(prior, settings.batch, total),
            prior.device,
            lambda done, levels: on_progress("levels", done, levels),
        )
    except ValueError as error:
        raise InputError(f"{settings.problem}: {error}") from error
    return Restored(images.reshape(len(data), count, *images.shape[1:]), data, prior.complex_images)


def _data_warnings(prior: ImagePrior, settings: RestoreSettings, data: Measured) -> list[str]:
    """What does not quite fit: another image size, masks of another family, a released transpose."""
    told = []
    if data.maps is not None and tuple(data.maps.shape[-2:]) != prior.size:
        told.append(
            f"The scan's matrix is {tuple(data.maps.shape[-2:])}; the prior {prior.record.name!r} was trained on "
            f"{prior.size}. Look at the result with care."
        )
    told += mask_warnings(_mask_record(prior, data))
    scaled = prior.record.normalisation.method
    if settings.problem == "k-space" and not settings.simulate and not scaled.startswith("divide"):
        told.append(
            f"The prior's intensities were made by {scaled!r}, which needs the image itself; the scan was divided by "
            "the 99th percentile of its calibration lines' image instead."
        )
    if settings.sampler == "reference" and settings.problem in ("gaussian-blur", "motion-blur"):
        told.append("The released walk takes the identity for the transpose of a blur, which it is not.")
    return told


def _mask_record(prior: ImagePrior, data: Measured) -> dict[str, Any] | None:
    """How far the scan's lines are from those the prior learned from; None for images, and priors of other masks."""
    profile = prior.profile
    if data.maps is None or profile is None or not isinstance(data.operator, PixelMask):
        return None
    return mask_distances(prior.record, data.operator.mask[:, 0, 0], profile)


def restore(settings: RestoreSettings, on_progress: OnProgress = silent) -> RestoreResult:
    """Restore, and leave a run folder: images, error bars, figures, record, page."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    folder = settings.output or Path("runs") / f"restore-{settings.input.name.split('.')[0]}"
    check_writable(folder)
    prior = _prior(settings)
    data = measure(settings, prior, on_progress)
    if "nifti" in settings.formats and prior.channels > 1 and not prior.complex_images:
        raise InputError("formats: 'nifti' holds images of one channel, not colours; take png or npz")
    told = [*prior.warnings, *_data_warnings(prior, settings, data)]
    started = time.perf_counter()
    with caught_coverage(told.append):
        restored = restore_images(prior, settings, data, on_progress)
    size = None if data.maps is None else (int(data.maps.shape[-2]), int(data.maps.shape[-1]))
    count = settings.samples * evaluations(prior, settings, size)
    result = RestoreResult(
        folder,
        folder / "report.html",
        tuple(told),
        restoration_method(prior, settings),
        restored.scores(),
        count,
    )
    summary = {
        **run_record(),
        "provenance": f"restored by the prior {prior.record.name}, not measured; input: {data.provenance}",
        "prior": {"name": prior.record.name, "weights_sha256": prior.record.weights_sha256},
        "items": list(data.names),
        "mask": _mask_record(prior, data),
        "seconds_per_image": round((time.perf_counter() - started) / len(data), 3),
        "residual_over_noise_variance": [round(float(value), 4) for value in restored.residual().nan_to_num(-1)],
        "noise_std_normalised": [round(float(value), 6) for value in data.noise],
        **{name: value for name, value in result.record().items() if name not in ("folder", "page")},
        "seed": settings.seed,
    }
    _leave(settings, restored, result, summary)
    return result


def _leave(settings: RestoreSettings, restored: Restored, result: RestoreResult, summary: dict[str, Any]) -> None:
    """Write everything a run leaves."""
    data, mean = restored.data, restored.mean
    reference = data.truth if data.truth is not None else mean
    top = float(magnitude_of(reference, True).max()) if restored.complex_images else None
    shown = as_pictures(mean, complex_images=restored.complex_images, brightest=top)
    words = {"Source": str(summary["provenance"]), "Software": "skiagraph"}
    stale = [*stale_pictures(result.folder, ["restored"]), "grid.png", "restored.npz", "restored.nii.gz"]
    with run_folder(result.folder, stale) as staged:
        if "png" in settings.formats:
            write_pictures(staged, "restored", shown, words)
        if "npz" in settings.formats:
            arrays: dict[str, Any] = {"mean": mean, "samples": restored.samples, "degraded": data.degraded()}
            if restored.deviation is not None:
                arrays["standard_deviation"] = restored.deviation
            arrays |= {"limits": data.limits, "provenance": str(summary["provenance"])}
            write_arrays(staged / "restored.npz", arrays)
        if "nifti" in settings.formats:
            write_stack(staged / "restored.nii.gz", _in_units(restored), _affine(data))
        write_text(staged / "config.yaml", dump_yaml(settings))
        write_text(staged / "run.json", json.dumps(summary, indent=2))
        write_page(restore_page(settings, restored, shown, summary), staged / "report.html")


def _in_units(restored: Restored) -> Any:
    """The means (N, H, W) in the intensities of the input."""
    image = magnitude_of(restored.mean, restored.complex_images)[:, 0].numpy()
    limits = np.asarray(restored.data.limits, dtype=np.float32)
    low, high = limits[:, 0, None, None], limits[:, 1, None, None]
    return image * high if restored.complex_images else low + (image + 1) / 2 * (high - low)


def _affine(data: Measured) -> Any:
    """The input's affine, or pixel sizes alone where it has none."""
    return data.affine if data.affine is not None else np.diag([*data.spacing, 1.0, 1.0])
