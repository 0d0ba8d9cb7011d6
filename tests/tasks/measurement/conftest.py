"""Priors that were trained for a moment, shared by the tests of generation and restoration."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.tiny_pictures import NETWORK, coil_files, picture_folder

from skiagraph.tasks.measurement.settings import TrainMeasurementSettings
from skiagraph.tasks.measurement.train import train_measurement


def trained(folder: Path, data: Path, **changes: object) -> Path:
    """A prior of 16 images seen in `folder`."""
    values = {"data": [data], "output": folder, "network": NETWORK, "images": 16, "batch_size": 4, "warmup": 0}
    train_measurement(TrainMeasurementSettings.model_validate({**values, "learning_rate": 2e-3, **changes}))
    return folder


@pytest.fixture(scope="session")
def pictures_at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of six pictures."""
    return picture_folder(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def scans_at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of two complete scans."""
    return coil_files(tmp_path_factory.mktemp("scans"))


@pytest.fixture(scope="session")
def masked_prior(pictures_at: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prior of masked pictures."""
    return trained(tmp_path_factory.mktemp("priors") / "masked", pictures_at)


@pytest.fixture(scope="session")
def whole_prior(pictures_at: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prior of whole pictures."""
    return trained(tmp_path_factory.mktemp("priors") / "whole", pictures_at, mask={"family": "none"})


@pytest.fixture(scope="session")
def coil_prior(scans_at: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prior of masked k-space of combined images."""
    folder = tmp_path_factory.mktemp("priors") / "coils"
    return trained(folder, scans_at, kind="k-space", kspace="combined", size=[24], mask={"family": "random"})
