"""The command `import-checkpoint classifier`: a noisy classifier of guided-diffusion becomes a classifier folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from pydantic import Field

from skiagraph.config import Settings, resolved
from skiagraph.errors import InputError
from skiagraph.tasks.progress import OnProgress, silent

if TYPE_CHECKING:
    from skiagraph.networks import ImportNotes
    from skiagraph.networks.classifier import ClassifierConfig
    from skiagraph.training.classifier_record import ClassifierRecord

__all__ = ["ImportClassifierSettings", "ImportedClassifier", "import_classifier"]


class ImportClassifierSettings(Settings):
    """Turn a noisy classifier of guided-diffusion (or of code made from it) into a classifier folder.

    Say what its training told it as time: upstream the original time; where training was on respaced levels (the
    released code of MGDM), their index.
    """

    checkpoint: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")] = Field(
        description="The .pt, .pth or .safetensors file."
    )
    output: Path = Field(description="Classifier folder to make.")
    classes: list[str] = Field(min_length=2, description="Names of the classes in the order of the logits.")
    size: list[int] = Field(min_length=1, max_length=3, description="Image size in pixels, one number an axis.")
    times: Literal["original", "spaced_index"] = Field(
        description="What it was told as time in training; it will be asked in the same way."
    )
    levels: str = Field("1000", description='Levels of training: all "1000", or "ddim250" of them.')
    name: str | None = Field(None, description="Name of the classifier; default: the output folder's.")
    entry: str | None = Field(None, description="Entry of the file that holds the weights, if it holds several.")
    heads: int | None = Field(None, ge=1, description="Attention heads; or give `head_channels`.")
    head_channels: int | None = Field(None, ge=1, description="Channels of one attention head; 64 if neither is given.")
    attention_order: Literal["legacy", "new"] = Field("legacy", description='"new" if trained with the new order.')
    groups: int = Field(32, ge=1, description="Groups of the normalisations.")
    residual_blocks: int | None = Field(None, ge=1, description="Residual blocks a level, if the weights don't tell.")
    schedule: Literal["linear", "cosine"] = Field("linear", description="Noise schedule of training.")
    steps: int = Field(1000, ge=2, description="Noise levels of the whole table, before any respacing.")
    low: float = Field(-1.0, description="Lower end of the intensity range that the network knows.")
    high: float = Field(1.0, description="Upper end of that range.")
    temperature: float = Field(1.0, gt=0, description="What its logits are to be divided by, where it was fitted.")
    licence: str = Field("not stated", description="Licence of the weights, as their owner states it.")
    source: str = Field("not stated", description="Where the weights come from and what they were trained on.")


@dataclass(frozen=True)
class ImportedClassifier:
    """The classifier folder that was made, its record, and what had to be assumed."""

    folder: Path
    classifier: ClassifierRecord
    messages: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Return folder, architecture and assumptions."""
        return {
            "folder": self.folder,
            "name": self.classifier.name,
            "architecture": self.classifier.architecture.model_dump(mode="json"),
            "times": self.classifier.times,
            "weights_sha256": self.classifier.weights_sha256,
            "messages": list(self.messages),
        }


def _record(settings: ImportClassifierSettings, config: ClassifierConfig, notes: ImportNotes) -> ClassifierRecord:
    from skiagraph.training.classifier_networks import encoder_architecture
    from skiagraph.training.classifier_record import ClassifierRecord

    if len(settings.classes) != config.out_channels:
        raise InputError(
            f"classes: found {len(settings.classes)} names, but the network has {config.out_channels} logits"
        )
    if config.image_size is not None and tuple(settings.size) != tuple(config.image_size):
        raise InputError(f"size: found {settings.size}, but its attention pooling was built for {config.image_size}")
    if len(settings.size) != config.dimensions or not settings.low < settings.high:
        raise InputError(
            f"size, low, high: found {settings.size}, {settings.low}, {settings.high}; {config.dimensions} sizes are "
            "needed, and low below high"
        )
    return ClassifierRecord.model_validate(
        {
            "name": settings.name or settings.output.name,
            "summary": f"Imported from {notes.file} (SHA-256 {notes.sha256}).",
            "kind": "noisy",
            "architecture": encoder_architecture(config),
            "classes": settings.classes,
            "channels": config.in_channels,
            "size": settings.size,
            "normalisation": {"method": "as in the original training", "low": settings.low, "high": settings.high},
            "schedule": {"kind": f"{settings.schedule}_table", "settings": {"steps": settings.steps}},
            "times": settings.times,
            "trained_times": settings.levels,
            "temperature": settings.temperature,
            "data": {"provenance": settings.source},
            "training": {
                **{"objective": "not known", "images_seen": 0, "seeds": {}},
                **{"ema": {"kind": "none"}, "imported": True},
            },
            "licence": settings.licence,
            "limits": ["Imported: what the weights were trained on is known only as stated here.", *notes.messages],
            "extra": {
                "import_settings": {**resolved(settings), "checkpoint": notes.file, "output": settings.output.name}
            },
        }
    )


def import_classifier(settings: ImportClassifierSettings, on_progress: OnProgress = silent) -> ImportedClassifier:
    """Read foreign weights, check that they fit the inferred network and the stated levels, and write the folder.

    Args:
        settings: the file, and what its weights cannot tell.
        on_progress: told when the weights are read and when the folder is written.
    """
    from skiagraph.networks import import_classifier as read
    from skiagraph.networks.classifier import EncoderClassifier
    from skiagraph.training.classifier import Classifier

    on_progress("importing", 0, 2)
    try:
        config, weights, notes = read(
            settings.checkpoint,
            heads=settings.heads,
            head_channels=settings.head_channels,
            attention_order=settings.attention_order,
            groups=settings.groups,
            residual_blocks=settings.residual_blocks,
            image_size=tuple(settings.size),
            entry=settings.entry,
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"{settings.checkpoint}: {error}") from error
    network = EncoderClassifier(config)
    network.load_state_dict(weights)
    made = Classifier(network, _record(settings, config, notes))
    try:
        made.trained_times  # noqa: B018 - it refuses a respacing that the table does not have
    except ValueError as error:
        raise InputError(f"levels: {error}") from error
    on_progress("importing", 1, 2)
    written = made.save(settings.output)
    on_progress("importing", 2, 2)
    return ImportedClassifier(settings.output, written, notes.messages)
