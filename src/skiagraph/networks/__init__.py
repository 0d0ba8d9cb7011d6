"""Networks a prior can be made of; this package knows torch only."""

from __future__ import annotations

from skiagraph.networks.classifier import ClassifierConfig, EncoderClassifier
from skiagraph.networks.importer import ImportNotes, import_checkpoint, import_classifier
from skiagraph.networks.unet import UNet, UNetConfig, parameter_count

__all__ = [
    "ClassifierConfig",
    "EncoderClassifier",
    "ImportNotes",
    "UNet",
    "UNetConfig",
    "import_checkpoint",
    "import_classifier",
    "parameter_count",
]
