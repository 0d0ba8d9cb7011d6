"""`evaluate downstream`: arms, equal steps, resume, the same from the same seed, tables, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers.tiny_sets import classes_of_spots

from skiagraph.cli import main
from skiagraph.data.png import write_png
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.downstream.arms import Arm, cells, main_arms, training_set
from skiagraph.tasks.downstream.augment import augmented
from skiagraph.tasks.downstream.networks import NETWORKS, build_classifier, logits_of
from skiagraph.tasks.downstream.run import evaluate_downstream
from skiagraph.tasks.downstream.sets import read_study_sets
from skiagraph.tasks.downstream.settings import DownstreamSettings, TrainingRules
from skiagraph.tasks.downstream.study import Study
from skiagraph.tasks.downstream.train import batches, predict, train_classifier
from skiagraph.tasks.downstream.uncertain import most_uncertain


def silent(stage: str, done: int, total: int) -> None:
    """Say nothing."""


def folder(path: Path, seed: int, per_class: int) -> Path:
    for name, images in classes_of_spots(seed, per_class).items():
        for number, image in enumerate(images):
            write_png(path / name / f"{number:03d}.png", image)
    return path


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """8 real, 10 test and 20 synthetic images a class; the synthetic ones of `images/`, as `synthesize` leaves them."""
    folder(tmp_path / "real", 0, 8)
    folder(tmp_path / "test", 1, 10)
    folder(tmp_path / "made" / "images", 2, 20)
    return tmp_path


def settings(path: Path, **changes: Any) -> DownstreamSettings:
    given: dict[str, Any] = {
        "real": path / "real",
        "test": path / "test",
        "synthetic": {"uncertainty": path / "made"},
        "networks": ["lenet", "alexnet"],
        "seeds": 2,
        "training": {"steps": 4, "batch": 8},
        "resamples": 100,
        "figure_network": "lenet",
        "output": path / "run",
    }
    return DownstreamSettings.model_validate({**given, **changes})


@pytest.mark.parametrize("name", NETWORKS)
def test_running_means_follow_within_a_short_training(name: str) -> None:
    """A network that is asked with the running means of its start answers by chance, however well it learned."""
    network = build_classifier(name, 1, 3, (28, 28), 0)
    rates = [module.momentum for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert all(rate is not None and rate >= 0.1 for rate in rates)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_learns_on_small_images_of_one_and_three_channels(name: str) -> None:
    for channels, size in ((1, (28, 28)), (3, (32, 32))):
        network = build_classifier(name, channels, 5, size, seed=1).train()
        logits = logits_of(network, torch.randn(4, channels, *size, generator=torch.Generator().manual_seed(0)))
        assert logits.shape == (4, 5)
        logits.logsumexp(1).sum().backward()
        gradients = [value.grad for value in network.parameters() if value.grad is not None]
        assert len(gradients) > 0.9 * len(list(network.parameters())) - 3 * (name == "vit")  # MONAI's unused norms
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert sum(value.numel() for value in network.parameters()) < 400_000
    again = build_classifier(name, channels, 5, size, seed=1).state_dict()
    assert all(
        torch.equal(value, again[key]) for key, value in build_classifier(name, 3, 5, size, 1).state_dict().items()
    )


def test_the_command_trains_scores_and_goes_on_where_it_stood(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "downstream", "--real", str(sets / "real"), "--test", str(sets / "test")]
    words += ["--synthetic", "uncertainty", str(sets / "made"), "--networks", "lenet", "alexnet", "--seeds", "2"]
    words += ["--training.steps", "4", "--training.batch", "8", "--resamples", "100", "--figure-network", "lenet"]
    words += ["--sweep.ratios", "0.5", "--sweep.networks", "lenet", "--sweep.seeds", "1"]
    words += ["--output", str(sets / "run"), "--json"]
    assert main(words) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["missing_trainings"] == 0
    rows = shown["main"]["arms"]
    assert [row["arm"] for row in rows] == ["real", "uncertainty", "chosen", "augmented", "reweighted"]
    assert len(shown["main"]["runs"]) == 4
    value, low, high = rows[1]["minus"]["real"]["balanced_accuracy"]
    means = [np.mean(row["balanced_accuracy_by_run"]) for row in rows]
    assert value == pytest.approx(means[1] - means[0])
    assert low <= value <= high
    assert [row["title"] for row in shown["sweep"]["arms"]] == [
        "real",
        *(f"real + uncertainty x {r}" for r in (0.5, 1)),
    ]
    assert shown["sets"][0]["set"] == "test images (real)"
    assert {"class_score_lenet", "KD-lenet-on-real", "FD-random-conv-v1", "recall-image-pca-64"} <= set(
        shown["sets"][1]
    )
    assert [len(found) for found in shown["sets"][1]["by_class-random-conv-v1"].values()] == [4, 4, 4]
    tables = (sets / "run" / "tables.md").read_text()
    assert "minus real + uncertainty x 1" in tables
    assert "FID" not in tables
    assert "Do synthetic images help?" in (sets / "run" / "report.html").read_text()

    files = {path: path.stat().st_mtime_ns for path in (sets / "run" / "trainings").rglob("*.npz")}
    assert len(files) == 5 * 4 + 1
    (sets / "run" / "trainings" / "real" / "lenet-1.npz").unlink()
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["main"] == shown["main"]
    changed = [path for path, time in files.items() if path.stat().st_mtime_ns != time]
    assert [path.name for path in changed] == ["lenet-1.npz"]


def test_a_study_whose_time_is_up_scores_what_is_there_and_shards_share_the_rest(sets: Path) -> None:
    part = evaluate_downstream(settings(sets, shard=(0, 2), controls=[]))
    assert part.missing == 4
    whole = evaluate_downstream(settings(sets, shard=(1, 2), controls=[]))
    assert whole.missing == 0
    alone = evaluate_downstream(settings(sets, controls=[], output=sets / "alone"))
    assert alone.record()["main"] == whole.record()["main"]
    none = evaluate_downstream(settings(sets, controls=[], output=sets / "late", minutes=1e-9, synthetic={}))
    assert none.main is None or len(none.main.runs) < 4
    assert any("runs (network and seed)" in warning for warning in none.warnings)


def test_trainings_are_made_anew_when_what_they_depend_on_changes(sets: Path) -> None:
    first = settings(sets)
    study = Study(sets / "run", read_study_sets(first), first)
    evaluate_downstream(first)
    assert study.missing() == []
    longer = settings(sets, training={"steps": 5, "batch": 8})
    assert len(Study(sets / "run", read_study_sets(longer), longer).missing()) == len(study.cells)
    folder(sets / "other", 5, 20)
    other = settings(sets, synthetic={"uncertainty": sets / "other"})
    missing = Study(sets / "run", read_study_sets(other), other).missing()
    assert {cell.arm.name for cell in missing} == {"uncertainty"}


def test_arms_hold_what_they_say(sets: Path) -> None:
    given = settings(sets, ratio=2)
    images = read_study_sets(given)
    uncertain = most_uncertain(images, given, silent)
    assert np.bincount(images.real.labels[uncertain]).tolist() == [2, 2, 2]
    for arm in main_arms(given):
        found = training_set(arm, 0, images, given, uncertain)
        assert len(found.images) == len(found.labels) == (24 * 3 if arm.ratio else 24)
        np.testing.assert_array_equal(found.images[:24], images.real.images)
    chosen = training_set(Arm("chosen", 2), 0, images, given, uncertain)
    assert {
        int(np.flatnonzero((images.real.images == image).all((1, 2, 3)))[0]) for image in chosen.images[24:]
    } == set(uncertain.tolist())
    assert training_set(Arm("augmented"), 0, images, given, None).augmentation == "strong"
    weights = training_set(Arm("reweighted"), 0, images, given, None).weights
    assert weights is not None
    np.testing.assert_allclose(weights, 1 / 8)
    drawn = [training_set(Arm("uncertainty", 0.5), seed, images, given, None).images[24:] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_every_training_has_the_same_steps_and_never_a_short_batch() -> None:
    for number, weights in ((5, None), (100, None), (5, np.ones(5))):
        found = list(batches(number, weights, 7, 8, torch.Generator().manual_seed(0)))
        assert [len(index) for index in found] == [8] * 7
    seen = torch.cat(list(batches(20, None, 5, 8, torch.Generator().manual_seed(0))))
    assert torch.bincount(seen, minlength=20).tolist() == [2] * 20
    heavy = torch.cat(list(batches(2, np.array([1.0, 9.0]), 100, 10, torch.Generator().manual_seed(0))))
    assert float(heavy.float().mean()) == pytest.approx(0.9, abs=0.03)


def test_a_training_is_a_function_of_its_seed_and_learns(sets: Path) -> None:
    images = read_study_sets(settings(sets))
    given = training_set(Arm("real"), 0, images, settings(sets), None)
    rules = TrainingRules(steps=40, batch=16)
    torch.manual_seed(5)
    one = predict(train_classifier("lenet", given, 3, rules, 7).network, images.test.images)
    torch.manual_seed(6)
    again = predict(train_classifier("lenet", given, 3, rules, 7).network, images.test.images)
    other = predict(train_classifier("lenet", given, 3, rules, 8).network, images.test.images)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    assert (one.argmax(1) == images.test.labels).mean() > 0.8


def test_augmentation_keeps_range_shape_and_mass_of_targets() -> None:
    images = torch.rand(8, 1, 12, 10, generator=torch.Generator().manual_seed(0)) * 2 - 1
    targets = torch.eye(4)[torch.arange(8) % 4]
    same, plain = augmented(images, targets, "none", torch.Generator())
    assert same is images
    assert plain is targets
    moved, still = augmented(images, targets, "light", torch.Generator().manual_seed(1))
    assert torch.equal(still, targets)
    assert moved.min() >= -1.0001
    assert not torch.equal(moved, images)
    strong, mixed = augmented(images, targets, "strong", torch.Generator().manual_seed(1))
    assert strong.shape == images.shape
    assert strong.abs().max() <= 1.0001
    torch.testing.assert_close(mixed.sum(1), torch.ones(8))


def test_flips_mirror_left_and_right_only() -> None:
    ramp = torch.linspace(-1, 1, 16).expand(64, 1, 16, 16).contiguous()
    found, _ = augmented(ramp, torch.ones(64, 1), "light", torch.Generator().manual_seed(0), flips=True)
    slopes = (found[:, 0, 8, 12] - found[:, 0, 8, 3]).sign()
    assert 16 < int((slopes < 0).sum()) < 48
    plain, _ = augmented(ramp, torch.ones(64, 1), "light", torch.Generator().manual_seed(0))
    assert bool((plain[:, 0, 8, 12] > plain[:, 0, 8, 3]).all())


def test_a_dry_run_counts_trainings_and_hours(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = sets / "study.yaml"
    config.write_text(f"task: downstream\nreal: {sets / 'real'}\ntest: {sets / 'test'}\nseeds: 3\nnetworks: [vit]\n")
    assert main(["evaluate", "--config", str(config), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert f"# trainings: {3 * 4}" in shown
    assert "hours_on_one_core" in shown


def test_partial_studies_are_studies_with_fewer_seeds(sets: Path) -> None:
    order = [(cell.seed, cell.network) for cell in cells(settings(sets))]
    assert order == sorted(order, key=order.index)
    assert len(set(order[: len(order) // 2])) == 2


def test_sensitivity_and_subgroups_of_the_test_images_stand_apart(sets: Path) -> None:
    files = sorted((sets / "test").glob("*/*.png"))
    rows = [f"{file.relative_to(sets / 'test').as_posix()},{file.parent.name}" for file in files]
    (sets / "test" / "labels.csv").write_text("\n".join(["file,label", *rows]) + "\n")
    with pytest.raises(DataError, match=r"subgroup: .*'scanner' is missing"):
        evaluate_downstream(settings(sets, subgroup="scanner"))
    scanners = [f"{row},{'old' if number % 10 < 4 else 'new'}" for number, row in enumerate(rows)]
    (sets / "test" / "labels.csv").write_text("\n".join(["file,label,scanner", *scanners]) + "\n")
    given = settings(
        sets, subgroup="scanner", controls=[], specificity=0.9, networks=["lenet"], training={"steps": 20, "batch": 8}
    )
    found = evaluate_downstream(given).record()["main"]
    assert 0 < found["arms"][0]["sensitivity"][0] <= 1
    assert len(found["arms"][0]["sensitivity_by_class"]) == 3
    parts = found["subgroups"]
    assert list(parts) == ["new", "old"]
    for number, whole in enumerate(found["arms"]):  # every class is 4 : 6, so the whole is the mean weighted so
        apart = [parts[name][number]["balanced_accuracy"][0] for name in ("old", "new")]
        assert 0.4 * apart[0] + 0.6 * apart[1] == pytest.approx(whole["balanced_accuracy"][0])
    tables = (sets / "run" / "tables.md").read_text()
    for words in ("### Balanced accuracy by scanner", "new (18 images)", "### Sensitivity at 90 % specificity"):
        assert words in tables


def test_a_subgroup_of_one_class_leaves_readable_results(sets: Path) -> None:
    files = sorted((sets / "test").glob("*/*.png"))
    rows = [f"{file.relative_to(sets / 'test').as_posix()},{file.parent.name},{file.parent.name}" for file in files]
    (sets / "test" / "labels.csv").write_text("\n".join(["file,label,kind", *rows]) + "\n")
    evaluate_downstream(settings(sets, subgroup="kind", controls=[], synthetic={}, networks=["lenet"]))
    left = (sets / "run" / "results.json").read_text()
    assert "NaN" not in left
    assert next(iter(json.loads(left)["main"]["subgroups"].values()))[0]["macro_auroc"] == [None, None, None]


def test_a_test_image_among_those_trained_on_is_refused(sets: Path) -> None:
    """Otherwise a set that copies the test images would look like the best one."""
    (name,) = [path.name for path in (sets / "test").iterdir()][:1]
    copy = sets / "made" / "images" / name / "copy.png"
    copy.write_bytes((sets / "test" / name / "003.png").read_bytes())
    with pytest.raises(DataError, match=rf"uncertainty: {name}/copy.png equals the test image {name}/003.png"):
        read_study_sets(settings(sets))
    copy.unlink()
    read_study_sets(settings(sets))
    with pytest.raises(DataError, match=r"real: .*000.png equals the test image"):
        read_study_sets(settings(sets, test=sets / "real"))


def test_refusals_name_the_argument(sets: Path) -> None:
    with pytest.raises(
        InputError, match=r"synthetic.uncertainty: holds 60 images, but ratio 4 of 24 real images needs 96"
    ):
        evaluate_downstream(settings(sets, sweep={"ratios": [0.5, 4], "networks": ["lenet"], "seeds": 1}))
    assert not (sets / "run").exists()  # before anything is trained
    with pytest.raises(InputError, match="test: nothing says"):
        evaluate_downstream(settings(sets, test=None))
    with pytest.raises(ValueError, match="name of a control"):
        settings(sets, synthetic={"chosen": sets / "made"})
    with pytest.raises(ValueError, match="against: found 'guided'"):
        settings(sets, against="guided")
    evaluate_downstream(settings(sets, controls=[], synthetic={}, networks=["lenet"], seeds=1))
    (sets / "run" / "trainings" / "real" / "lenet-0.npz").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"lenet-0.npz is not the result of a training"):
        evaluate_downstream(settings(sets, controls=[], synthetic={}, networks=["lenet"], seeds=1))
