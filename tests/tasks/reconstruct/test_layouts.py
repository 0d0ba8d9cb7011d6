"""Scans as they come, through the command: images of the scanner's size and place, figures against its references."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest

from helpers.exports import oversampled, write_export, write_fastmri_layout
from helpers.tiny_scans import NETWORK, column_mask, scan
from skiagraph.cli import main
from skiagraph.data.fastmri import write_fastmri
from skiagraph.data.kspace import KSpace
from skiagraph.data.map_files import CoilMaps, read_maps, write_maps
from skiagraph.data.simulation import centred_ifft2
from skiagraph.errors import InputError
from skiagraph.tasks.reconstruct.run import ReconstructResult, reconstruct
from skiagraph.tasks.reconstruct.settings import ObjectiveSettings, ReconstructSettings, TrainSettings
from skiagraph.tasks.reconstruct.train import train_prior


def _run(prior: Path, file: Path, output: Path, **changes: Any) -> ReconstructResult:
    fast: dict[str, Any] = {"samples": 2, "steps": 2, "baselines": ["zero-filled"], "precision": "float32"}
    return reconstruct(ReconstructSettings(prior=prior, scan=file, output=output, **{**fast, **changes}))


def _whole(coils: int | None = None) -> np.ndarray:
    return scan(slices=2, mask=np.ones(32, dtype=bool)).data[:, :coils]


def _rss(kspace: np.ndarray) -> np.ndarray:
    return np.sqrt((np.abs(centred_ifft2(kspace)) ** 2).sum(1))


def test_a_knee_layout_file_gives_images_of_the_reference_size(prior_folder: Path, tmp_path: Path) -> None:
    whole = _whole()
    truth = _rss(whole)[:, :, 4:28]
    file = write_fastmri_layout(
        tmp_path / "k.h5", oversampled(whole), (32, 24), mask=column_mask(), padding=(1, 1), truth=truth
    )
    result = _run(prior_folder, file, tmp_path / "run")
    assert [row["method"] for row in result.figures] == ["zero-filled", "skiagraph"]
    with h5py.File(tmp_path / "run" / "reconstruction.h5") as content:
        assert content["mean"].shape == (2, 32, 24)
        assert content["samples"].shape == (2, 2, 32, 24)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["input"]["image"] == [32, 24]
    assert record["input"]["treatment"]["noise"]["source"] == "outer k-space"
    assert record["mask"]["own_masks_stay_below"]


def test_a_single_coil_file_runs_with_a_warning(prior_folder: Path, tmp_path: Path) -> None:
    one = oversampled(_whole(1))[:, 0]
    file = write_fastmri_layout(tmp_path / "s.h5", one, (32, 32), mask=column_mask())
    result = _run(prior_folder, file, tmp_path / "run")
    assert any("single coil" in warning for warning in result.warnings)
    assert "single coil" in (tmp_path / "run" / "report.html").read_text()


def test_an_export_keeps_its_place_in_the_cut_image(prior_folder: Path, tmp_path: Path) -> None:
    file = write_export(tmp_path / "m.h5", oversampled(_whole()), column_mask(), image=(32, 24))
    _run(prior_folder, file, tmp_path / "run")
    image = nibabel.load(tmp_path / "run" / "mean.nii.gz")
    assert image.shape == (32, 24, 2)
    centre = image.affine @ [16, 12, 1, 1]  # the lines' position is that of the middle of the field of view
    np.testing.assert_allclose(centre[:3], [0, 0, 5], atol=1e-4)


def test_fewer_virtual_coils_and_white_noise_are_recorded(prior_folder: Path, scan_file: Path, tmp_path: Path) -> None:
    _run(prior_folder, scan_file, tmp_path / "run", coils=3, slices="0")
    treatment = json.loads((tmp_path / "run" / "run.json").read_text())["input"]["treatment"]
    assert treatment["noise"]["prewhitened"]
    assert treatment["coil_compression"]["virtual_coils"] == 3
    page = (tmp_path / "run" / "report.html").read_text()
    assert "coil compression" in page
    assert "pre-whitened" in page
    _run(prior_folder, scan_file, tmp_path / "off", prewhiten=False, slices="0")
    assert not json.loads((tmp_path / "off" / "run.json").read_text())["input"]["treatment"]["noise"]["prewhitened"]


def test_maps_of_the_command_are_taken(prior_folder: Path, scan_file: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps.h5"
    assert main(["maps", str(scan_file), "--output", str(maps)]) == 0
    estimated = _run(prior_folder, scan_file, tmp_path / "a", prewhiten=False)
    given = _run(prior_folder, scan_file, tmp_path / "b", prewhiten=False, maps=maps)
    assert given.warnings == estimated.warnings
    with h5py.File(tmp_path / "a" / "reconstruction.h5") as one, h5py.File(tmp_path / "b" / "reconstruction.h5") as two:
        np.testing.assert_allclose(one["mean"][()], two["mean"][()], atol=1e-5 * np.abs(one["mean"][()]).max())
    found = read_maps(maps)
    write_maps(tmp_path / "other.h5", CoilMaps(2 * found.maps, found.slices, "0" * 64, {}))
    other = _run(prior_folder, scan_file, tmp_path / "c", maps=tmp_path / "other.h5")
    page = (tmp_path / "c" / "report.html").read_text()
    for words in ("estimated from another file", "sum to one"):
        assert any(words in warning for warning in other.warnings)
        assert words in page
    write_maps(tmp_path / "small.h5", CoilMaps(found.maps[:, :3], found.slices, "", {}))
    with pytest.raises(InputError, match=r"maps: found \(coils, rows, columns\) \(3, 32, 32\)"):
        _run(prior_folder, scan_file, tmp_path / "d", maps=tmp_path / "small.h5")
    assert not (tmp_path / "d").exists()


def test_noise_stated_as_zero_is_run_and_said(prior_folder: Path, scan_file: Path, tmp_path: Path) -> None:
    result = _run(prior_folder, scan_file, tmp_path / "run", noise_std=0.0, slices="0")
    assert any("noise_std is 0" in warning for warning in result.warnings)
    assert "noise_std is 0" in (tmp_path / "run" / "report.html").read_text()
    with h5py.File(tmp_path / "run" / "reconstruction.h5") as content:
        assert np.isfinite(content["mean"][()]).all()


def test_one_prior_learns_from_scans_of_several_coil_counts(scan_file: Path, tmp_path: Path) -> None:
    content = scan(slices=2)
    fewer = replace(content, data=content.data[:, :3], noise_scan=None)
    file = write_fastmri(tmp_path / "three.h5", fewer)
    settings = TrainSettings(
        data=[scan_file, file],
        network=NETWORK,
        objective=ObjectiveSettings(rows=None),
        output=tmp_path / "prior",
        images=4,
        batch_size=4,
        warmup=4,
        ema_half_life=4,
        precision="float32",
    )
    result = train_prior(settings)
    assert np.isfinite(result.loss)
    assert any("were sampled in no training scan" in warning for warning in result.warnings)
    assert any("the same mask" in warning for warning in result.warnings)
    record = json.loads((tmp_path / "prior" / "prior.json").read_text())
    assert any("were sampled in no training scan" in limit for limit in record["limits"])
    assert len(record["measurement"]["settings"]["mask_profile"]["density"]) == 16


def test_a_scan_alone_is_not_a_scan_with_its_truth(tmp_path: Path) -> None:
    assert isinstance(scan(), KSpace)
    path = write_fastmri(tmp_path / "a.h5", scan())
    with h5py.File(path) as content:
        assert "reconstruction_rss" not in content
