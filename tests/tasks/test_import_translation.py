"""Released translation weights as a prior folder that the released sampler runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.tiny_heads import head
from skiagraph.data.volume import write_nifti
from skiagraph.errors import InputError
from skiagraph.networks import DDPMUNet, DDPMUNetConfig
from skiagraph.tasks.import_translation import ImportTranslationSettings, import_translation
from skiagraph.tasks.translate.prior import TargetPrior
from skiagraph.tasks.translate.run import translate
from skiagraph.tasks.translate.run_settings import TranslateSettings


def imported(folder: Path, **changes: Any) -> Path:
    config = DDPMUNetConfig(
        channels=32, multipliers=(1, 2), residual_blocks=1, attention=(8,), size=16, **changes.pop("network", {})
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = DDPMUNet(config).state_dict()
    torch.save([{f"module.{name}": value for name, value in state.items()}, {}, 1, 10, dict(state)], folder / "c.pth")
    values = {"checkpoint": folder / "c.pth", "output": folder / "prior", "modality": "T1", "size": 16}
    import_translation(ImportTranslationSettings.model_validate({"spacing_mm": (4, 4, 4), **values, **changes}))
    return folder / "prior"


def test_the_prior_says_how_it_was_released(tmp_path: Path) -> None:
    prior = TargetPrior.load(imported(tmp_path, sigma=3.1, patch=5))
    assert prior.condition.model_dump(exclude_none=True) == {
        "kind": "lmi-reference",
        "windows": 2,
        "search": "next",
        "pseudo_source": "same",
        "dropout": 0.0,
        "flag": False,
        "patch": 5,
        "sigma": 3.1,
        "normalise": True,
    }
    record = prior.prior.record
    assert (record.normalisation.low, record.normalisation.high) == (0, 1)
    assert record.architecture.kind == "ddpm-unet"
    assert prior.spacing_mm == (4.0, 4.0, 4.0)


def test_the_released_sampler_runs_it_and_the_default_preset_refuses(tmp_path: Path) -> None:
    prior = imported(tmp_path)
    path = write_nifti(tmp_path / "a_PD.nii.gz", head("T2"))
    values: dict[str, Any] = {"scan": path, "prior": prior, "output": tmp_path / "out", "threads": 1}
    left = translate(TranslateSettings.model_validate(values | {"preset": "reference", "solver": {"steps": 2}}))
    assert left.figures["network_calls_per_slice"] == 2
    assert any("begins at pure noise" in warning for warning in left.warnings)
    with pytest.raises(InputError, match="use preset 'reference'"):
        translate(TranslateSettings.model_validate(values | {"output": tmp_path / "other"}))


def test_the_one_channel_rival_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SDEdit rival"):
        imported(tmp_path, network={"in_channels": 1})


def test_heads_of_any_size_fit_a_network_that_halves_its_images(tmp_path: Path) -> None:
    prior = imported(tmp_path)
    assert TargetPrior.load(prior).multiple == 2
    scan = write_nifti(tmp_path / "large.nii.gz", head("T2", (23, 25, 2)))
    values = {"scan": scan, "prior": prior, "output": tmp_path / "out", "preset": "reference", "threads": 1}
    asked = TranslateSettings.model_validate({**values, "solver": {"steps": 2}, "source": {"mask": "nonzero"}})
    left = translate(asked)
    frame = json.loads((left.folder / "run.json").read_text())["input"]["frame_shape"]
    assert frame[0] % 2 == frame[1] % 2 == 0
    assert frame[0] > 16
