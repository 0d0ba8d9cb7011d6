"""`evaluate distribution`: equal sets, planted copies, what `generate` leaves, names of features, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.helpers.tiny_pictures import NETWORK

from skiagraph.cli import main
from skiagraph.config import dump_yaml
from skiagraph.data.png import write_png
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.distribution.encoder import MiddleFeatures
from skiagraph.tasks.distribution.run import evaluate_distribution, expectation
from skiagraph.tasks.distribution.sets import read_sets
from skiagraph.tasks.distribution.settings import DistributionSettings


def drawn(seed: int, count: int, channels: int = 1) -> NDArray[np.uint8]:
    """Soft spots at random places on noise, (count, 16, 16) or with three channels last."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:16, :16]
    images = []
    for _ in range(count):
        row, column, width = generator.uniform(4, 12, 3)
        spot = 180 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width))
        images.append(spot + generator.uniform(0, 30, (16, 16)))
    found = np.stack(images).astype(np.uint8)
    return found if channels == 1 else np.stack([found] * channels, -1)


def folder(path: Path, images: NDArray[np.uint8], stem: str = "") -> Path:
    for number, image in enumerate(images):
        write_png(path / f"{stem}{number:04d}.png", image)
    return path


def settings(path: Path, **changes: Any) -> DistributionSettings:
    given = {"generated": [path / "drawn"], "training": [path / "training"], "output": path / "run", "subsets": 10}
    return DistributionSettings.model_validate({**given, **changes})


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """24 drawn, 40 training and 24 held-out pictures of one kind; drawn 3 is training 7."""
    images, training = drawn(0, 24), drawn(1, 40)
    images[3] = training[7]
    folder(tmp_path / "drawn", images)
    folder(tmp_path / "training", training)
    folder(tmp_path / "held-out", drawn(2, 24))
    return tmp_path


def test_the_command_finds_the_copy_and_names_features_and_numbers(
    sets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "distribution", "--generated", str(sets / "drawn"), "--training", str(sets / "training")]
    words += ["--held-out", str(sets / "held-out"), "--output", str(sets / "run"), "--subsets", "5", "--json"]
    assert main(words) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [row["set"] for row in shown["sets"]] == ["generated", "held-out"] * 2
    first = shown["sets"][0]
    assert (first["images"], first["training_images"], first["features"]) == (24, 40, "random-conv-v1")
    assert {"FD-random-conv-v1", "KD-random-conv-v1", "precision", "density"} <= set(first)
    assert [copy["baseline"] for copy in shown["copies"]] == ["held-out", "training"] * 2
    assert shown["copies"][0]["near_copies"] >= 1
    assert shown["copies"][0]["distance_min_1_percent_median_max"]["generated"][0] == 0
    left = json.loads((sets / "run" / "figures.json").read_text())
    nearest = left["images"][3]["nearest"]["pixels"]
    assert (nearest["training"], nearest["distance"]) == ("0007.png", 0)
    table = (sets / "run" / "table.md").read_text()
    assert "FD-random-conv-v1" in table
    assert "24 / 40" in table
    page = (sets / "run" / "report.html").read_text()
    assert "0007.png" in page
    assert "FID" not in page + table


def test_equal_sets_have_no_distance_and_all_of_everything(sets: Path) -> None:
    result = evaluate_distribution(settings(sets, generated=[sets / "training"], features=["patch-pca-8"]))
    (row,) = result.compared.rows
    assert row.frechet == pytest.approx(0, abs=1e-6)
    assert (row.scores.precision, row.scores.recall, row.scores.coverage) == (1, 1, 1)
    assert result.compared.audits[0].found.rate == 1
    assert any("No held-out images" in warning for warning in result.warnings)
    assert any("Frechet distance depends on their number" in warning for warning in result.warnings)


def test_real_images_are_nearer_than_spoilt_ones(sets: Path) -> None:
    noise = np.random.default_rng(5).integers(0, 60, (24, 16, 16)).astype(np.uint8)
    folder(sets / "spoilt", np.clip(drawn(6, 24).astype(int) + noise, 0, 255).astype(np.uint8))
    result = evaluate_distribution(settings(sets, generated=[sets / "spoilt"], held_out=[sets / "held-out"]))
    spoilt, real = result.compared.rows[:2]
    assert spoilt.kernel.value > real.kernel.value
    assert spoilt.frechet > real.frechet
    assert spoilt.scores.coverage < real.scores.coverage


