"""Classifier folders: written whole, read exactly, asked in one way, refused with names where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from skiagraph.diffusion import linear_table
from skiagraph.errors import DataError, InputError
from skiagraph.networks.classifier import ClassifierConfig
from skiagraph.training.classification import NoisyClassification
from skiagraph.training.classifier import Classifier
from skiagraph.training.classifier_networks import (
    MONAI_NETWORKS,
    build_classifier,
    encoder_architecture,
    monai_architecture,
)
from skiagraph.training.classifier_record import ClassifierRecord

ENCODER = encoder_architecture(
    ClassifierConfig(
        channels=8, multipliers=(1, 2), residual_blocks=1, heads=2, groups=4, out_channels=3, image_size=(16, 16)
    )
)
NOISY = {"kind": "noisy", "schedule": {"kind": "linear_table"}, "times": "original", "trained_times": "1000"}


def record(architecture: dict[str, Any] = ENCODER, **changes: Any) -> ClassifierRecord:
    values = {
        "name": "toy",
        "summary": "A toy.",
        "kind": "clean",
        "architecture": architecture,
        "classes": ["10", "2", "x"],
        "channels": 1,
        "size": [16, 16],
        "normalisation": {"method": "none", "low": -1, "high": 1},
        "data": {"provenance": "generated"},
        "training": {"objective": "none", "images_seen": 0, "seeds": {}, "ema": {"kind": "none"}},
        "licence": "Apache-2.0",
        **changes,
    }
    return ClassifierRecord.model_validate(values)


def classifier(architecture: dict[str, Any] = ENCODER, **changes: Any) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_classifier(architecture["kind"], architecture["settings"])
    return Classifier(network.eval(), record(architecture, **changes))


@pytest.mark.parametrize("network", ["encoder", *MONAI_NETWORKS])
def test_saved_and_loaded_it_says_the_same(tmp_path: Path, network: str) -> None:
    made = classifier(ENCODER if network == "encoder" else monai_architecture(network, 1, 3, 8), temperature=1.5)
    written = made.save(tmp_path / "c")
    found = Classifier.load(tmp_path / "c")
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found(x), made(x))
    assert found(x).shape == (2, 3)
    assert found.record == written
    assert (found.kind, found.temperature, found.schedule, found.times) == ("clean", 1.5, None, None)
    assert found.classes == ("10", "2", "x")  # declared order, not sorted
    assert sorted(file.name for file in (tmp_path / "c").iterdir()) == [
        "README.md",
        "classifier.json",
        "model.safetensors",
    ]
    assert "10, 2, x" in (tmp_path / "c" / "README.md").read_text()


def test_frozen_weights_still_guide(tmp_path: Path) -> None:
    classifier(**NOISY).save(tmp_path)
    found = Classifier.load(tmp_path)
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (gradient,) = torch.autograd.grad(found(x, torch.tensor([3.0, 900.0]))[:, 1].sum(), x)
    assert gradient.abs().sum() > 0
    assert all(value.grad is None and not value.requires_grad for value in found.network.parameters())


class Recorder(nn.Module):
    """Keeps every time it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.told: set[float] = set()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        self.told |= set(time.tolist())
        return self.weight.expand(len(x), 3)


@pytest.mark.parametrize("times", ["original", "spaced_index"])
def test_the_same_times_are_told_in_training_and_in_sampling(times: Any) -> None:
    from skiagraph.diffusion.streams import Streams

    schedule = linear_table().respaced("ddim25")
    training, sampling = Recorder(), Recorder()
    objective = NoisyClassification(schedule, times)
    batch = {"image": torch.zeros(400, 1, 16, 16), "label": torch.zeros(400, dtype=torch.long)}
    objective(training, batch, Streams(range(400)))
    asked = Classifier(sampling, record(**{**NOISY, "times": times, "trained_times": "ddim25"}))
    for level in range(len(schedule)):
        original = schedule.original_index(torch.tensor(float(level)))  # what a sampler knows of its level
        asked(torch.zeros(2, 1, 16, 16), original.expand(2))
    assert training.told == sampling.told
    assert max(sampling.told) == (960.0 if times == "original" else 24.0)
    mistaken = Recorder()
    Classifier(mistaken, asked.record).asked_by("original")(torch.zeros(1, 1, 16, 16), 960.0)
    assert mistaken.told == {960.0}  # the released sampler's way, on request


def test_a_level_it_never_saw_is_refused() -> None:
    found = classifier(**{**NOISY, "times": "spaced_index", "trained_times": "ddim250"})
    x = torch.zeros(1, 1, 16, 16)
    assert found.trained_times[:3] == (0, 4, 8)
    with pytest.raises(ValueError, match=r"3\.0.*250 levels"):
        found(x, 3.0)
    found.require(schedule=linear_table().respaced("ddim25"))
    with pytest.raises(InputError, match=r"times \[1, 2, 3, 5\]"):
        found.require(schedule=linear_table())
    with pytest.raises(InputError, match="levels"):
        found.require(schedule=linear_table(500))


@pytest.mark.parametrize(
    ("needs", "word"),
    [
        ({"kind": "clean"}, "kind"),
        ({"classes": ["2", "10", "x"]}, "classes"),
        ({"channels": 3}, "channels"),
        ({"size": (32, 32)}, "size"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(needs: dict[str, Any], word: str) -> None:
    found = classifier(**NOISY)
    found.require(kind="noisy", classes=("10", "2", "x"), channels=1, size=(16, 16), schedule=linear_table())
    with pytest.raises(InputError, match=word):
        found.require(**needs)


def test_calls_that_make_no_sense_are_refused() -> None:
    x = torch.zeros(1, 1, 16, 16)
    with pytest.raises(ValueError, match="t: missing"):
        classifier(**NOISY)(x)
    with pytest.raises(ValueError, match="knows no time"):
        classifier()(x, 3.0)
    with pytest.raises(ValueError, match="x: found"):
        classifier()(x[..., :8])
    with pytest.raises(InputError, match="times"):
        classifier().asked_by("original")


def test_records_that_are_not_whole_are_refused() -> None:
    with pytest.raises(ValueError, match="needs schedule, times, trained_times"):
        record(kind="noisy")
    with pytest.raises(ValueError, match="has no schedule"):
        record(schedule={"kind": "linear_table"})
    with pytest.raises(ValueError, match="classes"):
        record(classes=["only"])
    with pytest.raises(ValueError, match="more than once"):
        record(classes=["a", "a"])


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="trained classifier"):
        Classifier.load(tmp_path / "nothing")
    made = classifier()
    made.save(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.rename(tmp_path / "away")
    with pytest.raises(DataError, match="no such file"):
        Classifier.load(tmp_path)
    tensors = load_file(tmp_path / "away")
    name = next(iter(tensors))
    del tensors[name]
    save_file(tensors, weights, metadata={"state": "{}"})
    with pytest.raises(DataError, match="SHA-256"):
        Classifier.load(tmp_path)
    import hashlib

    content = json.loads((tmp_path / "classifier.json").read_text())
    content["weights_sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    (tmp_path / "classifier.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        Classifier.load(tmp_path)
