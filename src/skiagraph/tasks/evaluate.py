"""The command `evaluate`: figures of a reconstruction file against a truth file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from pydantic import Field

from skiagraph.config import Settings
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.slices import chosen_slices

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table

    from skiagraph.data.images import ImageStack
    from skiagraph.evaluation import Interval

__all__ = ["EvaluateResult", "EvaluateSettings", "evaluate"]


class EvaluateSettings(Settings):
    """Compare a reconstruction with the truth, slice by slice: PSNR, SSIM (2-D), NMSE, and coverage of error bars."""

    reconstruction: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RECONSTRUCTION")] = Field(
        description="Images to judge: NIfTI or HDF5."
    )
    truth: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TRUTH")] = Field(
        description="True images on the same grid: NIfTI or HDF5."
    )
    mask: Path | None = Field(None, description="Images whose non-zero pixels count; default: all pixels.")
    deviation: Path | None = Field(
        None, description="Standard deviations of the reconstruction (may be the same HDF5 file), for their coverage."
    )
    samples: int | None = Field(None, ge=2, description="Posterior samples behind `deviation`; widens its intervals.")
    level: float = Field(0.9, gt=0, lt=1, description="Level of the intervals whose coverage is counted.")
    slices: str = Field("all", description='Which slices: "all", an index, or START:STOP[:STEP], separated by commas.')
    data_range: float | None = Field(
        None, gt=0, description="Span of intensities for PSNR and SSIM; default: largest truth of the chosen slices."
    )
    scale: Literal["none", "slice"] = Field(
        "none", description="slice: multiply each slice by the real factor that brings it nearest to the truth."
    )
    key: str | None = Field(None, description="Name of the reconstruction's array in an HDF5 file.")
    truth_key: str | None = Field(None, description="Name of the truth's array in an HDF5 file.")


@dataclass(frozen=True)
class EvaluateResult:
    """Scores of every slice, their means with 95 % bootstrap intervals, and what they were computed with."""

    scores: dict[str, list[float]]
    slices: tuple[int, ...]
    intervals: dict[str, Interval]
    data_range: float
    scale: str

    def record(self) -> dict[str, Any]:
        """Return means, intervals (where there are two slices or more) and the scores of every slice."""
        summary = {
            name: {"mean": interval.mean, "low": interval.low, "high": interval.high}
            for name, interval in self.intervals.items()
        }
        settings = {"data_range": self.data_range, "scale": self.scale, "interval": "95 % bootstrap over slices"}
        return {**settings, "summary": summary, "slices": list(self.slices), "scores": self.scores}

    def __rich__(self) -> Table:
        """Return a table of means with intervals."""
        from rich.table import Table

        table = Table("score", "mean", "95 % interval over slices", title=f"{len(self.slices)} slices")
        for name, values in self.scores.items():
            interval = self.intervals.get(name)
            spread = f"{interval.low:.4g} to {interval.high:.4g}" if interval else "needs two slices"
            table.add_row(name, f"{sum(values) / len(values):.4g}", spread)
        table.caption = (
            f"data range {self.data_range:.6g}; scale: {self.scale}. Slices of one head are not independent."
        )
        return table


def _matched(
    settings: EvaluateSettings, path: Path, key: str | None, truth: ImageStack, known: Sequence[str] | None = None
) -> ImageStack:
    """Read images that must lie on the truth's grid."""
    import numpy as np

    from skiagraph.data.images import IMAGE_KEYS, read_images

    images = read_images(path, key=key, known=known or IMAGE_KEYS)
    if images.array.shape != truth.array.shape:
        raise DataError(
            f"{path} has (slices, rows, columns) {images.array.shape}, but {settings.truth} has {truth.array.shape}; "
            "both must lie on one grid"
        )
    one, other = images.affine, truth.affine
    if one is not None and other is not None and not np.allclose(one, other, atol=0.01):
        raise DataError(
            f"{path} and {settings.truth} have different affines; bring both onto one grid before comparing them:\n"
            f"{images.affine}\n{truth.affine}"
        )
    return images


def _range(settings: EvaluateSettings, truth: NDArray[np.float32]) -> float:
    if settings.data_range is not None:
        return settings.data_range
    largest = float(truth.max())
    if largest <= 0:
        raise DataError(f"{settings.truth}: the largest value is {largest}; give `data_range`")
    return largest


def _scores(
    image: NDArray[Any],
    truth: NDArray[Any],
    data_range: float,
    mask: NDArray[Any] | None,
    deviation: NDArray[Any] | None,
    settings: EvaluateSettings,
) -> dict[str, float]:
    """Return all scores of one slice."""
    from skiagraph.evaluation import fit_scale, gaussian_coverage, nmse, psnr, spread_to_error, ssim

    factor = fit_scale(image, truth, mask) if settings.scale == "slice" else 1.0
    image = factor * image
    scores = {
        "psnr_db": psnr(image, truth, data_range, mask),
        "ssim": ssim(image, truth, data_range, mask),
        "nmse": nmse(image, truth, mask),
    }
    if deviation is not None:
        spread = abs(factor) * deviation
        scores["coverage"] = gaussian_coverage(image, spread, truth, settings.level, mask, samples=settings.samples)
        exact = bool((image == truth).all())
        scores["spread_to_error"] = (
            float("inf") if exact else spread_to_error(image, spread, truth, mask, samples=settings.samples)
        )
    return scores


def evaluate(settings: EvaluateSettings, on_progress: OnProgress = silent) -> EvaluateResult:
    """Score every chosen slice; nothing is rescaled unless asked for.

    Args:
        settings: files and how to compare them.
        on_progress: told about every slice.
    """
    import numpy as np

    from skiagraph.data.images import read_images
    from skiagraph.evaluation import mean_interval

    if settings.samples is not None and settings.deviation is None:
        raise InputError("samples: given without `deviation`, which it belongs to")
    truth = read_images(settings.truth, key=settings.truth_key)
    image = _matched(settings, settings.reconstruction, settings.key, truth)
    mask = _matched(settings, settings.mask, None, truth).array != 0 if settings.mask else None
    deviation = None
    if settings.deviation:
        deviation = _matched(settings, settings.deviation, None, truth, ("standard_deviation",)).array
    chosen = chosen_slices(settings.slices, len(truth))
    data_range = _range(settings, truth.array[chosen])
    scores: dict[str, list[float]] = {}
    for done, index in enumerate(chosen):
        on_progress("slices", done, len(chosen))
        part = (None if mask is None else mask[index], None if deviation is None else deviation[index])
        try:
            found = _scores(image.array[index], truth.array[index], data_range, *part, settings)
        except ValueError as error:
            raise DataError(f"slice {index} cannot be scored: {error}") from error
        for name, value in found.items():
            scores.setdefault(name, []).append(value)
    on_progress("slices", len(chosen), len(chosen))
    finite = {name: values for name, values in scores.items() if len(values) > 1 and np.isfinite(values).all()}
    intervals = {name: mean_interval(values) for name, values in finite.items()}
    return EvaluateResult(scores, tuple(chosen), intervals, data_range, settings.scale)
