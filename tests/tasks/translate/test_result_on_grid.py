"""What comes back on the scan's grid: deviations in the result's unit, edges that are not blended with background."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.tiny_heads import head, prior_folder
from skiagraph.data.intensity import Scaling, window_scaling
from skiagraph.data.volume import Volume, read_nifti, write_nifti
from skiagraph.tasks.translate import guided
from skiagraph.tasks.translate.frame import frame_of, framed, stack_of
from skiagraph.tasks.translate.method import SourceStack, Translation, stack_streams
from skiagraph.tasks.translate.prior import TargetPrior
from skiagraph.tasks.translate.result import assemble
from skiagraph.tasks.translate.run import translate
from skiagraph.tasks.translate.run_settings import SourceSettings, TranslateSettings
from skiagraph.tasks.translate.scan import read_scan


@pytest.fixture(scope="module")
def prior(heads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prior_folder(heads, tmp_path_factory.mktemp("prior"), modality="T1")


def test_the_deviation_is_that_of_the_candidates_in_their_unit(prior: Path, tmp_path: Path) -> None:
    scan = write_nifti(tmp_path / "a.nii.gz", head("T2"))
    values: dict[str, Any] = {"scan": scan, "prior": prior, "output": tmp_path / "out", "threads": 1}
    solver = {"steps": 1, "candidates": 2}
    left = translate(TranslateSettings.model_validate(values | {"solver": solver, "keep_candidates": True}))
    first, second, deviation = (
        read_nifti(left.folder / f"a_T1_{kind}.nii.gz").array for kind in ("candidate-0", "candidate-1", "deviation")
    )
    inside = head("T2").array > 0
    assert deviation[inside].max() > 1.5  # of intensities up to 100, not of [0, 1]
    np.testing.assert_allclose(deviation[inside], np.abs(first - second)[inside] / np.sqrt(2), atol=0.05)


def test_edges_of_the_foreground_are_not_blended_with_what_lies_outside(prior: Path, tmp_path: Path) -> None:
    volume = head("T2", (28, 32, 12), spacing=2.0)  # twice as fine as the prior
    loaded = TargetPrior.load(prior)
    scan = read_scan(write_nifti(tmp_path / "a.nii.gz", volume), SourceSettings(), loaded)
    images = torch.where(scan.stack.mask, 0.4, -1.0)
    made = assemble(
        scan, Translation(images, 1.0), Scaling(0.0, 100.0, ""), best=False, keep=False, modality="T1"
    ).volumes["translated"]
    np.testing.assert_allclose(made.array[scan.mask], 70.0, atol=0.01)
    assert (made.array[~scan.mask] == 0).all()


def test_spacing_is_told_in_the_order_of_a_stack() -> None:
    volume = head()
    frame = frame_of(volume, volume.array > 0, (3.0, 4.0, 5.0), (8, 8))
    stack = stack_of(*framed(volume, volume.array > 0, frame, window_scaling(0, 100)), frame)
    assert stack.spacing_mm == pytest.approx((3.0, 4.0, 5.0))
    x, y, z = np.ptp(np.argwhere(volume.array > 0), axis=0) * np.asarray(Volume(volume.array, volume.affine).spacing_mm)
    slices, rows, columns = np.ptp(np.argwhere(stack.mask[:, 0].numpy()), axis=0) * np.array([3.0, 4.0, 5.0])
    assert (slices, rows, columns) == pytest.approx((z, y, x), abs=8)


def test_the_best_candidate_is_the_one_most_like_the_source(prior: Path, tmp_path: Path) -> None:
    scan = read_scan(write_nifti(tmp_path / "a.nii.gz", head("T2")), SourceSettings(), TargetPrior.load(prior))
    alike = -scan.stack.images  # the contrast turned over: the same structures
    other = 2 * torch.rand(alike.shape, generator=torch.Generator().manual_seed(0)) - 1
    scaling = Scaling(0.0, 2.0, "")
    for candidates, wanted in (((alike, other), 0), ((other, alike), 1)):
        made = Translation((alike + other) / 2, 2.0, torch.stack(candidates))
        best = assemble(scan, made, scaling, best=True, keep=True, modality="T1").volumes
        np.testing.assert_array_equal(best["translated"].array, best[f"candidate-{wanted}"].array)
        mean = assemble(scan, made, scaling, best=False, keep=False, modality="T1").volumes
        assert not np.array_equal(mean["translated"].array, best["translated"].array)


def test_the_command_passes_on_which_result_is_wanted(prior: Path, tmp_path: Path) -> None:
    scan = write_nifti(tmp_path / "a.nii.gz", head("T2"))
    values: dict[str, Any] = {"scan": scan, "prior": prior, "threads": 1, "solver": {"steps": 1, "candidates": 2}}
    found = []
    for result in ("mean", "best"):
        chosen = {"output": tmp_path / result, "result": result, "keep_candidates": True}
        left = translate(TranslateSettings.model_validate(values | chosen))
        image = read_nifti(left.translated).array
        kept = [read_nifti(left.folder / f"a_T1_candidate-{number}.nii.gz").array for number in (0, 1)]
        found.append(any(np.array_equal(image, one) for one in kept))
    assert found == [False, True]


def test_the_noise_of_slices_is_tied_by_their_own_distance(prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[float] = []
    monkeypatch.setattr(guided, "coefficient_of", lambda name, distance: heard.append(distance) or 0.0)
    images = torch.zeros(2, 1, 16, 16)
    stack = SourceStack(images, torch.ones_like(images, dtype=torch.bool), (7.0, 4.0, 3.0))
    guided.GuidedTranslation(TargetPrior.load(prior), steps=1, candidates=1)(stack, stack_streams(0, 2))
    assert heard == [7.0]
