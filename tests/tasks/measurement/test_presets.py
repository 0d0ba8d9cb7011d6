"""The sixteen released configurations: each resolves, has the published numbers, and runs at reduced size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.helpers.tiny_pictures import NETWORK_FLAGS

import skiagraph
from skiagraph import cli
from skiagraph.training.prior import Prior

FOLDER = Path(skiagraph.__file__).parent / "presets" / "msm"
FILES = sorted(FOLDER.glob("*.yaml"))
PARAMETERS = {"ffhq": 105_195_139, "fmri": 138_284_162}
SMALL = ["--images", "4", *NETWORK_FLAGS, "--checkpoint-every", "4", "--threads", "1"]


def command_of(file: Path) -> str:
    return file.stem.partition("-")[0]


def test_there_are_sixteen() -> None:
    counts = [sum(command_of(file) == name for file in FILES) for name in ("train", "generate", "restore")]
    assert counts == [6, 6, 4]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_resolves_with_the_published_numbers(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command_of(file), "--config", str(file), "--dry-run", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    settings = shown["settings"]
    for name, value in yaml.safe_load(file.read_text(encoding="utf-8")).items():
        found = settings[name]
        if isinstance(value, dict):
            assert {key: found[key] for key in value} == value
        else:
            assert found == value
    if command_of(file) == "train":
        assert shown["command"] == "train measurement-score"
        expected = shown["expectation"]
        assert expected["network_parameters"] == PARAMETERS[settings["name"][:4]]
        assert expected["steps"] == 1_000_000
        assert settings["learning_rate"] == (1e-5 if settings["name"].startswith("ffhq") else 5e-5)


def train(name: str, data: Path, output: Path, *words: str) -> Path:
    file = FOLDER / f"train-{name}.yaml"
    sized = ["--size", "16"] if name.startswith("ffhq") else ["--size", "24", "--skip-last", "1"]
    held = ["--hold-out", "1"]
    given = ["--config", str(file), "--data", str(data), "--output", str(output), *sized, *held, *SMALL, *words]
    assert cli.main(["train", *given]) == 0
    return output


CENTRE = ("--mask.centre", "6")


@pytest.mark.parametrize("noise", ["noise_0", "noise_0.1"])
def test_pictures_are_trained_drawn_and_restored(noise: str, pictures_at: Path, tmp_path: Path) -> None:
    prior = train(f"ffhq_msm-{noise}", pictures_at, tmp_path / "prior")
    record = Prior.load(prior).record
    assert record.measurement is not None
    assert record.measurement.noise_level == (0.0 if noise == "noise_0" else 0.1)
    assert "anew" in record.summary
    preset = FOLDER / f"generate-ffhq_msm-{noise}.yaml"
    words = ["--config", str(preset), "--prior", str(prior), "--output", str(tmp_path / "g"), "--steps", "ddim5"]
    assert cli.main(["generate", *words]) == 0
    assert json.loads((tmp_path / "g" / "run.json").read_text())["network_evaluations_per_image"] == 15
    if noise == "noise_0":
        for problem, numbers in (("BOX", ["--degradation.hole", "8", "--degradation.corner", "4"]), ("SR4", [])):
            file = FOLDER / f"restore-ffhq_{problem}.yaml"
            words = ["--config", str(file), "--prior", str(prior), "--input", str(pictures_at), "--items", ":1"]
            words += ["--output", str(tmp_path / problem), "--steps", "ddim5", *numbers]
            assert cli.main(["restore", *words]) == 0
            summary = json.loads((tmp_path / problem / "run.json").read_text())
            assert summary["network_evaluations_per_image"] == 10


@pytest.mark.parametrize("noise", ["noise_0", "noise_0.1"])
def test_k_space_is_trained_drawn_and_restored(noise: str, scans_at: Path, tmp_path: Path) -> None:
    prior = train(f"fmri_msm-{noise}", scans_at, tmp_path / "prior", *CENTRE)
    scan = scans_at / "scan-0.h5"
    preset = FOLDER / f"generate-fmri_msm-{noise}.yaml"
    words = ["--config", str(preset), "--prior", str(prior), "--maps", str(scan), "--output", str(tmp_path / "g")]
    assert cli.main(["generate", *words, "--steps", "ddim5"]) == 0
    assert json.loads((tmp_path / "g" / "run.json").read_text())["network_evaluations_per_image"] == 15
    file = FOLDER / f"restore-fmri_CSMRI4-{noise}.yaml"
    words = ["--config", str(file), "--prior", str(prior), "--input", str(scan), "--items", "0", "--steps", "ddim5"]
    words += ["--output", str(tmp_path / "r"), "--degradation.centre", "6"]
    assert cli.main(["restore", *words]) == 0
    assert json.loads((tmp_path / "r" / "run.json").read_text())["network_evaluations_per_image"] == 15


@pytest.mark.parametrize("data", ["ffhq", "fmri"])
def test_the_oracles_are_trained_and_drawn(data: str, pictures_at: Path, scans_at: Path, tmp_path: Path) -> None:
    prior = train(f"{data}_uncond", pictures_at if data == "ffhq" else scans_at, tmp_path / "prior")
    assert Prior.load(prior).record.extra["training_levels"] == "1000"
    preset = FOLDER / f"generate-{data}_uncond.yaml"
    words = ["--config", str(preset), "--prior", str(prior), "--output", str(tmp_path / "g"), "--steps", "ddim5"]
    assert cli.main(["generate", *words]) == 0
    assert json.loads((tmp_path / "g" / "run.json").read_text())["network_evaluations_per_image"] == 5
