"""`train noisy-classifier` and `train classifier`: whole runs, the best weights, calibration, continuation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from skiagraph.config import load_settings
from skiagraph.diffusion import linear_table
from skiagraph.errors import InputError
from skiagraph.tasks.synthesize.learn import rounds
from skiagraph.tasks.synthesize.learn.classifiers import expectation, train_classifier, train_noisy_classifier
from skiagraph.tasks.synthesize.learn.settings import ClassifierSettings, EncoderSettings, NoisyClassifierSettings
from skiagraph.training.checkpoint import load_tensors
from skiagraph.training.classifier import Classifier

from .test_class_prior import PRESETS
from .test_data import spots_folder

COMMON = {"batch_size": 8, "warmup": 0, "validation": 0.3, "precision": "float32", "learning_rate": 3e-3}
ENCODER = {"kind": "encoder", "channels": 16, "multipliers": [1.0, 2.0], "head_channels": 16, "attention": 6}


def noisy(root: Path, **changes: Any) -> NoisyClassifierSettings:
    values = {"data": root / "data", "output": root / "run", "images": 24, "network": ENCODER, "bins": 3, **COMMON}
    return NoisyClassifierSettings.model_validate({**values, **changes})


def test_a_noisy_classifier_is_kept_at_its_best_and_calibrated(tmp_path: Path) -> None:
    spots_folder(tmp_path / "data")
    run = noisy(tmp_path, levels="ddim50", images=240, validate_every=80)
    assert expectation(run)["validation_images"] == {"above": 3, "left": 3, "right": 3}
    made = train_noisy_classifier(run)
    history = [json.loads(line) for line in (tmp_path / "run" / "validation.jsonl").read_text().splitlines()]
    assert [entry["images"] for entry in history] == [80, 160, 240]
    assert made.best_at == min(history, key=lambda entry: entry["loss"])["images"]
    found = Classifier.load(tmp_path / "run")
    assert (found.kind, found.times, found.classes) == ("noisy", "original", ("above", "left", "right"))
    assert found.trained_times == linear_table().respaced("ddim50").indices
    assert found.temperature == pytest.approx(made.temperature)
    best = load_tensors(tmp_path / "run" / "best.safetensors")[0]
    assert all(torch.equal(value, best[name]) for name, value in found.network.state_dict().items())
    bins = found.record.extra["bins"]
    assert len(bins) == 3  # type: ignore[arg-type]
    assert {"ece", "ece_before", "balanced_accuracy", "cross_entropy", "accuracy"} == set(bins[0])  # type: ignore[index, arg-type]
    assert found.record.figures["cleanest_bin_balanced_accuracy"] > 0.6  # type: ignore[operator]


@pytest.mark.parametrize("kind", ["encoder", "resnet10"])
def test_a_judge_of_clean_images(tmp_path: Path, kind: str) -> None:
    spots_folder(tmp_path / "data")
    network = ENCODER if kind == "encoder" else {"kind": kind, "channels": 8}
    values = {"data": tmp_path / "data", "output": tmp_path / "run", "images": 16, "network": network, **COMMON}
    made = train_classifier(ClassifierSettings.model_validate({**values, "validate_every": 8}))
    found = Classifier.load(tmp_path / "run")
    assert (found.kind, found.times, found.schedule) == ("clean", None, None)
    assert made.figures["validation_balanced_accuracy"] == found.record.figures["validation_balanced_accuracy"]
    assert found(torch.zeros(2, 1, 12, 12)).shape == (2, 3)


def test_a_noisy_classifier_of_monai_is_told_the_time(tmp_path: Path) -> None:
    spots_folder(tmp_path / "data", 5)
    train_noisy_classifier(noisy(tmp_path, images=16, validate_every=8, network={"kind": "resnet10", "channels": 8}))
    found = Classifier.load(tmp_path / "run")
    assert (found.kind, found.times) == ("noisy", "original")
    x = torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (gradient,) = torch.autograd.grad(found(x, 900.0)[:, 1].sum(), x)
    assert gradient.abs().sum() > 0
    assert not torch.equal(found(x, 900.0), found(x, 10.0))


def test_killed_anywhere_it_continues_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spots_folder(tmp_path / "data", 5)
    whole = train_noisy_classifier(noisy(tmp_path, output=tmp_path / "whole", validate_every=8))
    calls = []

    def stop(network: nn.Module, weights: Any) -> nn.Module:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rounds_with(network, weights)

    rounds_with = rounds.with_weights
    monkeypatch.setattr(rounds, "with_weights", stop)
    with pytest.raises(KeyboardInterrupt):
        train_noisy_classifier(noisy(tmp_path, output=tmp_path / "parts", validate_every=8))
    parts = train_noisy_classifier(noisy(tmp_path, output=tmp_path / "parts", validate_every=8))
    assert parts.figures == whole.figures
    for name in ("model.safetensors", "validation.jsonl"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    shutil.rmtree(tmp_path / "parts" / "checkpoints")
    with pytest.raises(InputError, match="another run"):
        train_noisy_classifier(noisy(tmp_path, output=tmp_path / "parts", validate_every=8, bins=2))


def test_what_has_no_effect_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="best weights"):
        noisy(tmp_path, validation=0.0)
    with pytest.raises(ValueError, match="no effect on resnet18"):
        EncoderSettings(kind="resnet18", attention=8)
    with pytest.raises(ValueError, match="dropout"):
        EncoderSettings(kind="resnet18", dropout=0.1)


def test_presets_are_valid(tmp_path: Path) -> None:
    place = {"data": tmp_path, "output": tmp_path / "o"}
    released = load_settings(NoisyClassifierSettings, PRESETS / "reference-noisy-classifier.yaml", **place)
    assert (released.times, released.levels) == ("spaced_index", "ddim250")
    assert load_settings(NoisyClassifierSettings, PRESETS / "organs-noisy-classifier.yaml").times == "original"
    assert load_settings(ClassifierSettings, PRESETS / "organs-judge.yaml").network.kind == "resnet18"
