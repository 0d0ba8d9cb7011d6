"""Networks a prior can be made of; this package knows torch only."""

from __future__ import annotations

from skiagraph.networks.classifier import ClassifierConfig, EncoderClassifier
from skiagraph.networks.ddpm_unet import DDPMUNet, DDPMUNetConfig
from skiagraph.networks.importer import ImportNotes, import_checkpoint, import_classifier
from skiagraph.networks.translation_import import import_translation
from skiagraph.networks.unet import UNet, UNetConfig, parameter_count

__all__ = [
    "ClassifierConfig",
    "DDPMUNet",
    "DDPMUNetConfig",
    "EncoderClassifier",
    "ImportNotes",
    "UNet",
    "UNetConfig",
    "import_checkpoint",
    "import_classifier",
    "import_translation",
    "parameter_count",
]
