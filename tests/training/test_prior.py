"""The prior folder: what is saved is loaded, and what does not fit is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from helpers.tiny_prior import filled, record
from skiagraph.diffusion import EDM, VPLinear, linear_table
from skiagraph.errors import DataError, InputError
from skiagraph.training import Prior, register_architecture, source_commit
from skiagraph.training.architectures import architecture_kinds, build_network
from skiagraph.training.calculus import build_schedule, schedule_record
from skiagraph.training.record import ScheduleRecord


@pytest.mark.parametrize(("weights", "tolerance"), [("float32", 0.0), ("float16", 1e-3), ("bfloat16", 1e-2)])
def test_a_prior_is_loaded_as_it_was_saved(tmp_path: Path, weights: Any, tolerance: float) -> None:
    network = filled()
    written = Prior(network, record()).save(tmp_path, weights=weights)
    prior = Prior.load(tmp_path)
    assert prior.record == written
    assert (prior.record.weights, prior.record.training.ema.length) == (weights, 0.1)
    assert not prior.network.training
    for name, value in prior.network.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, network.state_dict()[name], rtol=tolerance, atol=tolerance * 0.1)
    assert not any(value.requires_grad for value in prior.network.parameters())
    denoiser = prior.denoiser()
    assert denoiser.schedule == EDM(sigma_max=60.0)
    x = torch.randn(1, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    assert denoiser(x, torch.tensor(1.0)).x0.shape == x.shape
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "model.safetensors", "prior.json"]


def test_half_weights_halve_the_file(tmp_path: Path) -> None:
    sizes = {}
    for weights in ("float32", "bfloat16"):
        Prior(filled(), record()).save(tmp_path / weights, weights=weights)
        sizes[weights] = (tmp_path / weights / "model.safetensors").stat().st_size
    assert sizes["bfloat16"] < 0.6 * sizes["float32"]


def test_an_average_can_be_stored_in_place_of_the_weights(tmp_path: Path) -> None:
    network = filled()
    average = {name: value + 1 for name, value in network.state_dict().items()}
    Prior(network, record()).save(tmp_path, state=average)
    loaded = Prior.load(tmp_path).network.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in average.items())


def test_weights_that_do_not_fit_the_format_are_refused(tmp_path: Path) -> None:
    network = filled()
    with torch.no_grad():
        network.out[2].bias += 1e6
    with pytest.raises(InputError, match=r"out\.2\.bias is not finite in float16"):
        Prior(network, record()).save(tmp_path, weights="float16")
    with pytest.raises(InputError, match="found 'int8'"):
        Prior(network, record()).save(tmp_path, weights="int8")  # type: ignore[arg-type]


def test_the_card_says_what_a_reader_must_know(tmp_path: Path) -> None:
    Prior(filled(), record()).save(tmp_path)
    card = (tmp_path / "README.md").read_text()
    for words in (
        "# tiny",
        "simulated k-space",
        "MIT",
        "noise 0.01",
        "power 0.1",
        "head-b",
        "30.5",
        "Not for patients.",
    ):
        assert words in card
    assert "## Memorisation audit\n\nNone stated." in card


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"channels": 1}, r"channels: found 1, but prior 'tiny' was trained on 2"),
        ({"channels": ["T1", "T2"]}, r"channels: found \['T1', 'T2'\].*\['real', 'imaginary'\]"),
        ({"spacing_mm": (1.0, 2.0)}, r"spacing_mm: found \[1\.0, 2\.0\].*\[2\.0, 2\.0\]"),
        ({"spacing_mm": (2.0,)}, "spacing_mm"),
        ({"spacing_mm": (2.0, float("nan"))}, "spacing_mm"),
        ({"size": (16, 18)}, r"size: found \[16, 18\].*\[16, 16\]"),
        ({"classes": ["lesion"]}, r"classes: found \['lesion'\].*\[\]"),
    ],
)
def test_a_request_that_does_not_fit_names_both(request_: dict[str, Any], message: str) -> None:
    prior = Prior(filled(), record())
    prior.require(channels=2, spacing_mm=(2.05, 2.0), size=(16, 16), classes=[])
    prior.require(channels=["real", "imaginary"])
    with pytest.raises(InputError, match=message):
        prior.require(**request_)


def rewrite(folder: Path, **changes: Any) -> None:
    values = json.loads((folder / "prior.json").read_text())
    (folder / "prior.json").write_text(json.dumps({**values, **changes}))


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give the folder of a prior"):
        Prior.load(tmp_path)
    Prior(filled(), record()).save(tmp_path)
    rewrite(tmp_path, colour="blue")
    with pytest.raises(DataError, match="colour: Extra inputs are not permitted"):
        Prior.load(tmp_path)
    (tmp_path / "prior.json").write_text("{")
    with pytest.raises(DataError, match="not readable as JSON"):
        Prior.load(tmp_path)
    Prior(filled(), record()).save(tmp_path)
    with open(tmp_path / "model.safetensors", "ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match="SHA-256"):
        Prior.load(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(DataError, match="there is no such file"):
        Prior.load(tmp_path)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    Prior(filled(), record()).save(tmp_path)
    settings = record().architecture.settings
    rewrite(tmp_path, architecture={"kind": "unet", "settings": {**settings, "channels": 16}})
    with pytest.raises(DataError, match="does not fit the architecture"):
        Prior.load(tmp_path)
    rewrite(tmp_path, architecture={"kind": "unet", "settings": {"colour": 1}})
    with pytest.raises(DataError, match="colour"):
        Prior.load(tmp_path)
    rewrite(tmp_path, architecture={"kind": "transformer"})
    with pytest.raises(DataError, match=r"found kind 'transformer', which nothing here can build \(known: .*unet"):
        Prior.load(tmp_path)


def test_other_kinds_of_network_can_be_registered(tmp_path: Path) -> None:
    def linear(settings: Mapping[str, Any]) -> nn.Module:
        return nn.Linear(settings["inputs"], 3)

    register_architecture("test-linear", linear)
    register_architecture("test-linear", linear)
    assert "test-linear" in architecture_kinds()
    with pytest.raises(InputError, match="'unet' is taken"):
        register_architecture("unet", linear)
    network = build_network("test-linear", {"inputs": 4})
    own = record(
        architecture={"kind": "test-linear", "settings": {"inputs": 4}}, parametrisation="own", schedule=None, time=None
    )
    Prior(network, own).save(tmp_path)
    prior = Prior.load(tmp_path)
    assert torch.equal(prior.network.weight, network.weight)
    with pytest.raises(InputError, match="called in its own way"):
        prior.denoiser()


def test_an_incomplete_record_is_refused() -> None:
    with pytest.raises(ValueError, match="needs schedule and time"):
        record(schedule=None)
    with pytest.raises(ValueError, match="as many"):
        record(size=[16])


@pytest.mark.parametrize("schedule", [VPLinear(0.2, 10.0), EDM(), linear_table(100)])
def test_schedules_survive_json(schedule: Any) -> None:
    written = schedule_record(schedule).model_dump_json()
    read = build_schedule(ScheduleRecord.model_validate_json(written))
    assert read == schedule


def test_schedules_without_a_name_are_refused() -> None:
    with pytest.raises(InputError, match="respaced"):
        schedule_record(linear_table(100).respaced(10))
    with pytest.raises(DataError, match="found kind 'magic'"):
        build_schedule(ScheduleRecord(kind="magic"))
    with pytest.raises(DataError, match="settings do not fit"):
        build_schedule(ScheduleRecord(kind="edm", settings={"colour": 1}))


def test_the_commit_is_a_hash_or_none() -> None:
    commit = source_commit()
    assert commit is None or len(commit.removesuffix("+changes")) == 40
