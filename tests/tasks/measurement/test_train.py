"""`train measurement-score`: what it leaves, what its card says, exact resume, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.tiny_pictures import NETWORK

from skiagraph.errors import DataError, InputError
from skiagraph.tasks.measurement.items import open_training_data
from skiagraph.tasks.measurement.settings import TrainMeasurementSettings
from skiagraph.tasks.measurement.train import expectation, loop_settings, mask_gaps, train_measurement
from skiagraph.training.prior import Prior


def settings(data: Path, output: Path, **changes: Any) -> TrainMeasurementSettings:
    values = {"data": [data], "output": output, "network": NETWORK, "images": 8, "batch_size": 4, "warmup": 0}
    return TrainMeasurementSettings.model_validate({**values, **changes})


def test_a_run_leaves_a_prior_its_settings_its_record_and_a_page(masked_prior: Path) -> None:
    prior = Prior.load(masked_prior)
    record = prior.record
    assert record.measurement is not None
    assert record.measurement.settings["mask"] == {"family": "cells"}
    assert record.measurement.settings["effective_acceleration"] == pytest.approx(1.6)
    assert record.parametrisation == "eps"
    assert record.size == [16, 16]
    assert record.data.splits["train"][0] == "000.png"
    assert "fixed mask" in record.summary
    assert {"config.yaml", "run.json", "report.html", "README.md"} <= {file.name for file in masked_prior.iterdir()}
    assert json.loads((masked_prior / "run.json").read_text())["training_items"] == 6
    assert "task: measurement-score" in (masked_prior / "config.yaml").read_text()


def test_what_no_training_mask_shows_is_said(pictures_at: Path, scans_at: Path, tmp_path: Path) -> None:
    for number, file in enumerate(sorted(pictures_at.iterdir())[:2]):
        (tmp_path / "two").mkdir(exist_ok=True)
        (tmp_path / "two" / f"{number}.png").write_bytes(file.read_bytes())
    few = settings(tmp_path / "two", tmp_path / "p", mask={"family": "cells", "drop": 0.75})
    data = open_training_data(few)
    held = data.items.batch(torch.arange(2))["mask"].amax((0, 1))
    assert 0 < int((held == 0).sum()) < held.numel()
    assert mask_gaps(few, data)[0].startswith(f"{int((held == 0).sum())} of {held.numel()} pixels were shown by no")
    made = train_measurement(few)
    assert made.warnings == mask_gaps(few, data)
    assert made.warnings[0] in Prior.load(tmp_path / "p").record.limits
    assert "pixels were shown by no" in (tmp_path / "p" / "report.html").read_text()
    many = settings(pictures_at, tmp_path / "q", mask={"family": "cells", "drop": 0.1})
    assert mask_gaps(many, open_training_data(many)) == ()
    lines = settings(scans_at, tmp_path / "r", kind="k-space", kspace="combined", size=[24], mask={"family": "random"})
    assert "columns were sampled in no training scan" in mask_gaps(lines, open_training_data(lines))[0]


def test_the_oracle_states_no_measurement(whole_prior: Path) -> None:
    record = Prior.load(whole_prior).record
    assert record.measurement is None
    assert "whole images" in record.summary


def test_k_space_takes_velocity_and_the_mask_by_default(coil_prior: Path) -> None:
    record = Prior.load(coil_prior).record
    assert record.parametrisation == "v"
    assert record.concatenated == ["mask"]
    assert [channel.name for channel in record.channels] == ["real", "imaginary"]
    assert record.normalisation.method.startswith("smallest and largest")


def test_a_run_continues_as_if_it_had_not_been_interrupted(pictures_at: Path, tmp_path: Path) -> None:
    noisy = {"noise_std": 0.1, "threads": 1, "checkpoint_every": 4}
    train_measurement(settings(pictures_at, tmp_path / "whole", **noisy))
    train_measurement(settings(pictures_at, tmp_path / "parts", **{**noisy, "images": 4}))
    train_measurement(settings(pictures_at, tmp_path / "parts", **noisy))
    whole, parts = (Prior.load(tmp_path / name).network.state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    with pytest.raises(InputError, match="holds another run"):
        train_measurement(settings(pictures_at, tmp_path / "parts", **{**noisy, "noise_std": 0.2}))


def test_the_released_average_is_one_of_its_decay_per_step(pictures_at: Path, tmp_path: Path) -> None:
    loop = loop_settings(settings(pictures_at, tmp_path, batch_size=2, ema_ramp=False))
    assert loop.ema_half_life is not None
    assert 0.5 ** (2 / loop.ema_half_life) == pytest.approx(0.9999, abs=1e-8)
    assert loop.ema_ramp * 1 > loop.ema_half_life


def test_expectation_needs_data_or_their_shape(pictures_at: Path, tmp_path: Path) -> None:
    found = expectation(settings(pictures_at, tmp_path))
    assert found["data"] == "6 items"
    assert found["steps"] == 2
    absent = tmp_path / "absent"
    stated = expectation(settings(absent, tmp_path, size=[16], channels=3))
    assert stated["network_parameters"] == found["network_parameters"]
    assert "not there yet" in stated["data"]
    with pytest.raises(DataError, match="size or channels are not stated"):
        expectation(settings(absent, tmp_path))


def test_noise_beyond_the_schedule_is_refused(pictures_at: Path, tmp_path: Path) -> None:
    for form in ("default", "reference"):
        with pytest.raises(InputError, match="noise"):
            train_measurement(settings(pictures_at, tmp_path / form, noise_std=500.0, objective=form))
