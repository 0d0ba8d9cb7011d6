"""Settings of measurement-score priors: keys without effect and values without meaning are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from skiagraph.config import describe_errors, dump_yaml, load_settings
from skiagraph.errors import InputError
from skiagraph.tasks.measurement.sampling_settings import GenerateSettings, RestoreSettings
from skiagraph.tasks.measurement.settings import MaskSettings, TrainMeasurementSettings

TRAIN: dict[str, Any] = {"data": ["a"], "output": "p"}
RESTORE: dict[str, Any] = {"prior": "p", "input": "a", "problem": "box", "simulate": True}


def made(model: type[BaseModel], **values: Any) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise describe_errors(error, model) from None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": "ddim150"}, "integer stride"),
        ({"steps": "ddim0"}, "from 1 to 1000"),
        ({"steps": "all"}, "from 1 to 1000"),
        ({"noise_std": -0.1}, "noise_std"),
        ({"mask": {"family": "random"}}, "allowed for images: cells, pixels"),
        ({"mask": {"family": "cells", "acceleration": 4}}, "mask.acceleration has no effect"),
        ({"mask": {"family": "none", "drop": 0.4}}, "mask.drop has no effect"),
        ({"mask": {"family": "cells", "drop": 1.0}}, "drop"),
        ({"fresh": True, "mask": {"family": "own"}}, "cannot be drawn anew"),
        ({"sure_weight": 0.05}, "sure_weight has no effect without noise_std"),
        ({"kspace": "combined"}, "kspace has no effect on images"),
        ({"skip_last": 5}, "skip_last has no effect on images"),
        ({"kind": "k-space", "mask": {"family": "random"}, "intensity": [0, 1]}, "intensity has no effect on k-space"),
        ({"kind": "k-space", "mask": {"family": "random"}, "size": [128]}, "size has no effect"),
        ({"objective": "reference", "predicts": "v"}, "the reference objective is for eps"),
        ({"objective": "reference", "network": {"mask_channel": True}}, "gives the network no mask"),
        ({"data": []}, "data"),
        ({"channel_mult": "1,2"}, "not a known key"),
    ],
)
def test_training_settings_refuse(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        made(TrainMeasurementSettings, **{**TRAIN, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lam": 2.5}, "lam"),
        ({"views": 0}, "views"),
        ({"noise_std": -1}, "noise_std"),
        ({"degradation": {"factor": 4}}, "degradation.factor has no effect on box"),
        ({"simulate": False, "measured": "m.png", "degradation": {"hole": [4]}}, "which say it themselves"),
        ({"measured": "m.png"}, "measured has an effect"),
        ({"method": "ddnm", "views": 2}, "views has no effect with method 'ddnm'"),
        ({"method": "dps", "eta": 0.5}, "eta has no effect"),
        ({"method": "dps", "sampler": "reference"}, "sampler 'reference' has no effect"),
        ({"strength": 2.0}, "strength has an effect with"),
        ({"problem": "k-space", "clip": True}, "no effect on k-space"),
        ({"pred_xstart": True}, "not a known key"),
    ],
)
def test_restoration_settings_refuse(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        made(RestoreSettings, **{**RESTORE, **changes})


def test_generation_settings_refuse() -> None:
    for changes, words in (
        ({"sampler": "reference", "solver": "ddim"}, "solver has no effect"),
        ({"solver": "heun", "eta": 0.5}, "eta has no effect"),
        ({"number": 0}, "number"),
        ({"steps": "ddim300"}, "integer stride"),
    ):
        with pytest.raises(InputError, match=words):
            made(GenerateSettings, prior="p", **changes)


def test_written_settings_read_back_equal(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    noisy = {"noise_std": 0.1, "mask": {"family": "pixels", "drop": 0.5}, "steps": 1000}
    for model, values in (
        (TrainMeasurementSettings, {**TRAIN, **noisy}),
        (RestoreSettings, {**RESTORE, "degradation": {"hole": [4, 6]}}),
        (GenerateSettings, {"prior": "p", "mask": {"family": "random", "acceleration": 6}}),
    ):
        settings = made(model, **values)
        file.write_text(dump_yaml(settings), encoding="utf-8")
        assert load_settings(model, file) == settings  # type: ignore[type-var]
    assert MaskSettings() == MaskSettings(family="cells")
