"""`audit`: exit codes, what is left behind, the card, what `synthesize` leaves, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.helpers.tiny_prior import filled, record
from tests.helpers.tiny_sets import spots

from skiagraph.cli import main
from skiagraph.data.labelled import read_labelled
from skiagraph.data.labelled_split import split_images, write_image_split
from skiagraph.data.png import write_png
from skiagraph.training.prior import Prior


def folder(path: Path, images: NDArray[np.float32]) -> Path:
    """Images in two class folders."""
    for number, image in enumerate(images):
        write_png(path / f"class {number % 2}" / f"{number:03d}.png", np.uint8(np.rint((image[0] + 1) * 127.5)))
    return path


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """60 training, 40 held-out and 30 independent pictures."""
    folder(tmp_path / "training", spots(1, 60))
    folder(tmp_path / "held-out", spots(2, 40))
    folder(tmp_path / "independent", spots(3, 30))
    return tmp_path


def words(sets: Path, synthetic: str, *more: str) -> list[str]:
    given = ["audit", "--synthetic", str(sets / synthetic), "--training", str(sets / "training")]
    return [*given, "--held-out", str(sets / "held-out"), "--output", str(sets / "run"), "--resamples", "100", *more]


def test_independent_images_pass_with_exit_code_0(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(sets, "independent", "--json")) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["passed"]
    assert [space["space"] for space in shown["spaces"]] == ["pixels", "SSIM", "random-conv-v1", "image-pca-64"]
    assert any("40 held-out" in warning for warning in shown["warnings"])


def test_a_flipped_copy_fails_with_exit_code_5_and_everything_is_written(
    sets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = spots(3, 30)
    made[4] = np.flip(spots(1, 60)[9], 2)
    folder(sets / "made" / "images", made)
    folder(sets / "made" / "rejected", spots(1, 60)[:5])  # copies that were rejected do not count
    (sets / "made" / "manifest.csv").write_text("image,label\n")
    assert main(words(sets, "made")) == 5
    assert "copies of training images" in capsys.readouterr().out
    left = json.loads((sets / "run" / "audit.json").read_text())
    assert not left["passed"]
    assert left["spaces"][0]["copies"] == 1
    copy = next(image for image in left["images"] if image["nearest"]["pixels"]["copy"])
    assert copy["name"] == "class 0/004.png"
    assert copy["nearest"]["pixels"]["training"] == "class 1/009.png"
    assert copy["nearest"]["pixels"]["variant"] == "flipped left-right"
    page = (sets / "run" / "report.html").read_text()
    assert "COPY by pixels" in page
    card = (sets / "run" / "card.md").read_text()
    assert card.startswith("## Memorisation audit\n\nFailed.")
    assert "FID" not in card


def test_a_run_that_drew_nothing_of_a_class_is_audited(sets: Path) -> None:
    """As `--counts` and `--balance-to` leave it: the class is named in classes.txt and has no folder."""
    folder(sets / "made" / "images", spots(3, 30))
    (sets / "made" / "images" / "classes.txt").write_text("class 0\nclass 1\nclass 2\n")
    assert main(words(sets, "made")) == 0
    assert "30 synthetic images" in (sets / "run" / "card.md").read_text()


def test_held_out_images_that_were_trained_on_are_no_baseline(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With them the distance of near-copies would be 0, and a noised copy would pass."""
    noise = np.random.default_rng(0).normal(0, 0.02, (10, 1, *spots(1, 1).shape[2:])).astype(np.float32)
    made = spots(3, 30)
    made[:10] = np.clip(spots(1, 60)[:10] + noise, -1, 1)
    folder(sets / "made", made)
    folder(sets / "leaking", np.concatenate([spots(1, 60)[:20], spots(2, 40)]))
    given = words(sets, "made", "--json")
    given[given.index("--held-out") + 1] = str(sets / "leaking")
    assert main(given) == 5
    shown = json.loads(capsys.readouterr().out)
    assert shown["spaces"][0]["copies"] == 10
    assert shown["spaces"][0]["unseen_images"] == 40
    assert any(warning.startswith("20 held-out images equal") for warning in shown["warnings"])
    given[given.index("--held-out") + 1] = str(sets / "training")
    given[given.index("--output") + 1] = str(sets / "second")
    assert main(given) == 3
    assert "60 of 60 images" in capsys.readouterr().out


def test_the_result_goes_into_the_model_card(sets: Path) -> None:
    Prior(filled(), record()).save(sets / "prior")
    assert main(words(sets, "independent", "--prior", str(sets / "prior"))) == 0
    assert "Passed: no more copies" in (sets / "prior" / "README.md").read_text()
    loaded = Prior.load(sets / "prior")
    assert loaded.record.audit is not None
    assert "30 synthetic images against 60 training images" in loaded.record.audit


def test_sides_of_a_table_and_of_a_split_say_what_was_seen(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = sets / "data"
    folder(data, np.concatenate([spots(1, 60), spots(2, 40), spots(4, 10)]))
    names = [f"class {number % 2}/{number:03d}.png" for number in range(110)]
    sides = ["train"] * 60 + ["test"] * 40 + ["validation"] * 10
    rows = [f"{name},{name[:7]},{number},{side}" for number, (name, side) in enumerate(zip(names, sides, strict=True))]
    (data / "labels.csv").write_text("\n".join(["file,label,patient,split", *rows]) + "\n")
    given = ["audit", "--synthetic", str(sets / "independent"), "--training", str(data), "--held-out", str(data)]
    given += ["--output", str(sets / "run"), "--resamples", "100", "--json"]
    assert main(given) == 0
    by_table = json.loads(capsys.readouterr().out)["spaces"]
    write_image_split(sets / "split.json", split_images(read_labelled(data), validation=0))
    assert main([*given, "--split", str(sets / "split.json")]) == 0
    by_split = json.loads(capsys.readouterr().out)["spaces"]
    assert main(words(sets, "independent", "--json")) == 0
    by_folder = json.loads(capsys.readouterr().out)["spaces"]
    assert by_table == by_split
    for one, other in zip(by_table, by_folder, strict=True):
        assert one["unseen_images"] == other["unseen_images"] == 40
        assert one["threshold"] == pytest.approx(other["threshold"])
        assert one["membership_auroc"] == pytest.approx(other["membership_auroc"])


def test_refusals_name_the_argument(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(sets, "missing")) == 3
    assert main(words(sets, "independent", "--maximum-rate", "0.001")) == 2
    assert "maximum_rate" in capsys.readouterr().err
    assert main(words(sets, "independent", "--prior", str(sets))) == 2
    assert "prior.json" in capsys.readouterr().err
    folder(sets / "wide", spots(5, 4, size=24))
    assert main(words(sets, "wide")) == 2
    assert "size" in capsys.readouterr().err


def test_a_dry_run_counts_comparisons(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(sets, "independent", "--dry-run")) == 0
    assert f"# comparisons: {(30 + 40) * 60 * 12}" in capsys.readouterr().out
