"""What learns from labelled pairs of the training heads: tissue segmenters, and the supervised upper bounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heads import Head, paired, training_labels, training_slices

from skiagraph.tasks.translate.method import Tools
from skiagraph.tasks.translate.rivals.supervised import supervised
from skiagraph.tasks.translate.segmenter import train_segmenter
from skiagraph.tasks.translate.small_network import SmallTraining

__all__ = ["train_networks"]


def train_networks(
    heads: Sequence[Head], directions: Sequence[tuple[str, str]], folder: Path, training: SmallTraining
) -> None:
    """Train what is missing in FOLDER/segmenter-TARGET and FOLDER/supervised-SOURCE-TARGET.

    Args:
        heads: training heads.
        directions: (source, target).
        folder: where networks are kept.
        training: how each learns.
    """
    for target in sorted({target for _, target in directions}):
        place = folder / f"segmenter-{target}"
        if not (place / "network.json").exists():
            print(f"training {place.name}", flush=True)
            train_segmenter(training_slices(heads, target), training_labels(heads), place, training)
    for source, target in directions:
        place = folder / f"supervised-{source}-{target}"
        if not (place / "network.json").exists():
            print(f"training {place.name}", flush=True)
            supervised(Tools(paired=paired(heads, source, target)), place, training)
