"""Two classes of a prior as vectors, and the priors that have none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.tiny_prior import CONFIG, record
from torch import nn

from skiagraph.diffusion import Streams
from skiagraph.errors import InputError
from skiagraph.networks import UNet
from skiagraph.tasks.segment.labelled_prior import LabelledPrior
from skiagraph.tasks.segment.maps import difference_map
from skiagraph.tasks.segment.settings import DifferenceSettings
from skiagraph.training import Prior, unet_architecture

CLASSES = ["normal", "hyper", "hypo"]


def prior(**changes: Any) -> Prior:
    config = replace(CONFIG, in_channels=1, out_channels=1, classes=3, unlabelled=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet(config)
        for value in network.parameters():
            nn.init.normal_(value, std=0.1)
    values: dict[str, Any] = {
        "architecture": unet_architecture(config),
        "parametrisation": "eps",
        "schedule": {"kind": "linear_table", "settings": {"steps": 1000}},
        "time": {"kind": "original_index"},
        "channels": [{"name": "intensity", "meaning": "T1"}],
        "measurement": None,
        "classes": CLASSES,
        "conditions": ["label"],
    }
    return Prior(network.eval().requires_grad_(False), record(**{**values, **changes}))


def test_the_two_classes_are_rows_of_the_table_and_null_is_a_label() -> None:
    found = LabelledPrior.of(prior(), "hyper", "normal")
    base: Any = found.denoiser
    table = base.network.label_emb.weight
    assert torch.equal(found.pair.present, table[1])
    assert torch.equal(found.pair.absent, table[0])
    assert found.labels == (1, 0)
    x, t = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor(300.0)
    by_label = found.denoiser(x, t, {"label": found.label("present", 2)}).x0
    by_vector = found.denoiser(x, t, found.pair.told(found.pair.present, 2)).x0
    assert torch.equal(by_label, by_vector)
    null = found.denoiser(x, t, {"label": found.label("null", 2)}).x0
    zeros = found.denoiser(x, t, {"embedding": torch.zeros(2, 32)}).x0
    assert torch.equal(null, zeros)


def test_all_engines_answer_in_front_of_one_call() -> None:
    found = LabelledPrior.of(prior(), "hypo", "normal")
    images = torch.zeros(2, 1, 16, 16)
    for engine, calls in (("jvp", 4), ("difference", 4), ("reference", 40)):
        levels = {} if engine == "reference" else {"levels": [0.7]}
        settings = DifferenceSettings(engine=engine, seeds=2, **levels)  # type: ignore[arg-type]
        one = difference_map(found, images, settings, Streams([1, 2]))
        assert one.maps.shape == (2, 1, 16, 16)
        assert one.maps.dtype == torch.float32
        assert one.calls == calls
        assert not one.message


@pytest.mark.parametrize(
    ("changes", "names", "said"),
    [
        ({"classes": []}, (None, None), "knows no labels"),
        ({}, (None, None), r"present is missing: .* normal, hyper, hypo"),
        ({}, ("iso", "normal"), "present: found 'iso'"),
        ({}, ("hyper", "hyper"), "name two classes"),
    ],
)
def test_priors_without_these_classes_are_refused(changes: Any, names: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        LabelledPrior.of(prior(**changes), *names)


def test_a_folder_of_another_kind_of_prior_is_refused_as_one_without_labels(tmp_path: Path) -> None:
    prior().save(tmp_path)
    file = tmp_path / "prior.json"
    file.write_text(file.read_text().replace('"kind": "unet"', '"kind": "consistent-unet"'))
    with pytest.raises(InputError, match="not trained by `skiagraph train class-prior` and knows no labels"):
        LabelledPrior.load(tmp_path, "hyper", "normal")


def test_a_class_that_was_never_trained_is_refused() -> None:
    values = record().data.model_dump()
    values["fingerprint"] = {"counts": {"train": {"normal": 9, "hyper": 0, "hypo": 3}}}
    with pytest.raises(InputError, match=r"class 'hyper' .* had no training images"):
        LabelledPrior.of(prior(data=values), "hyper", "normal")
    assert LabelledPrior.of(prior(data=values), "hypo", "normal").present == "hypo"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"engine": "jvp", "tau": 0.5}, "tau has no effect"),
        ({"engine": "reference", "levels": [1.0]}, "levels has no effect"),
        ({"engine": "difference", "level": 300}, "level has an effect on engine 'reference' only"),
        ({"engine": "reference", "sign": "evidence"}, "knows signed and absolute"),
    ],
)
def test_options_without_effect_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DifferenceSettings(**values)
