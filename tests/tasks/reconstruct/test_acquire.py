"""What is to be reconstructed: slices of a file, or of a volume whose scan is simulated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.tiny_scans import scan
from skiagraph.data.phantom import head_phantom
from skiagraph.data.volume import write_nifti
from skiagraph.tasks.reconstruct.acquire import acquire, default_centre
from skiagraph.tasks.reconstruct.settings import ReconstructSettings


def test_a_noise_scan_gives_the_noise_unless_it_is_stated(scan_file: Path, bare_file: Path) -> None:
    known = scan().noise_scan
    assert known is not None
    sigma = float(np.sqrt((np.abs(known) ** 2).mean() / 2))
    measured = acquire(ReconstructSettings(prior=Path("p"), scan=scan_file)).scan
    torch.testing.assert_close(measured.noise * measured.scale, torch.full((3,), sigma), rtol=1e-3, atol=0.0)
    stated = acquire(ReconstructSettings(prior=Path("p"), scan=scan_file, noise_std=0.5)).scan
    torch.testing.assert_close(stated.noise * stated.scale, torch.full((3,), 0.5))
    estimated = acquire(ReconstructSettings(prior=Path("p"), scan=bare_file)).scan
    assert 0 < float(estimated.noise * estimated.scale) < 100 * sigma


def test_truth_is_divided_by_the_scale_of_the_scan(scan_file: Path) -> None:
    data = acquire(ReconstructSettings(prior=Path("p"), scan=scan_file, slices="2,0"))
    truth = scan(truth=True).truth
    assert truth is not None
    assert data.truth is not None
    assert data.head is not None
    assert data.names == ("slice 2", "slice 0")
    assert data.affine is None
    torch.testing.assert_close(data.truth * data.scan.scale[:, None, None], torch.from_numpy(truth[[2, 0]]))
    assert 0.1 < float(data.head.float().mean()) < 0.9
    assert data.record()["calibration_lines"] == 15


def test_a_volume_is_scanned_where_its_slices_lie(tmp_path: Path) -> None:
    volume = write_nifti(tmp_path / "head.nii.gz", head_phantom(1, spacing_mm=4.0))
    settings = ReconstructSettings(prior=Path("p"), scan=volume, simulate=True, slices="18:20", acceleration=8.0)
    data = acquire(settings)
    assert data.names == ("head.nii.gz/18", "head.nii.gz/19")
    assert data.provenance == "simulated k-space"
    assert torch.equal(data.scan.mask[0], data.scan.mask[1])
    assert int(data.scan.centre.min()) >= default_centre(8.0) == 12
    assert data.acceleration == pytest.approx(float(1 / data.scan.mask[0].mean()))
    assert data.affine is not None
    assert np.abs(data.affine[:3, 2]).max() == pytest.approx(data.spacing_mm[2], rel=1e-6)
    alone = acquire(settings.model_copy(update={"slices": "19"}))
    assert torch.equal(alone.scan.kspace[0], data.scan.kspace[1])
    assert alone.affine is not None
    np.testing.assert_allclose(alone.affine[:3, 3], data.affine[:3, 3] + data.affine[:3, 2], atol=1e-6)
