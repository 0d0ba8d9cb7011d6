"""Which real images count as uncertain, and what a network trained on real images says of the sets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.helpers.tiny_sets import classes_of_spots

from skiagraph.data.labelled import LabelledImages
from skiagraph.tasks.downstream import uncertain
from skiagraph.tasks.downstream.arms import TrainingSet
from skiagraph.tasks.downstream.figures import set_figures
from skiagraph.tasks.downstream.sets import StudySets
from skiagraph.tasks.downstream.settings import DownstreamSettings


def silent(stage: str, done: int, total: int) -> None:
    """Say nothing."""


def labelled(seed: int, each: int, patients: bool = False) -> LabelledImages:
    """`each` images of three classes; a patient shows two images of every class."""
    found = classes_of_spots(seed, each)
    images = np.concatenate([np.stack(list(part)) for part in found.values()])[:, None]
    labels = np.repeat(np.arange(len(found)), each).astype(np.int64)
    names = tuple(f"{number:03d}" for number in range(len(labels)))
    groups = tuple(f"p{number % each // 2}" for number in range(len(labels))) if patients else None
    return LabelledImages((images / np.float32(127.5) - 1).astype(np.float32), labels, tuple(found), names, groups)


def settings(**changes: Any) -> DownstreamSettings:
    given = {"real": Path("real"), "figure_network": "lenet", "training": {"steps": 40, "batch": 16}, "neighbours": 2}
    return DownstreamSettings.model_validate({**given, **changes})


def test_no_network_judges_an_image_or_a_patient_that_it_was_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = StudySets(labelled(0, 10, patients=True), labelled(1, 4), {})
    patient_of = {image.tobytes(): name for image, name in zip(sets.real.images, sets.real.patients or (), strict=True)}
    judged: list[set[str]] = []

    def train(name: str, given: TrainingSet, *_: Any) -> Any:
        return SimpleNamespace(network={patient_of[image.tobytes()] for image in given.images})

    def predict(trained_on: set[str], images: NDArray[np.float32]) -> NDArray[np.float32]:
        asked = {patient_of[image.tobytes()] for image in images}
        assert not asked & trained_on
        judged.append(asked)
        return np.zeros((len(images), 3), np.float32)

    monkeypatch.setattr(uncertain, "train_classifier", train)
    monkeypatch.setattr(uncertain, "predict", predict)
    uncertain.most_uncertain(sets, settings(), silent)
    assert set().union(*judged) == {f"p{number}" for number in range(5)}


def test_the_least_sure_images_of_each_class_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = StudySets(labelled(0, 8), labelled(1, 4), {})
    sureness = np.random.default_rng(0).permutation(24).astype(np.float32) + 1
    logits = np.zeros((24, 3), np.float32)
    logits[np.arange(24), sets.real.labels] = sureness / 4
    monkeypatch.setattr(uncertain, "_out_of_fold", lambda *_: logits)
    found = uncertain.most_uncertain(sets, settings(chosen_share=0.25), silent)
    expected = [
        8 * label + place for label in range(3) for place in np.argsort(sureness[8 * label : 8 * label + 8])[:2]
    ]
    assert set(found.tolist()) == set(expected)
    assert sureness[found].tolist() == sorted(sureness[found])


def test_a_network_trained_on_real_images_knows_right_labels_from_wrong_ones() -> None:
    right = labelled(2, 12)
    wrong = LabelledImages(right.images, (right.labels + 1) % 3, right.classes, right.names)
    sets = StudySets(labelled(0, 12), labelled(1, 6), {"right": right, "wrong": wrong})
    test, one, other = set_figures(sets, settings(), silent)
    assert test["label_agreement_lenet"] > 0.8
    assert one["label_agreement_lenet"] > 0.8
    assert other["label_agreement_lenet"] < 0.2
    assert one["class_score_lenet"] == pytest.approx(other["class_score_lenet"])  # which does not see labels
    by_class = {name: row["by_class-lenet-on-real"]["left"] for name, row in (("right", one), ("wrong", other))}
    assert by_class["right"][3] > by_class["wrong"][3]  # coverage of a class by images of another
