"""Real images by the uncertainty rule: the control that asks whether choosing alone does what synthesis may claim."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from skiagraph.data.files import existing_file
from skiagraph.diffusion.guidance.measures import measure
from skiagraph.errors import InputError
from skiagraph.tasks.downstream.arms import TrainingSet, number_of
from skiagraph.tasks.downstream.sets import StudySets
from skiagraph.tasks.downstream.settings import DownstreamSettings
from skiagraph.tasks.downstream.train import predict, train_classifier
from skiagraph.tasks.progress import OnProgress

__all__ = ["FOLDS", "judge_identity", "most_uncertain"]

FOLDS = 5


def most_uncertain(sets: StudySets, settings: DownstreamSettings, on_progress: OnProgress) -> NDArray[np.intp]:
    """Places of the most uncertain share of every class among the real training images, most uncertain first.

    Logits come from the judge's folder, or from networks that never saw the image they judge (out of fold).

    Args:
        sets: all images.
        settings: rule, share, judge.
        on_progress: told about every fold.
    """
    logits = _judged(sets, settings) if settings.judge is not None else _out_of_fold(sets, settings, on_progress)
    labels = torch.from_numpy(sets.real.labels)
    values = measure(settings.rule)(torch.from_numpy(logits).double(), labels).numpy()
    chosen: list[int] = []
    for label in range(len(sets.classes)):
        places = np.flatnonzero(sets.real.labels == label)
        order = places[np.argsort(-values[places], kind="stable")]
        chosen += order[: max(1, round(settings.chosen_share * len(places)))].tolist()
    found = np.array(chosen, dtype=np.intp)
    return found[np.argsort(-values[found], kind="stable")]


def judge_identity(folder: Path | None) -> str:
    """Hash of a judge's weights, whatever its folder is called; "None" where none is given."""
    if folder is None:
        return str(None)
    weights = existing_file(folder / "model.safetensors", "the weights of a classifier")
    with open(weights, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _judged(sets: StudySets, settings: DownstreamSettings) -> NDArray[np.float32]:
    """Logits of a classifier folder, divided by its temperature; a noisy classifier is asked at time 0."""
    from skiagraph.training.classifier import Classifier

    if settings.judge is None:
        raise InputError("judge: found none; give a classifier folder")
    judge = Classifier.load(settings.judge, device="cpu")
    judge.require(classes=sets.classes, channels=sets.real.channels, size=sets.real.size)
    time = 0.0 if judge.kind == "noisy" else None
    with torch.no_grad():
        parts = [judge(part, time) for part in torch.split(torch.from_numpy(sets.real.images), 256)]
    logits: NDArray[np.float32] = (torch.cat(parts).float() / judge.temperature).numpy()
    return logits


def _out_of_fold(sets: StudySets, settings: DownstreamSettings, on_progress: OnProgress) -> NDArray[np.float32]:
    """Logits of every real image by a network that was trained on the other folds; patients stay together."""
    real = sets.real
    groups = np.array(real.patients or real.names)
    names = np.unique(groups)
    order = np.random.default_rng(number_of(settings.seed, "folds")).permutation(len(names))
    fold_of = dict(zip(names[order].tolist(), (np.arange(len(names)) % FOLDS).tolist(), strict=True))
    folds = np.array([fold_of[group] for group in groups.tolist()])
    logits = np.zeros((len(real), len(sets.classes)), np.float32)
    for fold in range(FOLDS):
        on_progress("choosing real images", fold, FOLDS)
        inside = folds == fold
        if not inside.any():
            continue
        given = TrainingSet(real.images[~inside], real.labels[~inside], None, settings.training.augmentation)
        seed = number_of(settings.seed, "fold", fold)
        trained = train_classifier(settings.figure_network, given, len(sets.classes), settings.training, seed)
        logits[inside] = predict(trained.network, real.images[inside])
    on_progress("choosing real images", FOLDS, FOLDS)
    return logits
