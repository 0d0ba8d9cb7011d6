"""The command `import-checkpoint`: weights of the guided-diffusion lineage become a prior folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from pydantic import Field

from skiagraph.config import Settings, resolved
from skiagraph.errors import InputError
from skiagraph.tasks.progress import OnProgress, silent

if TYPE_CHECKING:
    from torch import Tensor

    from skiagraph.networks import ImportNotes, UNetConfig
    from skiagraph.training.record import PriorRecord

__all__ = ["ImportResult", "ImportSettings", "import_checkpoint"]


class ImportSettings(Settings):
    """Turn a guided-diffusion or improved-diffusion checkpoint into a prior folder; nothing in the file is executed.

    Architecture and sizes are inferred from the weights. What weights cannot tell (heads, schedule, time, intensity
    range, spacing) is asked for here; look at the configuration that the network was trained with.
    """

    checkpoint: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")] = Field(
        description="The .pt, .pth or .safetensors file; the averaged weights (ema_...) where there are any."
    )
    output: Path = Field(description="Prior folder to make.")
    size: list[int] = Field(min_length=1, max_length=3, description="Image size in pixels, one number an axis.")
    spacing_mm: list[float] = Field(min_length=1, max_length=3, description="Pixel spacing in mm, one number an axis.")
    name: str | None = Field(None, description="Name of the prior; default: the output folder's.")
    entry: str | None = Field(None, description="Entry of the file that holds the weights, if it holds several.")
    heads: int | None = Field(None, ge=1, description="Attention heads; or give `head_channels`.")
    head_channels: int | None = Field(None, ge=1, description="Channels of one attention head (64 in released ADMs).")
    attention_order: Literal["legacy", "new"] = Field("legacy", description='"new" if trained with the new order.')
    groups: int = Field(32, ge=1, description="Groups of the normalisations.")
    downsample_depth: bool = Field(False, description="3-D only: the first spatial axis is downsampled too.")
    schedule: Literal["linear", "cosine"] = Field("linear", description="Noise schedule of training.")
    steps: int = Field(1000, ge=2, description="Noise levels of training, before any respacing.")
    levels: str | None = Field(
        None,
        description='Levels that it was trained on, "ddim250" say, where not all `steps`; others are refused later.',
    )
    unlabelled: bool = Field(
        False,
        description="Trained with label dropout, so that it may be asked without label (classifier-free guidance).",
    )
    time: Literal["original_index", "rescaled"] = Field(
        "original_index", description='What the network saw as time; "rescaled" if trained with rescale_timesteps.'
    )
    predicts: Literal["eps", "x0", "v"] = Field("eps", description="What the network predicts.")
    channels: list[str] = Field([], description="Names of the image channels in order; default: numbered.")
    concatenated: list[str] = Field([], description="Conditions joined to the image as further input channels.")
    classes: list[str] = Field([], description="Names of the classes in order; default: numbered.")
    low: float = Field(-1.0, description="Lower end of the intensity range that the network knows.")
    high: float = Field(1.0, description="Upper end of that range.")
    licence: str = Field("not stated", description="Licence of the weights, as their owner states it.")
    source: str = Field("not stated", description="Where the weights come from and what they were trained on.")


@dataclass(frozen=True)
class ImportResult:
    """The prior folder that was made, its record, and what had to be assumed."""

    folder: Path
    prior: PriorRecord
    messages: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Return folder, architecture and assumptions."""
        return {
            "folder": self.folder,
            "name": self.prior.name,
            "architecture": self.prior.architecture.model_dump(mode="json"),
            "learned_variance": self.prior.learned_variance,
            "weights_sha256": self.prior.weights_sha256,
            "messages": list(self.messages),
        }


def _read(settings: ImportSettings) -> tuple[UNetConfig, dict[str, Tensor], ImportNotes]:
    """Read the checkpoint; what the importer finds impossible becomes an input error."""
    from skiagraph.networks import import_checkpoint as read

    try:
        return read(
            settings.checkpoint,
            heads=settings.heads,
            head_channels=settings.head_channels,
            attention_order=settings.attention_order,
            groups=settings.groups,
            downsample_depth=settings.downsample_depth,
            entry=settings.entry,
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"{settings.checkpoint}: {error}") from error


