"""The command `simulate`: a scan to try things on, whose truth lies in another file."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from skiagraph.cli import main
from skiagraph.data.archives import file_sha256
from skiagraph.data.files import existing_file
from skiagraph.data.kspace import read_kspace
from skiagraph.data.phantom import head_phantom
from skiagraph.data.simulation import centred_ifft2
from skiagraph.data.truth_files import read_images
from skiagraph.data.volume import write_nifti
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.simulate import ScanFileSettings, expectation, simulate_file

SMALL = {"slices": 2, "matrix": 32, "coils": 4, "centre": 12}


def _settings(tmp_path: Path, name: str = "head.h5", **changes: object) -> ScanFileSettings:
    volume = tmp_path / "head.nii.gz"
    if not volume.exists():
        write_nifti(volume, head_phantom(0, spacing_mm=6.0))
    return ScanFileSettings(**{**SMALL, "head": str(volume), "output": tmp_path / name, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", ["fastmri", "ismrmrd"])
def test_the_truth_lies_in_a_file_of_its_own(tmp_path: Path, layout: str) -> None:
    result = simulate_file(_settings(tmp_path, format=layout))
    scan = read_kspace(result.scan)
    assert scan.data.shape == result.shape == (2, 4, 32, 32)
    assert scan.provenance == "simulated k-space"
    assert scan.truth is None
    assert scan.noise_scan is not None
    assert scan.affine is not None
    assert result.acceleration == pytest.approx(scan.acceleration)
    assert np.abs(scan.noise_scan).std() / np.abs(scan.noise_scan).mean() == pytest.approx(0.5227, abs=0.02)
    with h5py.File(result.scan) as content:
        named: list[str] = []
        content.visit(named.append)
    assert not any("truth" in name or "reconstruction" in name or "maps" in name for name in named)
    images, inside, sha256 = read_images(result.truth, (1,))
    assert sha256 == file_sha256(result.scan)
    assert images.shape == (1, 32, 32)
    assert inside is not None
    assert 0.1 < inside.mean() < 0.9


def test_slices_share_coils_but_not_noise_and_the_scan_shows_the_truth(tmp_path: Path) -> None:
    full = simulate_file(_settings(tmp_path, masks="full", noise_fraction=0.0))
    scan = read_kspace(full.scan)
    images, _, _ = read_images(full.truth, (0, 1))
    np.testing.assert_allclose(np.sqrt((np.abs(centred_ifft2(scan.data)) ** 2).sum(1)), images, atol=1e-4)
    assert scan.noise_scan is None
    noisy = read_kspace(simulate_file(_settings(tmp_path, "noisy.h5", masks="full")).scan)
    difference = noisy.data - scan.data
    level = np.abs(difference).std(axis=(1, 2, 3))
    assert level[0] == pytest.approx(level[1], rel=0.05)
    assert abs(np.vdot(difference[0], difference[1])) < 0.1 * np.linalg.norm(difference[0]) ** 2


def test_the_scan_is_a_function_of_the_seed(tmp_path: Path) -> None:
    one, same, other = (
        read_kspace(simulate_file(_settings(tmp_path, f"{name}.h5", seed=seed)).scan)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert np.array_equal(one.data, same.data)
    assert not np.array_equal(one.mask, other.mask)


def test_a_phantom_needs_no_file_and_what_is_none_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["simulate", "phantom", "--slices", "1", "--matrix", "32", "--coils", "2", "--centre", "12", "--json"]
    assert main(words) == 0
    shown = json.loads(capsys.readouterr().out)
    assert existing_file(shown["scan"], "a scan").name == "phantom.h5"
    assert shown["truth"] == "phantom.truth.h5"
    with pytest.raises(InputError, match=r"head: 'colin28' is no file here and no sample; .*'phantom'.*colin27"):
        simulate_file(ScanFileSettings(head="colin28"))
    with pytest.raises(DataError, match=r"none\.nii"):
        simulate_file(ScanFileSettings(head="none.nii"))
    with pytest.raises(InputError, match="centre: found 40 calibration lines, but the matrix has 32 columns"):
        simulate_file(ScanFileSettings(head="phantom", matrix=32, centre=40))
    assert expectation(_settings(tmp_path))["bytes"] == 2 * 4 * 32 * 32 * 8


def test_the_truth_of_another_scan_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = simulate_file(_settings(tmp_path, "mine.h5"))
    other = simulate_file(_settings(tmp_path, "other.h5", seed=3))
    from skiagraph.tasks.reconstruct.acquire import acquire
    from skiagraph.tasks.reconstruct.settings import ReconstructSettings

    with pytest.raises(InputError, match=r"other\.truth\.h5 is the truth of another scan than .*mine\.h5"):
        acquire(ReconstructSettings(prior=Path("p"), scan=mine.scan, truth=other.truth))
    data = acquire(ReconstructSettings(prior=Path("p"), scan=mine.scan, truth=mine.truth, slices="1"))
    assert data.truth is not None
    assert data.provenance == "simulated k-space"
    whole = mine.truth.read_bytes()
    mine.truth.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"mine\.truth\.h5"):
        acquire(ReconstructSettings(prior=Path("p"), scan=mine.scan, truth=mine.truth))
