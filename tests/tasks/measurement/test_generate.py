"""`generate`: exactly so many images, each a function of its seed, every file marked as synthetic; refusals."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from skiagraph.cli import main
from skiagraph.errors import InputError
from skiagraph.tasks.measurement.generate import expectation, generate, generate_images, load_maps
from skiagraph.tasks.measurement.priors import load_image_prior
from skiagraph.tasks.measurement.sampling_settings import GenerateSettings

STEPS = "ddim5"


def settings(prior: Path, **changes: Any) -> GenerateSettings:
    return GenerateSettings.model_validate({"prior": prior, "number": 3, "steps": STEPS, **changes})


@pytest.mark.parametrize("sampler", ["default", "sequential", "reference"])
def test_an_image_depends_on_its_seed_alone(masked_prior: Path, sampler: str) -> None:
    prior = load_image_prior(masked_prior)
    together = generate_images(prior, settings(masked_prior, sampler=sampler, seed=7))
    alone = generate_images(prior, settings(masked_prior, sampler=sampler, seed=9, number=1))
    assert together.shape == (3, 3, 16, 16)
    assert torch.allclose(together[2], alone[0], atol=1e-5)
    assert not torch.allclose(together[1], alone[0], atol=1e-2)
    parts = generate_images(prior, settings(masked_prior, sampler=sampler, seed=7, batch=2))
    assert torch.allclose(parts, together, atol=1e-5)


@pytest.mark.parametrize("solver", ["ddim", "ddnm", "dpm-solver++", "heun"])
@pytest.mark.parametrize("kind", ["masked", "whole"])
def test_every_solver_walks_every_prior(request: pytest.FixtureRequest, kind: str, solver: str) -> None:
    folder = request.getfixturevalue(f"{kind}_prior")
    images = generate_images(load_image_prior(folder), settings(folder, solver=solver, number=2))
    assert images.shape == (2, 3, 16, 16)
    assert bool(images.isfinite().all())
    assert float(images.abs().max()) < 1.5


def test_everything_says_that_it_is_synthetic(masked_prior: Path, tmp_path: Path) -> None:
    words = [
        "generate",
        "--prior",
        str(masked_prior),
        "--steps",
        STEPS,
        "--number",
        "3",
        "--output",
        str(tmp_path / "r"),
    ]
    assert main([*words, "--json"]) == 0
    names = sorted(file.name for file in (tmp_path / "r").iterdir())
    assert names == [
        *("config.yaml", "grid.png", "image-0000.png", "image-0001.png", "image-0002.png", "images.npz"),
        *("report.html", "report.npz", "run.json"),
    ]
    with Image.open(tmp_path / "r" / "image-0001.png") as image:
        assert image.size == (16, 16)
        assert image.info["Source"].startswith("synthetic")
    with np.load(tmp_path / "r" / "images.npz") as arrays:
        assert arrays["images"].shape == (3, 3, 16, 16)
        assert arrays["seeds"].tolist() == [0, 1, 2]
        assert str(arrays["provenance"]).startswith("synthetic")
    assert json.loads((tmp_path / "r" / "run.json").read_text())["network_evaluations_per_image"] == 10
    assert "Synthetic images" in (tmp_path / "r" / "report.html").read_text()
    assert main([*words, "--number", "1"]) == 0
    assert not (tmp_path / "r" / "image-0001.png").exists()


def test_priors_of_k_space_need_maps_and_give_volumes(coil_prior: Path, scans_at: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="maps: the prior"):
        generate(settings(coil_prior, output=tmp_path / "r"))
    maps = scans_at / "scan-0.h5"
    for sampler in ("default", "reference"):
        chosen = settings(coil_prior, maps=maps, sampler=sampler, number=2, formats=["nifti"], output=tmp_path / "r")
        result = generate(chosen)
        assert result.evaluations == (20 if sampler == "default" else 15)
        volume = nibabel.load(tmp_path / "r" / "images.nii.gz")
        assert volume.shape == (32, 32, 2)
        assert volume.header.get_zooms()[:2] == (8.0, 8.0)
    assert load_maps(maps).shape == (3, 4, 32, 32)


def test_expectation_counts_evaluations(masked_prior: Path, whole_prior: Path, tmp_path: Path) -> None:
    assert expectation(settings(masked_prior))["network_evaluations_per_image"] == 10
    assert expectation(settings(masked_prior, sampler="reference"))["network_evaluations_per_image"] == 15
    assert expectation(settings(whole_prior, solver="heun"))["network_evaluations_per_image"] == 9
    assert "not there yet" in expectation(settings(tmp_path / "absent"))["prior"]


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("whole", {"views": 2}, "views has no effect"),
        ("whole", {"sampler": "reference"}, "sampler has no effect"),
        ("whole", {"formats": ["nifti"]}, "holds images of one channel"),
        ("masked", {"maps": "maps.h5"}, "maps have no effect"),
        ("masked", {"views": 1}, "cannot cover"),
        ("masked", {"mask": {"family": "pixels"}}, "but the prior 'prior' learned from family cells"),
    ],
)
def test_what_has_no_effect_or_no_meaning_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, changes: dict[str, Any], words: str
) -> None:
    folder = request.getfixturevalue(f"{kind}_prior")
    with pytest.raises(InputError, match=words):
        generate(settings(folder, output=tmp_path / "r", **changes))
    assert not (tmp_path / "r").exists()


def test_masked_weights_without_a_statement_need_one(whole_prior: Path) -> None:
    stated = load_image_prior(whole_prior, settings(whole_prior, mask={"family": "cells"}).mask)
    images = generate_images(stated, settings(whole_prior, sampler="reference", number=1))
    assert images.shape == (1, 3, 16, 16)


def test_a_prior_of_reconstruction_is_refused_with_the_way_to_go(tmp_path: Path) -> None:
    shipped = Path(str(files("skiagraph"))) / "presets" / "priors" / "brain-t1-128"
    with pytest.raises(InputError, match=r"not to draw images from nothing.*skiagraph train measurement-score --kind"):
        generate(GenerateSettings(prior=shipped, output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
