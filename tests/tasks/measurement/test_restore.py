"""`restore`: true adjoints, closed-form truths, measured data equal to simulated ones, every method, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers.tiny_pictures import pictures
from tests.helpers.tiny_scans import scan

from skiagraph.cli import main
from skiagraph.data.fastmri import write_fastmri
from skiagraph.data.png import write_png
from skiagraph.data.volume import Volume, read_nifti, write_nifti
from skiagraph.errors import InputError
from skiagraph.physics.operator import inner_product
from skiagraph.tasks.measurement.priors import load_image_prior
from skiagraph.tasks.measurement.problems import measure
from skiagraph.tasks.measurement.restore import expectation, restore, restore_images
from skiagraph.tasks.measurement.sampling_settings import RestoreSettings

PROBLEMS = ("box", "random", "super-resolution", "gaussian-blur", "motion-blur")


def settings(prior: Path, data: Path, **changes: Any) -> RestoreSettings:
    values = {"prior": prior, "input": data, "problem": "box", "simulate": True, "steps": "ddim5", "items": ":2"}
    return RestoreSettings.model_validate({**values, **changes})


@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_operator_has_its_true_adjoint(masked_prior: Path, pictures_at: Path, problem: str) -> None:
    data = measure(settings(masked_prior, pictures_at, problem=problem), load_image_prior(masked_prior))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 16, 16, generator=generator)
    y = torch.randn(data.measurement.shape, generator=generator)
    left = inner_product(data.operator.forward(x), y)
    assert torch.allclose(left, inner_product(x, data.operator.adjoint(y)), rtol=1e-4, atol=1e-4)


def test_the_released_box_and_noise_are_the_defaults(masked_prior: Path, pictures_at: Path) -> None:
    data = measure(settings(masked_prior, pictures_at), load_image_prior(masked_prior))
    hole = data.operator.forward(torch.ones(1, 1, 16, 16))[0, 0] == 0
    assert hole.nonzero().amin(0).tolist() == [4, 4]  # 35 / 128 of 16
    assert int(hole.sum()) == 64
    assert data.truth is not None
    error = (data.measurement - data.operator.forward(data.truth))[:, :, ~hole]
    assert 0.008 < float(error.std()) < 0.012
    assert torch.equal(data.noise, torch.full((2,), 0.01))


@pytest.mark.parametrize("kind", ["masked", "whole"])
@pytest.mark.parametrize("problem", ["box", "super-resolution"])
def test_without_noise_the_data_are_met_exactly(
    request: pytest.FixtureRequest, pictures_at: Path, kind: str, problem: str
) -> None:
    folder = request.getfixturevalue(f"{kind}_prior")
    chosen = settings(folder, pictures_at, problem=problem, noise_std=0.0, clip=False)
    prior = load_image_prior(folder)
    data = measure(chosen, prior)
    restored = restore_images(prior, chosen, data)
    assert torch.allclose(data.operator.forward(restored.mean), data.measurement, atol=2e-4)
    assert bool(restored.residual().isnan().all())


def test_a_hole_of_nothing_gives_the_image_back(masked_prior: Path, pictures_at: Path) -> None:
    chosen = settings(masked_prior, pictures_at, degradation={"hole": [1], "corner": [3]}, noise_std=0.0)
    prior = load_image_prior(masked_prior)
    data = measure(chosen, prior)
    restored = restore_images(prior, chosen, data)
    assert data.truth is not None
    kept = data.operator.forward(torch.ones(1, 1, 16, 16)) > 0
    assert torch.allclose((restored.mean * kept), data.truth * kept, atol=1e-5)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("sampler", ["default", "sequential", "reference"])
def test_every_problem_by_every_sampler(masked_prior: Path, pictures_at: Path, problem: str, sampler: str) -> None:
    chosen = settings(masked_prior, pictures_at, problem=problem, sampler=sampler, samples=2, items="0")
    prior = load_image_prior(masked_prior)
    restored = restore_images(prior, chosen, measure(chosen, prior))
    assert restored.samples.shape == (1, 2, 3, 16, 16)
    assert bool(restored.samples.isfinite().all())
    assert restored.deviation is not None


@pytest.mark.parametrize("method", ["ddnm", "dps", "diffpir", "pigdm"])
def test_every_method_for_whole_priors(whole_prior: Path, pictures_at: Path, method: str) -> None:
    chosen = settings(whole_prior, pictures_at, problem="super-resolution", method=method)
    prior = load_image_prior(whole_prior)
    restored = restore_images(prior, chosen, measure(chosen, prior))
    assert bool(restored.mean.isfinite().all())
    assert len(restored.scores()) == 2


def test_an_item_does_not_depend_on_its_batch(masked_prior: Path, pictures_at: Path) -> None:
    prior = load_image_prior(masked_prior)
    both = settings(masked_prior, pictures_at, samples=2)
    whole = restore_images(prior, both, measure(both, prior)).samples
    single = settings(masked_prior, pictures_at, samples=2, items="1", batch=1)
    alone = restore_images(prior, single, measure(single, prior)).samples
    assert torch.allclose(whole[1], alone[0], atol=1e-5)


def test_measured_images_are_restored_as_simulated_ones(masked_prior: Path, tmp_path: Path) -> None:
    image = pictures(1)[0]
    mask = np.full((16, 16), 255, np.uint8)
    mask[4:12, 4:12] = 0
    write_png(tmp_path / "clean" / "a.png", image)
    write_png(tmp_path / "holed" / "a.png", image * (mask[..., None] > 0))
    write_png(tmp_path / "mask.png", mask)
    prior = load_image_prior(masked_prior)
    simulated = settings(masked_prior, tmp_path / "clean", noise_std=0.0, items="all")
    measured = settings(
        masked_prior, tmp_path / "holed", simulate=False, measured=tmp_path / "mask.png", noise_std=0.0, items="all"
    )
    first, second = measure(simulated, prior), measure(measured, prior)
    assert second.truth is None
    assert torch.equal(first.measurement, second.measurement)
    masks = (mask > 0)[None].astype(np.uint8)
    np.savez(tmp_path / "own.npz", images=(image * (mask[..., None] > 0))[None], masks=masks)
    own = measure(settings(masked_prior, tmp_path / "own.npz", simulate=False, items="all"), prior)
    assert torch.equal(own.measurement, first.measurement)
    found = [restore_images(prior, chosen, data).mean for chosen, data in ((simulated, first), (measured, second))]
    assert torch.equal(*found)


def test_the_command_leaves_a_run_with_figures(masked_prior: Path, pictures_at: Path, tmp_path: Path) -> None:
    words = ["restore", "--prior", str(masked_prior), "--input", str(pictures_at), "--problem", "super-resolution"]
    words += ["--simulate", "--steps", "ddim5", "--items", ":2", "--samples", "2", "--output", str(tmp_path / "r")]
    assert main([*words, "--json"]) == 0
    summary = json.loads((tmp_path / "r" / "run.json").read_text())
    assert summary["network_evaluations_per_image"] == 20
    assert {"input_psnr_db", "restored_psnr_db", "input_ssim", "restored_ssim"} <= set(summary["figures"][0])
    assert summary["provenance"].endswith("simulated degradation")
    with np.load(tmp_path / "r" / "restored.npz") as arrays:
        assert arrays["samples"].shape == (2, 2, 3, 16, 16)
        assert arrays["standard_deviation"].shape == (2, 3, 16, 16)
    assert "not measurements" in (tmp_path / "r" / "report.html").read_text()


def test_volumes_keep_their_geometry_and_unit(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    from .conftest import trained

    array = np.zeros((16, 16, 4), np.float32)
    array[3:12, 4:13] = np.random.default_rng(0).uniform(200, 900, (9, 9, 4))
    affine = np.array([[0, 2.0, 0, 5], [1.5, 0, 0, -3], [0, 0, 3, 1], [0, 0, 0, 1]])
    file = write_nifti(tmp_path / "a.nii.gz", Volume(array, affine, "a"))
    prior = trained(tmp_path / "prior", file)
    chosen = settings(prior, file, items="all", formats=["nifti"], noise_std=0.0, output=tmp_path / "r", clip=False)
    restore(chosen)
    found = read_nifti(tmp_path / "r" / "restored.nii.gz")
    assert np.allclose(found.affine, affine)
    kept = np.ones((16, 16), bool)
    kept[4:12, 4:12] = False
    assert np.allclose(found.array[kept], array[kept], atol=0.5)


def test_k_space_is_restored_by_masked_and_whole_priors(coil_prior: Path, scans_at: Path, tmp_path: Path) -> None:
    file = scans_at / "scan-0.h5"
    k_space = {"problem": "k-space", "degradation": {"acceleration": 2}, "items": "0:2"}
    prior = load_image_prior(coil_prior)
    for sampler in ("default", "reference"):
        chosen = settings(coil_prior, file, sampler=sampler, **k_space)
        data = measure(chosen, prior)
        restored = restore_images(prior, chosen, data)
        assert restored.mean.shape == (2, 2, 24, 24)
        assert bool(restored.mean.isfinite().all())
        assert len(restored.scores()) == 2
    exact = settings(coil_prior, file, noise_std=0.0, **{**k_space, "degradation": {"acceleration": 1}})
    restored = restore_images(prior, exact, measure(exact, prior))
    assert restored.data.truth is not None
    assert torch.allclose(restored.mean, restored.data.truth, atol=1e-4)


def test_measured_k_space_with_its_own_lines_and_noise(scans_at: Path, tmp_path: Path) -> None:
    from .conftest import trained

    prior = trained(tmp_path / "prior", scans_at, kind="k-space", mask={"family": "random"})
    file = write_fastmri(tmp_path / "b.h5", scan(slices=2))
    chosen = settings(prior, file, problem="k-space", simulate=False, items="all", output=tmp_path / "r")
    result = restore(chosen)
    assert result.figures == []
    record = json.loads((tmp_path / "r" / "run.json").read_text())
    assert record["noise_std_normalised"][0] > 0
    assert record["mask"]["foreign"]  # every second column; the prior learned from random ones
    assert any("not of the family that the prior was trained on (random masks" in told for told in result.warnings)
    assert "not of the family" in (tmp_path / "r" / "report.html").read_text()


def test_masks_of_the_priors_family_are_not_warned_of(coil_prior: Path, scans_at: Path, tmp_path: Path) -> None:
    chosen = settings(coil_prior, scans_at / "scan-0.h5", problem="k-space", items="0", seed=2, output=tmp_path / "r")
    result = restore(chosen)
    assert not any("not of the family" in told for told in result.warnings)
    assert not json.loads((tmp_path / "r" / "run.json").read_text())["mask"]["foreign"]


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("masked", {"method": "ddnm"}, "needs a prior of whole images"),
        ("whole", {"method": "measurement-score"}, "has no masks"),
        ("whole", {"lam": 1.0}, "lam has no effect"),
        ("whole", {"sampler": "reference"}, "sampler has no effect"),
        ("whole", {"method": "pigdm", "noise_std": 0.0}, "needs a noise level > 0"),
        ("masked", {"problem": "k-space"}, "allowed: one of the image problems"),
        ("masked", {"problem": "super-resolution", "degradation": {"factor": 5}}, "divisors"),
        ("masked", {"degradation": {"hole": [20]}}, "degradation: hole"),
        ("masked", {"simulate": False}, "measured is missing"),
        ("masked", {"views": 1}, "cannot cover"),
        ("masked", {"items": "9"}, "has 6 slices"),
        ("masked", {"mask": {"family": "pixels"}}, "learned from family cells"),
    ],
)
def test_refusals(
    request: pytest.FixtureRequest, pictures_at: Path, kind: str, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(f"{kind}_prior")
    with pytest.raises(InputError, match=words):
        restore(settings(folder, pictures_at, output=tmp_path / "r", **changes))
    assert not (tmp_path / "r").exists()


def test_expectation(masked_prior: Path, pictures_at: Path, tmp_path: Path) -> None:
    found = expectation(settings(masked_prior, pictures_at, samples=3))
    assert (found["items"], found["images"], found["network_evaluations_per_image"]) == (2, 6, 10)
    assert "not there yet" in expectation(settings(tmp_path / "p", pictures_at))["missing"]