def _check_channels(settings: ImportSettings, config: UNetConfig) -> tuple[list[str], bool]:
    """Return the names of the image channels and whether the network has learned a variance."""
    images = config.in_channels - len(settings.concatenated)
    names = settings.channels or [f"channel {number}" for number in range(images)]
    if len(names) != images or images < 1:
        raise InputError(
            f"channels: found {settings.channels}, concatenated: found {settings.concatenated}, but the network has "
            f"{config.in_channels} input channels; name all of them, image channels first"
        )
    if config.out_channels not in (images, 2 * images):
        raise InputError(
            f"channels: the network has {config.out_channels} outputs for {images} image channels; {images}, or "
            f"{2 * images} with a learned variance, are possible. Are there channels to name in `concatenated`?"
        )
    return names, config.out_channels == 2 * images


def _check_names(settings: ImportSettings, config: UNetConfig) -> list[str]:
    """Return the class names, after checking them and the numbers of axes."""
    for name, value in (("size", settings.size), ("spacing_mm", settings.spacing_mm)):
        if len(value) != config.dimensions:
            raise InputError(f"{name}: found {value}, but the network has {config.dimensions} spatial axes")
    if settings.classes and len(settings.classes) != config.classes:
        raise InputError(
            f"classes: found {len(settings.classes)} names, but the network's class table has {config.classes} rows"
        )
    if not settings.low < settings.high:
        raise InputError(f"low, high: found {settings.low} and {settings.high}; low must be below high")
    return settings.classes or [str(number) for number in range(config.classes)]


def _check_levels(settings: ImportSettings) -> str | None:
    """Return the respacing that the network was trained on, after trying it; None for all levels."""
    from skiagraph.diffusion import linear_table

    if settings.levels is None or settings.levels == str(settings.steps):
        return None
    try:
        linear_table(settings.steps).respaced(settings.levels)
    except ValueError as error:
        raise InputError(f"levels: {error}") from error
    return settings.levels


def _record(settings: ImportSettings, config: UNetConfig, notes: ImportNotes) -> PriorRecord:
    from skiagraph.training.architectures import unet_architecture
    from skiagraph.training.record import PriorRecord

    channels, learned = _check_channels(settings, config)
    levels = _check_levels(settings)
    classes = _check_names(settings, config)
    averaged = "exponential average" + (f", decay {notes.ema_rate:g} a step" if notes.ema_rate is not None else "")
    return PriorRecord.model_validate(
        {
            "name": settings.name or settings.output.name,
            "summary": f"Imported from {notes.file} (SHA-256 {notes.sha256}).",
            "architecture": unet_architecture(config),
            "parametrisation": settings.predicts,
            "learned_variance": learned,
            "schedule": {"kind": f"{settings.schedule}_table", "settings": {"steps": settings.steps}},
            "time": {"kind": settings.time},
            "channels": [{"name": name, "meaning": "as in the original training"} for name in channels],
            "normalisation": {"method": "as in the original training", "low": settings.low, "high": settings.high},
            "classes": classes,
            "conditions": ["label"] if config.classes else [],
            "concatenated": settings.concatenated,
            "size": settings.size,
            "spacing_mm": settings.spacing_mm,
            "data": {"provenance": settings.source},
            "training": {
                "objective": "not known",
                "images_seen": 0,
                "seeds": {},
                "ema": {"kind": "none"},
                "imported": True,
            },
            "licence": settings.licence,
            "limits": [
                "Imported: what the weights were trained on, and for what, is known only as stated here.",
                *notes.messages,
            ],
            "extra": {
                "import_settings": {**resolved(settings), "checkpoint": notes.file, "output": settings.output.name},
                "import_messages": list(notes.messages),
                "weights_in_file": averaged if notes.ema else "no average, by the name of the file",
                "training_steps": notes.steps,
                **({"trained_times": levels} if levels else {}),
            },
        }
    )


def import_checkpoint(settings: ImportSettings, on_progress: OnProgress = silent) -> ImportResult:
    """Read foreign weights, check that they fit the inferred network, and write the prior folder.

    Args:
        settings: the file, and what its weights cannot tell.
        on_progress: told when the weights are read and when the folder is written.
    """
    from skiagraph.networks import UNet
    from skiagraph.training.prior import Prior

    on_progress("importing", 0, 2)
    config, weights, notes = _read(settings)
    if settings.unlabelled:
        if not config.classes:
            raise InputError("unlabelled: the network has no classes, so every call is without label; leave it out")
        config = replace(config, unlabelled=True)
    record = _record(settings, config, notes)
    network = UNet(config)
    network.load_state_dict(weights)
    prior = Prior(network, record)
    prior.denoiser()
    on_progress("importing", 1, 2)
    written = prior.save(settings.output)
    on_progress("importing", 2, 2)
    return ImportResult(settings.output, written, notes.messages)
