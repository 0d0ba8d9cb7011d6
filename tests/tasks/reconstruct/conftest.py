"""A scan on disk and a prior trained on it, once for all tests of this folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from helpers.tiny_scans import NETWORK, scan
from skiagraph.data.fastmri import write_fastmri
from skiagraph.tasks.reconstruct.settings import ObjectiveSettings, TrainSettings
from skiagraph.tasks.reconstruct.train import TrainResult, train_prior


@pytest.fixture(scope="session")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three undersampled slices of the phantom in the fastMRI layout, with an affine and reference images."""
    return write_fastmri(tmp_path_factory.mktemp("scan") / "head.h5", scan(truth=True))


@pytest.fixture(scope="session")
def bare_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One slice without affine, reference images or noise scan."""
    content = replace(scan(slices=1), affine=None, noise_scan=None)
    return write_fastmri(tmp_path_factory.mktemp("scan") / "bare.h5", content)


@pytest.fixture(scope="session")
def trained(scan_file: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """What `train` makes of eight images with a tiny network."""
    settings = TrainSettings(
        data=[scan_file],
        network=NETWORK,
        objective=ObjectiveSettings(rows=None),
        output=tmp_path_factory.mktemp("prior"),
        images=8,
        batch_size=4,
        warmup=4,
        ema_half_life=4,
        precision="float32",
    )
    return train_prior(settings)


@pytest.fixture(scope="session")
def prior_folder(trained: TrainResult) -> Path:
    """Folder of that prior."""
    return trained.prior
