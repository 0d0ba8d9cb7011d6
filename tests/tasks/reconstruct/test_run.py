"""From a k-space file to a run folder: what is written, where it lies in space, and what it depends on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
import torch

from helpers.tiny_scans import scan
from skiagraph.config import read_yaml
from skiagraph.data.fastmri import write_fastmri
from skiagraph.errors import InputError
from skiagraph.inverse.consistent import Anchors
from skiagraph.tasks.reconstruct.network import KIND, build_network, load_prior, start_from
from skiagraph.tasks.reconstruct.run import ReconstructResult, expectation, reconstruct, sampler_settings
from skiagraph.tasks.reconstruct.settings import NetworkSettings, ReconstructSettings, TrainSettings
from skiagraph.tasks.reconstruct.train import TrainResult, train_prior

FILES = [
    "config.yaml",
    "mean.nii.gz",
    "reconstruction.h5",
    "report.html",
    "report.npz",
    "run.json",
    "standard_deviation.nii.gz",
]


def _run(prior: Path, file: Path, output: Path, **changes: Any) -> ReconstructResult:
    fast: dict[str, Any] = {"samples": 2, "steps": 2, "baselines": ["zero-filled"], "precision": "float32"}
    return reconstruct(ReconstructSettings(prior=prior, scan=file, output=output, **{**fast, **changes}))


def _arrays(folder: Path) -> dict[str, Any]:
    with h5py.File(folder / "reconstruction.h5") as content:
        return {name: content[name][()] for name in ("mean", "standard_deviation", "samples")}


def test_a_prior_says_what_it_was_trained_on(trained: TrainResult) -> None:
    network, record = load_prior(trained.prior)
    assert record.architecture.kind == KIND
    assert record.architecture.settings["data_iterations"] == 3
    assert network.data_iterations == 3
    assert (record.size, record.spacing_mm) == ([32, 32], [8.0, 8.0])
    assert record.data.provenance == "measured"
    assert [source.name for source in record.data.sources] == ["head.h5"]
    assert record.training.images_seen == trained.images == 8
    assert record.extra["spread"] == pytest.approx(max(1.0, trained.spread.factor), abs=1e-4)
    assert record.measurement is not None
    assert record.measurement.settings["centre"] == 15
    assert record.measurement.settings["effective_acceleration"] == pytest.approx(32 / 23)
    assert trained.record()["prior"] == trained.prior


def test_a_run_leaves_images_record_and_page(prior_folder: Path, scan_file: Path, tmp_path: Path) -> None:
    told: list[str] = []
    settings = ReconstructSettings(prior=prior_folder, scan=scan_file, output=tmp_path / "run", samples=2, steps=2)
    result = reconstruct(settings, lambda stage, done, total: told.append(stage))
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == FILES
    affine = scan().affine
    arrays = _arrays(tmp_path / "run")
    for name, key in (("mean", "mean"), ("standard_deviation", "standard_deviation")):
        image = nibabel.load(tmp_path / "run" / f"{name}.nii.gz")
        np.testing.assert_allclose(image.affine, affine, atol=1e-4)
        np.testing.assert_allclose(image.get_fdata(), np.abs(arrays[key]).transpose(1, 2, 0), rtol=1e-5)
    assert arrays["samples"].shape == (3, 2, 32, 32)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["seed"] == 0
    assert record["network_evaluations_per_slice"] == 2 * 2 + 4
    assert record["input"]["coils"] == 4
    assert record["input"]["provenance"] == "measured"
    assert record["prior"]["weights_sha256"] == load_prior(prior_folder)[1].weights_sha256
    assert [row["method"] for row in record["figures"]] == [*settings.baselines, "skiagraph"]
    assert result.figures == record["figures"]
    assert 0 <= record["coverage_of_90_percent_interval"] <= 1
    assert read_yaml(str(tmp_path / "run" / "config.yaml"))["samples"] == 2
    page = (tmp_path / "run" / "report.html").read_text()
    assert result.page == tmp_path / "run" / "report.html"
    assert "l1-wavelet" in page
    assert {"coil maps", "zero-filled", "posterior samples"} <= set(told)
    assert result.__rich__() is not None


def test_the_seed_decides_the_samples(prior_folder: Path, scan_file: Path, tmp_path: Path) -> None:
    one, again, other = ({"seed": 1}, {"seed": 1, "batch": 1}, {"seed": 2})
    found = []
    for number, changes in enumerate((one, one, again, other)):
        _run(prior_folder, scan_file, tmp_path / str(number), **changes)
        found.append(_arrays(tmp_path / str(number)))
    for name in found[0]:
        assert np.array_equal(found[0][name], found[1][name])
        np.testing.assert_allclose(found[2][name], found[0][name], atol=1e-4 * np.abs(found[0][name]).max())
    assert not np.array_equal(found[0]["samples"], found[3]["samples"])
    assert np.array_equal(found[0]["mean"], found[3]["mean"])


def test_chosen_slices_keep_their_samples_and_their_place(prior_folder: Path, scan_file: Path, tmp_path: Path) -> None:
    _run(prior_folder, scan_file, tmp_path / "all")
    _run(prior_folder, scan_file, tmp_path / "some", slices="1:3")
    whole, some = _arrays(tmp_path / "all"), _arrays(tmp_path / "some")
    np.testing.assert_allclose(some["samples"], whole["samples"][1:], atol=1e-4 * np.abs(whole["samples"]).max())
    affine = np.array(scan().affine)
    affine[:3, 3] += affine[:3, 2]
    np.testing.assert_allclose(nibabel.load(tmp_path / "some" / "mean.nii.gz").affine, affine, atol=1e-4)
    (tmp_path / "some" / "notes.txt").touch()
    _run(prior_folder, scan_file, tmp_path / "some", slices="0,2")
    assert not (tmp_path / "some" / "mean.nii.gz").exists()  # not that of the earlier run either
    assert (tmp_path / "some" / "notes.txt").exists()
    assert _arrays(tmp_path / "some")["mean"].shape == (2, 32, 32)


def test_intensities_are_those_of_the_file(prior_folder: Path, scan_file: Path, tmp_path: Path) -> None:
    _run(prior_folder, scan_file, tmp_path / "run")
    truth = scan(truth=True).truth
    assert truth is not None
    mean = np.abs(_arrays(tmp_path / "run")["mean"])
    inside = truth > 0.2 * truth.max()
    assert float(np.median(mean[inside] / truth[inside])) == pytest.approx(1, abs=0.1)


def test_a_scan_without_truth_or_place_has_no_figures_and_no_volume(
    prior_folder: Path, bare_file: Path, tmp_path: Path
) -> None:
    result = _run(prior_folder, bare_file, tmp_path / "run", baselines=[], samples=1)
    assert (result.figures, result.coverage) == ([], None)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [n for n in FILES if "nii" not in n]
    assert float(np.abs(_arrays(tmp_path / "run")["standard_deviation"]).max()) == 0


def test_truth_of_another_file_gives_figures_and_changes_no_image(
    prior_folder: Path, scan_file: Path, bare_file: Path, tmp_path: Path
) -> None:
    _run(prior_folder, bare_file, tmp_path / "without", slices="0")
    result = _run(prior_folder, bare_file, tmp_path / "with", slices="0", truth=scan_file)
    assert [row["method"] for row in result.figures] == ["zero-filled", "skiagraph"]
    assert np.array_equal(_arrays(tmp_path / "without")["mean"], _arrays(tmp_path / "with")["mean"])
    with pytest.raises(InputError, match=rf"truth: {bare_file} holds no reference images"):
        _run(prior_folder, bare_file, tmp_path / "none", truth=bare_file)


def test_cost_is_told_without_running(prior_folder: Path, scan_file: Path, tmp_path: Path) -> None:
    cost = expectation(ReconstructSettings(prior=prior_folder, scan=scan_file, output=tmp_path / "run"))
    assert (cost["slices"], cost["network_evaluations_per_slice"]) == (3, 24)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("acceleration", "views"), [(2.0, 4), (5.2, 6)])
def test_covering_views_are_as_many_as_the_training_masks_need(
    prior_folder: Path, acceleration: float, views: int
) -> None:
    record = load_prior(prior_folder)[1]
    assert record.measurement is not None
    masks = record.measurement.model_copy(update={"settings": {"acceleration": acceleration, "centre": 12}})
    settings = ReconstructSettings(prior=prior_folder, scan=Path("a.h5"), sampler="measurement-score")
    assert sampler_settings(settings, record.model_copy(update={"measurement": masks})).views == views


def test_a_few_coils_more_are_a_warning(prior_folder: Path, tmp_path: Path) -> None:
    content = scan(slices=1)
    data = np.concatenate([content.data, 0.5 * content.data[:, :1]], 1)
    file = write_fastmri(tmp_path / "five.h5", type(content)(**{**vars(content), "data": data, "noise_scan": None}))
    result = _run(prior_folder, file, tmp_path / "run")
    assert any("5 coils" in warning for warning in result.warnings)
    assert "5 coils" in (tmp_path / "run" / "report.html").read_text()


def test_weights_of_another_prior_start_a_run(prior_folder: Path) -> None:
    network, record = load_prior(prior_folder)
    fresh = build_network(NetworkSettings(**record.architecture.settings), seed=9)
    start_from(fresh, prior_folder)
    for name, value in network.state_dict().items():
        assert bool((fresh.state_dict()[name] == value).all()), name
    with pytest.raises(InputError, match=r"start: the prior in .* has another shape"):
        start_from(build_network(NetworkSettings(channels=16, multipliers=(1,))), prior_folder)


def test_a_prior_that_is_told_the_noise_starts_as_one_that_is_not(prior_folder: Path) -> None:
    network, record = load_prior(prior_folder)
    aware = build_network(
        NetworkSettings(**{**record.architecture.settings, "noise_range": (0.01, 0.4)}), seed=9
    ).eval()
    start_from(aware, prior_folder)
    kspace, maps = torch.randn(2, 3, 24, 24, dtype=torch.complex64), torch.full((2, 3, 24, 24), 3**-0.5 + 0j)
    mask, noise = torch.ones(2, 1, 1, 24), torch.tensor([0.02, 0.3])
    given = (kspace, torch.tensor([20.0, 20.0]), 0 * mask, maps, Anchors(kspace, mask, noise))
    with torch.no_grad():
        assert torch.allclose(aware(*given).image, network(*given).image, atol=1e-6)
        # Once it has learned something of it, the noise counts.
        aware.by_noise.values += 1.0
        assert not torch.allclose(aware(*given).image, network(*given).image, atol=1e-3)


def test_fresh_weights_are_a_function_of_the_seed() -> None:
    small = NetworkSettings(channels=8, multipliers=(1,))
    one, same, other = (list(build_network(small, seed).parameters()) for seed in (0, 0, 1))
    assert all(bool((a == b).all()) for a, b in zip(one, same, strict=True))
    assert not all(bool((a == b).all()) for a, b in zip(one, other, strict=True))


def test_training_files_of_two_sizes_or_resolutions_are_refused(scan_file: Path, tmp_path: Path) -> None:
    content = scan(slices=1)
    wide = write_fastmri(tmp_path / "wide.h5", type(content)(**{**vars(content), "field_of_view_mm": (256.0, 320.0)}))
    fewer = {"data": content.data[:, :, :30], "noise_scan": None, "image_shape": None}
    short = write_fastmri(tmp_path / "short.h5", type(content)(**{**vars(content), **fewer}))
    for file, words in ((wide, "one resolution"), (short, "one size")):
        with pytest.raises(InputError, match=rf"data: {file} has .*{words}"):
            train_prior(TrainSettings(data=[scan_file, file], output=tmp_path / "prior"))
    assert not (tmp_path / "prior").exists()
