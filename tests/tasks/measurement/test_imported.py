"""Weights in the published layout: imported, they sample with the released sampler as the network itself says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.networks.reference_weights import reference

from skiagraph.cli import main
from skiagraph.diffusion.grid import Levels
from skiagraph.diffusion.sampling import final, trajectory
from skiagraph.diffusion.schedule import linear_table
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.partial import EpsPartialDenoiser
from skiagraph.inverse.reference import ReferenceMeasurementScore
from skiagraph.physics.masks import ReferenceCellSchedule
from skiagraph.physics.selection import Identity
from skiagraph.tasks.measurement.generate import generate, generate_images
from skiagraph.tasks.measurement.priors import load_image_prior
from skiagraph.tasks.measurement.sampling_settings import GenerateSettings
from skiagraph.training.prior import Prior


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published-style checkpoint of 32 x 32 colour images, imported under the name of plain weights."""
    weights, _ = reference("updown_heads_32")
    folder = tmp_path_factory.mktemp("imported")
    shutil.copy(weights, folder / "model000010.pt")
    words = ["--size", "32", "32", "--spacing-mm", "1", "1", "--head-channels", "32", "--output", str(folder / "prior")]
    assert main(["import-checkpoint", str(folder / "model000010.pt"), *words]) == 0
    return folder / "prior"


def settings(prior: Path, **changes: Any) -> GenerateSettings:
    values = {"prior": prior, "sampler": "reference", "steps": "ddim4", "views": 2, "number": 2, "precision": "float32"}
    return GenerateSettings.model_validate({**values, "mask": {"family": "cells"}, **changes})


def test_imported_weights_walk_the_released_sampler(imported: Path) -> None:
    chosen = settings(imported)
    images = generate_images(load_image_prior(imported, chosen.mask, "float32"), chosen)
    network, table = Prior.load(imported).network, linear_table().respaced("ddim4")
    partial = EpsPartialDenoiser(network, table, Identity(), table.original_index)
    rule = ReferenceMeasurementScore(Identity(), ReferenceCellSchedule(32), views=2)
    streams = Streams([0, 1])
    with torch.no_grad():
        state = final(trajectory(partial, streams.normal(3, 32, 32), Levels(), rule, streams=streams))
    assert torch.allclose(images, state.clamp(-1, 1), atol=1e-3)  # of a state that reaches 100
    assert int((state.abs() < 1).sum()) > 50
    assert images.shape == (2, 3, 32, 32)


def test_weights_that_are_no_average_are_warned_of(imported: Path, tmp_path: Path) -> None:
    result = generate(settings(imported, number=1, output=tmp_path / "r"))
    assert any("not the averaged ones" in warning for warning in result.warnings)
    assert "not the averaged ones" in (tmp_path / "r" / "report.html").read_text()


def test_without_a_statement_of_masks_they_are_an_ordinary_prior(imported: Path) -> None:
    plain = settings(imported, sampler="default", views=None, mask={"family": "none"}, number=1)
    assert generate_images(load_image_prior(imported), plain).shape == (1, 3, 32, 32)
