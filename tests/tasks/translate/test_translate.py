"""The command: volumes in and out, geometry kept, everything marked, bad input refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from helpers.tiny_heads import head, prior_folder
from skiagraph.data.regrid import reorient
from skiagraph.data.volume import Volume, read_nifti, write_nifti
from skiagraph.diffusion import Streams
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.translate.method import SourceStack, Translation
from skiagraph.tasks.translate.plan import expectation
from skiagraph.tasks.translate.prior import TargetPrior
from skiagraph.tasks.translate.result import low_regions, slice_difference
from skiagraph.tasks.translate.run import at_full_scale, translate
from skiagraph.tasks.translate.run_settings import TranslateSettings


@pytest.fixture(scope="module")
def prior(heads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prior_folder(heads, tmp_path_factory.mktemp("prior"), modality="T1")


def settings(scan: Path, prior: Path, folder: Path, **changes: Any) -> TranslateSettings:
    values: dict[str, Any] = {"scan": scan, "prior": prior, "output": folder / "out", "threads": 1}
    return TranslateSettings.model_validate(values | {"solver": {"steps": 1, "candidates": 2}} | changes)


def source(folder: Path, volume: Volume | None = None, name: str = "sub-01_T2.nii.gz") -> Path:
    return write_nifti(folder / name, head("T2") if volume is None else volume)


@pytest.mark.parametrize("axes", ["RAS", "PIR"])
def test_the_result_lies_on_the_scans_grid_and_says_that_it_is_synthetic(
    prior: Path, tmp_path: Path, axes: str
) -> None:
    thin = head("T2", (14, 16, 5))
    volume = reorient(Volume(thin.array, thin.affine @ np.diag([1.0, 1.0, 1.5, 1.0])), axes)
    path = source(tmp_path, volume)
    stages: list[str] = []
    left = translate(
        settings(path, prior, tmp_path, keep_candidates=True), lambda stage, done, total: stages.append(stage)
    )
    assert left.translated.name == "sub-01_T2_T1_synthetic.nii.gz"
    image: Any = nib.load(left.translated)
    assert image.shape == volume.array.shape
    np.testing.assert_allclose(image.affine, volume.affine, atol=1e-4)
    assert image.header["descrip"].item().decode().startswith("synthetic T1 by skiagraph")
    assert image.get_data_dtype() == np.float32
    names = sorted(item.name for item in left.folder.iterdir())
    for kind in ("consistency", "deviation", "candidate-0", "candidate-1"):
        assert f"sub-01_T2_T1_{kind}.nii.gz" in names
    consistency = read_nifti(left.folder / "sub-01_T2_T1_consistency.nii.gz").array
    assert 0 <= consistency.min() <= consistency.max() <= 1.001
    outside = volume.array == 0
    assert (consistency[outside] == 0).all()
    assert np.ptp(read_nifti(left.translated).array[outside]) == 0
    side = json.loads((left.folder / "sub-01_T2_T1_synthetic.json").read_text())
    assert side["synthetic"] is True
    run = json.loads((left.folder / "run.json").read_text())
    assert run["provenance"] == "synthetic"
    assert run["network_calls_per_slice"] == 2
    assert {"report.html", "config.yaml"} <= set(names)
    assert "translating slices" in stages
    assert any("range of self maps" in warning for warning in left.warnings)


def test_intensities_are_those_of_the_training_scans(prior: Path, tmp_path: Path) -> None:
    left = translate(settings(source(tmp_path), prior, tmp_path))
    values = read_nifti(left.translated).array
    assert float(values.max()) <= 100.0
    assert float(values.min()) >= 0.0
    assert float(values.max()) > 5.0  # not in [0, 1] or [-1, 1]


def test_a_result_can_be_brightened_to_the_scale_of_the_prior(prior: Path, tmp_path: Path) -> None:
    images = []
    for rescale in (False, True):
        left = translate(settings(source(tmp_path), prior, tmp_path, output=tmp_path / f"{rescale}", rescale=rescale))
        images.append(read_nifti(left.translated).array)
        assert any("scale of the prior" in warning for warning in left.warnings) is rescale
    inside = (head("T2").array > 0) & (images[0] > 0)
    ratio = images[1][inside] / images[0][inside]
    assert float(np.median(ratio)) > 1.01
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=0.03)  # foreground and background mix on the scan's grid
    loaded = TargetPrior.load(prior)
    window = {"low": 0, "high": 80, "percentiles": [0.0, 99.5], "window": [0, 80]}
    record = loaded.prior.record
    stated = record.normalisation.model_copy(update={"settings": window})
    changed = record.model_copy(update={"normalisation": stated})
    with pytest.raises(InputError, match="learned from scans in stated units"):
        at_full_scale(Silent(), replace(loaded, prior=replace(loaded.prior, record=changed)))


class Silent:
    """A method that is never asked."""

    def __call__(self, source: SourceStack, streams: Streams) -> Translation:
        raise NotImplementedError


def test_the_same_seed_gives_the_same_image_and_another_another(prior: Path, tmp_path: Path) -> None:
    path = source(tmp_path)
    found = []
    for number, seed in enumerate((0, 0, 1)):
        made = translate(settings(path, prior, tmp_path / str(number), seed=seed, result="best"))
        found.append(read_nifti(made.translated).array)
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def bad_nan(volume: Volume) -> Volume:
    array = volume.array.copy()
    array[3, 3, 3] = np.nan
    return Volume(array, volume.affine)


def oblique(volume: Volume) -> Volume:
    angle = np.radians(30)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return Volume(volume.array, turn @ volume.affine)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (bad_nan, "1 voxels are NaN"),
        (lambda volume: Volume(0 * volume.array + 3, volume.affine), "every voxel is 3"),
        (oblique, "tilted by 30.0 degrees"),
        (lambda volume: Volume(10 * volume.array - 1000, volume.affine), "CT in Hounsfield units; state"),
    ],
    ids=["NaN", "constant", "oblique", "CT"],
)
def test_scans_that_nothing_can_be_made_of_are_refused(prior: Path, tmp_path: Path, change: Any, message: str) -> None:
    path = source(tmp_path, change(head("T2")))
    with pytest.raises(DataError, match=message):
        translate(settings(path, prior, tmp_path))
    assert not (tmp_path / "out").exists()


def test_four_dimensions_no_affine_and_lone_slices_are_refused(prior: Path, tmp_path: Path) -> None:
    series = nib.Nifti1Image(np.zeros((4, 4, 4, 2), np.float32), np.eye(4))
    nib.save(series, tmp_path / "series.nii")
    with pytest.raises(DataError, match="one volume with three axes"):
        translate(settings(tmp_path / "series.nii", prior, tmp_path))
    bare = nib.Nifti1Image(np.ones((4, 4, 4), np.float32), None)
    nib.save(bare, tmp_path / "bare.nii")
    with pytest.raises(DataError, match="defines no affine"):
        translate(settings(tmp_path / "bare.nii", prior, tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no DICOM image found there"):
        translate(settings(tmp_path / "empty", prior, tmp_path))


def test_a_mask_of_another_grid_or_without_a_voxel_is_refused(prior: Path, tmp_path: Path) -> None:
    path = source(tmp_path)
    other = source(tmp_path, head("T1", (14, 16, 5)), "mask.nii.gz")
    with pytest.raises(InputError, match="must lie on the scan's grid"):
        translate(settings(path, prior, tmp_path, source={"mask": str(other)}))
    nothing = source(tmp_path, Volume(0 * head().array, head().affine), "nothing.nii.gz")
    with pytest.raises(DataError, match="the mask is empty"):
        translate(settings(path, prior, tmp_path, source={"mask": str(nothing)}))
    with pytest.raises(InputError, match="allowed are auto, brain, nonzero"):
        translate(settings(path, prior, tmp_path, source={"mask": "skull"}))


def test_empty_slices_in_between_are_background_and_thick_slices_are_told(prior: Path, tmp_path: Path) -> None:
    volume = head("T2")
    array = volume.array.copy()
    array[:, :, 3] = 0
    thick = Volume(array, volume.affine @ np.diag([1.0, 1.0, 2.5, 1.0]))
    left = translate(settings(source(tmp_path, thick), prior, tmp_path))
    assert np.ptp(read_nifti(left.translated).array[:, :, 3]) == 0
    assert any("slices lie 10.0 mm apart" in warning for warning in left.warnings)


def test_another_field_of_view_is_told(prior: Path, tmp_path: Path) -> None:
    small = Volume(head("T2").array, head("T2").affine @ np.diag([0.3, 0.3, 1.0, 1.0]))
    left = translate(settings(source(tmp_path, small), prior, tmp_path))
    assert any("another field of view" in warning for warning in left.warnings)


def test_a_ct_with_a_window_is_taken(prior: Path, tmp_path: Path) -> None:
    volume = Volume(10 * head("T2").array - 1000, head("T2").affine)
    left = translate(settings(source(tmp_path, volume), prior, tmp_path, source={"window": (-100, 1000)}))
    run = json.loads((left.folder / "run.json").read_text())
    assert run["input"]["scaling"] == {"low": -100.0, "high": 1000.0, "kind": "window"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"solver": {"strength": 0.0}}, "greater than 0"),
        ({"solver": {"strength": 1.2}}, "less than or equal to 1"),
        ({"preset": "reference", "solver": {"rule": "ddim"}}, r"solver\.rule has no effect with preset"),
        ({"solver": {"normalise": False}}, "only preset 'reference' can differ"),
        ({"solver": {"mode": "condition", "push": 0.2}}, r"solver\.push has no effect in mode"),
        ({"solver": {"mode": "gradient", "weight": 2.0}}, "no effect in mode 'gradient'"),
        ({"preset": "reference", "solver": {}, "result": "best"}, "preset 'reference' draws one image: result"),
        ({"preset": "reference", "solver": {}, "keep_candidates": True}, "preset 'reference' draws one image: result"),
        ({"source": {"window": (0, 80), "percentiles": (1.0, 99.0)}}, "window and percentiles both say"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(tmp_path, tmp_path, tmp_path, **changes)


def test_more_than_the_budget_and_maps_of_a_plain_prior_are_refused(heads: Path, prior: Path, tmp_path: Path) -> None:
    path = source(tmp_path)
    with pytest.raises(InputError, match=r"solver\.calls: found 3"):
        translate(settings(path, prior, tmp_path, solver={"calls": 3, "candidates": 4}))
    plain = prior_folder(heads, tmp_path / "plain", condition={"kind": "none"})
    with pytest.raises(InputError, match="has no map channels"):
        translate(settings(path, plain, tmp_path, solver={"mode": "condition"}))
    left = translate(settings(path, plain, tmp_path, solver={"calls": 2, "candidates": 1}))
    assert json.loads((left.folder / "run.json").read_text())["network_calls_per_slice"] == 2


def test_a_dry_run_tells_slices_calls_time_and_memory(prior: Path, tmp_path: Path) -> None:
    told = expectation(settings(source(tmp_path), prior, tmp_path))
    assert told["network_calls_per_slice"] == 2
    assert 5 <= told["slices"] <= 12
    assert told["seconds"] > 0
    assert told["memory_gib"] > 0
    assert told["finds_the_brain_first"] is False
    assert not (tmp_path / "out").exists()


def test_steps_between_slices_are_measured_where_both_have_foreground() -> None:
    unit = torch.tensor([0.0, 0.5, 0.6, 9.0]).reshape(4, 1, 1, 1).expand(4, 1, 2, 2)
    mask = torch.tensor([True, True, True, False]).reshape(4, 1, 1, 1).expand(4, 1, 2, 2)
    assert slice_difference(unit, mask) == pytest.approx(0.3)
    assert np.isnan(slice_difference(unit[:1], mask[:1]))


def test_a_piece_of_low_consistency_is_found_where_it_lies() -> None:
    mask = np.zeros((20, 20, 20), bool)
    mask[2:18, 2:18, 2:18] = True
    consistency = np.where(mask, 0.6, 0.0).astype(np.float32)
    consistency[10:15, 5:10, 8:13] = 0.05
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-10, 0, 5)
    (region,) = low_regions(consistency, mask, affine)
    assert region.centre_mm == pytest.approx((14.0, 14.0, 25.0), abs=0.5)
    assert 0.5 < region.millilitres <= 1.01
    assert low_regions(np.where(mask, 0.6, 0.0).astype(np.float32), mask, affine) == ()
