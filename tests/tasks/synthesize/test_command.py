"""The command as it is typed, on tiny networks in real folders: results, dry run, refusals."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tasks.synthesize.folders import CLASSES, classifier_folder, flags, prior_folder, real_folder

from skiagraph.cli import main
from skiagraph.data.labelled import read_labelled
from skiagraph.tasks.synthesize.kit import load_kit
from skiagraph.tasks.synthesize.presets import filled
from skiagraph.tasks.synthesize.settings import SynthesizeSettings
from skiagraph.training.classifier import Classifier


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folders")
    flags(folder)
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "manifest.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_everything_and_a_page(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(root / "run")
    assert main(flags(root, "--output", out, "--mode", "two-stage", "--per-class", "2", "--flip-budget", "1")) == 0
    assert "Page:" in capsys.readouterr().out
    assert {item.name for item in Path(out).iterdir()} == {
        *("README.md", "before", "config.yaml", "images", "manifest.csv", "recipe.json"),
        *("report.html", "report.npz", "run.json"),
    }
    page = Path(out, "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") >= 12
    assert "<svg" in page
    assert read_labelled(out).counts == dict.fromkeys(CLASSES, 2)
    assert len({row["id"] for row in rows(Path(out))}) == 6
    assert json.loads(Path(out, "run.json").read_text())["this_process"]["images"] == 6


def test_the_written_configuration_continues_and_repeats(root: Path) -> None:
    assert main(flags(root, "--output", str(root / "first"), "--per-class", "1", "--flip-budget", "1")) == 0
    again = ["synthesize", "--config", str(root / "first" / "config.yaml"), "--output", str(root / "second")]
    assert main(again) == 0
    assert rows(root / "first") == rows(root / "second")


def test_a_dry_run_states_images_and_calls_and_leaves_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags(root, "--output", str(root / "dry"), "--balance-to", "7", "--dry-run", "--json")) == 0
    expected = json.loads(capsys.readouterr().out)["expectation"]
    assert expected["images_by_class"] == {"cat": 3, "dog": 2, "owl": 1}
    assert (expected["network_evaluations_per_image"], expected["classifier_evaluations_per_image"]) == (6, 6)
    assert expected["seconds_at_this_machines_present_speed"] > 0
    assert not (root / "dry").exists()


def test_a_dry_run_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["synthesize", "--prior", str(tmp_path / "none"), "--output", str(tmp_path / "o"), "--per-class", "1"]
    assert main([*words, "--dry-run", "--json"]) == 0
    assert "not there yet" in json.loads(capsys.readouterr().out)["expectation"]["missing"]


def test_a_sweep_is_a_variant(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = flags(root, "--output", str(root / "sweep"), "--images", "1", "--scales", "0", "3", "--json")
    assert main([words[0], "sweep", *words[1:]]) == 0
    assert [line["scale"] for line in json.loads(capsys.readouterr().out)["scales"]] == [0, 3]
    assert main([words[0], "sweep", *words[1:]]) == 2


def test_several_classifiers_are_an_ensemble(root: Path) -> None:
    classifier_folder(root / "member", seed=3)
    words = flags(root, "--classifier", str(root / "guide"), str(root / "member"), "--guide.measure", "bald")
    assert main([*words, "--per-class", "1", "--output", str(root / "bald"), "--flip-budget", "1"]) == 0


def _weightless(root: Path) -> Path:
    shutil.copytree(root / "guide", root / "empty", dirs_exist_ok=True)
    (root / "empty" / "model.safetensors").unlink()
    return root / "empty"


def _copy_of_the_guide(root: Path) -> Path:
    shutil.copytree(root / "guide", root / "copy", dirs_exist_ok=True)
    return root / "copy"


REFUSALS: dict[str, tuple[Any, list[str], int, str]] = {
    "judge is the guide": (lambda r: ["--judge", str(r / "guide")], [], 2, "judge"),
    "judge is a copy of the guide": (lambda r: ["--judge", str(_copy_of_the_guide(r))], [], 2, "the very weights"),
    "missing weights": (lambda r: ["--classifier", str(_weightless(r))], [], 3, "there is no such file"),
    "missing prior": (lambda r: ["--prior", str(r / "nothing")], [], 3, "there is no such file"),
    "unknown measure": (lambda r: ["--guide.measure", "entropi"], [], 2, "entropi"),
    "clean classifier at the state": (
        lambda r: ["--classifier", str(r / "judge"), "--judge", str(r / "guide")],
        [],
        2,
        "knows clean images only",
    ),
    "another order of classes": (
        lambda r: ["--classifier", str(classifier_folder(r / "c1", classes=CLASSES[::-1]))],
        [],
        2,
        "classes",
    ),
    "other classes": (
        lambda r: ["--classifier", str(classifier_folder(r / "c2", classes=["cat", "dog"]))],
        [],
        2,
        "classes",
    ),
    "other size": (lambda r: ["--classifier", str(classifier_folder(r / "c3", size=24))], [], 2, "size"),
    "other channels": (lambda r: ["--classifier", str(classifier_folder(r / "c4", channels=3))], [], 2, "channels"),
    "other schedule": (
        lambda r: ["--classifier", str(classifier_folder(r / "c5", schedule={"kind": "cosine_table"}))],
        [],
        2,
        "schedule",
    ),
    "guidance without label dropout": (
        lambda r: ["--prior", str(prior_folder(r / "p1", unlabelled=False)), "--cfg", "1"],
        [],
        2,
        "label dropout",
    ),
    "real images of other classes": (
        lambda r: ["--real", str(_other_animals(r))],
        [],
        2,
        "others does not go with the prior",
    ),
    "unknown class in the counts": (lambda r: ["--counts", "rat", "3"], ["--per-class"], 2, "counts: found rat"),
    "more hardened images than real ones": (
        lambda r: ["--mode", "harden", "--per-class", "99"],
        ["--per-class"],
        2,
        "99 images",
    ),
    "no trained level": (lambda r: ["--walk.grid", "uniform", "--walk.levels", "60"], [], 2, "ddim60"),
}


def _other_animals(root: Path) -> Path:
    folder = real_folder(root / "others")
    if not (folder / "rat").exists():
        (folder / "cat").rename(folder / "rat")
    return folder


@pytest.mark.parametrize("case", REFUSALS)
def test_what_does_not_fit_is_refused_before_anything_is_drawn(
    case: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, without, code, words = REFUSALS[case]
    given = ["--output", str(root / "refused"), *make(root)]
    counted = [] if "--per-class" in without else ["--per-class", "1"]
    levels = flags(root, *given, *counted)
    try:
        found = main(levels)
    except SystemExit as stop:
        found = int(stop.code or 0)
    assert found == code
    assert words in capsys.readouterr().err
    assert not (root / "refused").exists()


def test_a_prior_of_250_levels_walks_those_only(root: Path) -> None:
    prior = prior_folder(root / "p250", extra={"trained_times": "ddim250"})
    guide = classifier_folder(root / "g250", trained_times="ddim250", times="spaced_index")
    values = {"prior": prior, "classifier": [guide], "output": root / "o", "per_class": 1}
    found = load_kit(filled(SynthesizeSettings.model_validate(values)))
    assert found.trained_times == frozenset(range(0, 1000, 4))


def test_an_imported_classifier_is_asked_by_its_own_times_and_in_the_reference_as_released(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that learned spaced indices 0 ... 249; the released sampler asks it 4 i, which `reference` repeats."""
    guide = classifier_folder(root / "spaced", trained_times="ddim250", times="spaced_index")
    told: list[float] = []
    network = Classifier.load(guide).network
    original = type(network).forward

    def spy(self: Any, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        told.append(float(time.max()))
        return original(self, x, time)

    monkeypatch.setattr(type(network), "forward", spy)
    for preset, expected in (("default", 100.0), ("reference", 400.0)):
        values: dict[str, Any] = {"prior": root / "prior", "classifier": [guide], "output": root / "o", "per_class": 1}
        found = load_kit(filled(SynthesizeSettings.model_validate({**values, "preset": preset})))
        found.guides[0].logits(torch.zeros(1, 1, 16, 16), torch.tensor([400.0], dtype=torch.float64))
        assert told[-1] == expected