def test_pictures_of_a_run_of_generate_are_read_and_its_contact_sheet_is_not(sets: Path) -> None:
    run = folder(sets / "run-of-generate", drawn(0, 12), "image-")
    write_png(run / "grid.png", np.zeros((40, 40), np.uint8))
    np.savez(run / "images.npz", images=np.zeros((12, 1, 16, 16), np.float32))
    pictures = evaluate_distribution(settings(sets, generated=[run])).compared.rows[0]
    assert pictures.scores.generated == 12
    arrays = sets / "arrays"
    arrays.mkdir()
    np.savez(arrays / "images.npz", images=(drawn(0, 12)[:, None] / 127.5 - 1).astype(np.float32))
    assert evaluate_distribution(settings(sets, generated=[arrays])).compared.rows[0].kernel.value == pytest.approx(
        pictures.kernel.value, rel=1e-3
    )


def test_of_a_run_of_synthesize_the_kept_pictures_count(sets: Path) -> None:
    """Rejected images and those from before the push lie in the same folder; so may the same images as numbers."""
    run = sets / "run-of-synthesize"
    folder(run / "images" / "liver", drawn(0, 12))
    folder(run / "rejected" / "liver", drawn(7, 5))
    folder(run / "before" / "liver", drawn(8, 12))
    for file in (run / "images" / "liver").glob("*.png"):
        np.save(file.with_suffix(".npy"), np.zeros((1, 16, 16), np.float32))
    (run / "recipe.json").write_text("{}")
    given = DistributionSettings(generated=[run], training=[sets / "training"])
    assert len(read_sets(given).generated) == 12


def test_colours_and_the_middle_of_a_prior(tmp_path: Path) -> None:
    from skiagraph.tasks.measurement.settings import TrainMeasurementSettings
    from skiagraph.tasks.measurement.train import train_measurement

    for name, seed in (("drawn", 0), ("training", 1)):
        folder(tmp_path / name, drawn(seed, 12, channels=3))
    training = {"data": [tmp_path / "training"], "output": tmp_path / "prior", "network": NETWORK, "name": "tiny"}
    train_measurement(TrainMeasurementSettings.model_validate({**training, "images": 8, "batch_size": 4}))
    features = MiddleFeatures.load(tmp_path / "prior")
    images = np.random.default_rng(0).uniform(-1, 1, (3, 3, 16, 16)).astype(np.float32)
    assert features(images).shape == (3, features.record()["features"])
    assert np.allclose(features(images[1:2]), features(images)[1:2], atol=1e-5)
    result = evaluate_distribution(settings(tmp_path, encoder=tmp_path / "prior", neighbours=2))
    assert [row.features for row in result.compared.rows] == ["random-conv-v1", "image-pca-64", "unet-middle-tiny"]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"neighbours": 24}, InputError, "neighbours: found 24, but a set holds 24 images"),
        ({"subset_size": 30}, InputError, "subset_size: found 30, but a set holds 24 images"),
        (
            {"generated": ["other"]},
            InputError,
            r"size: .* are \(16, 16\), the generated ones \(20, 16\)",
        ),
        ({"generated": ["one"]}, DataError, "found 1 picture; a set needs at least 2"),
        ({"encoder": "missing"}, DataError, "there is no such file"),
    ],
)
def test_what_does_not_fit_is_refused(sets: Path, changes: dict[str, Any], error: type, message: str) -> None:
    folder(sets / "other", np.zeros((6, 20, 16), np.uint8))
    folder(sets / "one", drawn(0, 1))
    changes = {
        name: [sets / value[0]] if name == "generated" else value if isinstance(value, int) else sets / value
        for name, value in changes.items()
    }
    with pytest.raises(error, match=message):
        evaluate_distribution(settings(sets, **changes))
    assert not (sets / "run").exists()


def test_equal_training_images_and_repeated_features_are_refused(sets: Path) -> None:
    folder(sets / "flat", np.full((9, 16, 16), 7, np.uint8))
    for features in (["random-conv-v1"], ["image-pca-64"]):
        with pytest.raises(DataError, match=r"same features|all of them are equal"):
            evaluate_distribution(settings(sets, training=[sets / "flat"], features=features))
    with pytest.raises(ValueError, match="name each once"):
        settings(sets, features=["patch-pca-8", "patch-pca-8"])


def test_dry_run_and_the_written_configuration_repeat_the_run(sets: Path) -> None:
    chosen = settings(sets)
    assert expectation(chosen)["generated_files"] == 24
    assert "missing" in expectation(settings(sets, training=[sets / "nowhere"]))
    evaluate_distribution(chosen)
    written = (sets / "run" / "config.yaml").read_text()
    assert written == dump_yaml(chosen)
    figures = (sets / "run" / "figures.json").read_text()
    assert main(["evaluate", "--config", str(sets / "run" / "config.yaml"), "--json"]) == 0
    assert (sets / "run" / "figures.json").read_text() == figures
