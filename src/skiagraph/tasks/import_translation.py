"""The command `import-checkpoint translation`: released weights of mutual-information guidance become a prior."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from pydantic import Field

from skiagraph.config import Settings, resolved
from skiagraph.errors import InputError
from skiagraph.tasks.import_checkpoint import ImportResult
from skiagraph.tasks.progress import OnProgress, silent

if TYPE_CHECKING:
    from skiagraph.networks import DDPMUNetConfig, ImportNotes, UNetConfig
    from skiagraph.training.record import PriorRecord

__all__ = ["ImportTranslationSettings", "import_translation"]


class ImportTranslationSettings(Settings):
    """Turn a checkpoint of the released mutual-information guided translation into a prior folder.

    Both of its networks are known, from the names of the weights. What the weights cannot tell stands in the
    configuration that the network was trained with.
    """

    checkpoint: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")] = Field(
        description="The .pth file: a list of weights, optimiser, epoch, step, average; or a state dict."
    )
    output: Path = Field(description="Prior folder to make.")
    modality: str = Field(description="Target modality that it was trained on, such as T1.")
    spacing_mm: tuple[float, float, float] = Field(
        description="Spacing of its training images: slice to slice, row to row, column to column (not stated by it)."
    )
    size: int = Field(128, ge=16, description="Side of the training images (image_size).")
    patch: int = Field(3, ge=3, le=5, description="Side of the patches (geo_patch_sz), 3 or 5.")
    sigma: float = Field(2.0, gt=0, description="Width of the kernel (MIsigma).")
    name: str | None = Field(None, description="Name of the prior; default: the output folder's.")
    licence: str = Field("not stated", description="Licence of the weights, as their owner states it.")
    source: str = Field("not stated", description="Where the weights come from and what they were trained on.")


def import_translation(settings: ImportTranslationSettings, on_progress: OnProgress = silent) -> ImportResult:
    """Read released weights, check that all of them fit a known network, and write the prior folder.

    Args:
        settings: the file, and what its weights cannot tell.
        on_progress: told when the weights are read and when the folder is written.
    """
    from skiagraph.networks import import_translation as read
    from skiagraph.training.architectures import build_network
    from skiagraph.training.prior import Prior

    if settings.patch not in (3, 5):
        raise InputError(f"patch: found {settings.patch}; the released maps have patches of 3 or 5")
    on_progress("importing", 0, 2)
    try:
        config, weights, notes = read(settings.checkpoint, size=settings.size)
    except (TypeError, ValueError) as error:
        raise InputError(f"{settings.checkpoint}: {error}") from error
    if config.in_channels != 3 or config.out_channels != 1:
        raise InputError(
            f"{settings.checkpoint}: the network has {config.in_channels} input and {config.out_channels} output "
            "channels; the released one takes state, cross map and self map and predicts the noise. One input channel "
            "is its SDEdit rival: use `skiagraph import-checkpoint prior`"
        )
    record = _record(settings, config, notes)
    network = build_network(record.architecture.kind, record.architecture.settings)
    network.load_state_dict(weights)
    on_progress("importing", 1, 2)
    written = Prior(network, record).save(settings.output)
    on_progress("importing", 2, 2)
    return ImportResult(settings.output, written, notes.messages)


def _record(
    settings: ImportTranslationSettings, config: DDPMUNetConfig | UNetConfig, notes: ImportNotes
) -> PriorRecord:
    from skiagraph.networks import DDPMUNetConfig
    from skiagraph.training.record import PriorRecord

    kind = "ddpm-unet" if isinstance(config, DDPMUNetConfig) else "unet"
    condition = {
        "kind": "lmi-reference",
        "search": "next",
        "pseudo_source": "same",
        "dropout": 0.0,
        "flag": False,
        "patch": settings.patch,
        "sigma": settings.sigma,
        "normalise": True,
    }
    return PriorRecord.model_validate(
        {
            "name": settings.name or settings.output.name,
            "summary": f"Imported from {notes.file} (SHA-256 {notes.sha256}): {settings.modality} steered by local "
            "mutual information, released form.",
            "architecture": {"kind": kind, "settings": json.loads(json.dumps(dataclasses.asdict(config)))},
            "parametrisation": "eps",
            "schedule": {"kind": "linear_table", "settings": {"steps": 1000}},
            "time": {"kind": "original_index"},
            "channels": [{"name": settings.modality, "meaning": "state; cross map and self map are joined to it"}],
            "normalisation": {"method": "as in the original training: [0, 1]", "low": 0, "high": 1},
            "concatenated": ["maps"],
            "size": [settings.size, settings.size],
            "spacing_mm": list(settings.spacing_mm[1:]),
            "data": {"provenance": settings.source},
            "training": {
                "objective": "squared error of the noise, maps at level min(t + 1, 999), normalised information",
                "images_seen": 0,
                "seeds": {},
                "ema": {"kind": "none"},
                "imported": True,
            },
            "licence": settings.licence,
            "limits": [
                "Imported: what the weights were trained on, and for what, is known only as stated here.",
                "Usable with its maps only, and with the released sampler: it is no unconditional prior.",
                *notes.messages,
            ],
            "extra": {
                "translate": {
                    "condition": condition,
                    "slice_spacing_mm": settings.spacing_mm[0],
                    "modality": settings.modality,
                    "bins": settings.patch**3,
                    "variance": "fixedlarge",
                },
                "import_settings": {
                    **resolved(settings),
                    "checkpoint": notes.file,
                    "output": settings.output.name,
                },
                "import_messages": list(notes.messages),
                "weights_in_file": "exponential average, decay 0.9999 a step" if notes.ema else "last weights",
            },
        }
    )
