"""The command `evaluate`: scores worked out by hand, and files on different grids refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from skiagraph.cli import main
from skiagraph.data.volume import Volume, write_nifti
from skiagraph.errors import InputError
from skiagraph.tasks.evaluate import EvaluateSettings, evaluate

TRUTH = np.random.default_rng(0).uniform(0.2, 1.0, (16, 18, 3)).astype(np.float32)


def nifti(folder: Path, name: str, array: Any, affine: Any = None) -> Path:
    grid = np.eye(4) if affine is None else affine
    return write_nifti(folder / name, Volume(np.asarray(array, dtype=np.float32), grid))


def test_scores_are_those_worked_out_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = nifti(tmp_path, "t.nii", TRUTH)
    image = nifti(tmp_path, "i.nii", TRUTH + 0.1)
    assert main(["evaluate", str(image), str(truth), "--data-range", "1", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["scores"]["psnr_db"] == pytest.approx([20.0] * 3, abs=1e-4)
    expected = [0.01 * TRUTH[..., index].size / float((TRUTH[..., index] ** 2).sum()) for index in range(3)]
    assert shown["scores"]["nmse"] == pytest.approx(expected, rel=1e-4)
    assert shown["summary"]["psnr_db"]["mean"] == pytest.approx(20.0, abs=1e-4)
    assert shown["slices"] == [0, 1, 2]


def test_scale_is_fitted_only_when_asked_for(tmp_path: Path) -> None:
    truth, image = nifti(tmp_path, "t.nii", TRUTH), nifti(tmp_path, "i.nii", 2 * TRUTH)
    assert evaluate(EvaluateSettings(reconstruction=image, truth=truth)).scores["nmse"][0] == pytest.approx(1.0)
    fitted = evaluate(EvaluateSettings(reconstruction=image, truth=truth, scale="slice"))
    assert max(fitted.scores["nmse"]) < 1e-12


def test_error_bars_are_counted_inside_the_mask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = np.where(np.arange(16)[:, None, None] < 8, 0.1, 0.3) * np.ones_like(TRUTH)
    mask = np.ones_like(TRUTH)
    mask[12:] = 0
    files = {
        "truth": nifti(tmp_path, "t.nii", TRUTH),
        "reconstruction": nifti(tmp_path, "i.nii", TRUTH + error),
        "deviation": nifti(tmp_path, "d.nii", np.full_like(TRUTH, 0.1)),
        "mask": nifti(tmp_path, "m.nii", mask),
    }
    settings = EvaluateSettings(**files, level=0.9, slices="0", data_range=1.0)
    result = evaluate(settings)
    assert result.scores["coverage"] == [pytest.approx(8 / 12)]
    assert result.intervals == {}
    words = [str(files["reconstruction"]), str(files["truth"]), "--deviation", str(files["deviation"])]
    assert main(["evaluate", *words]) == 0
    text = capsys.readouterr().out
    assert "coverage" in text
    assert "Slices of one head are not independent" in text


def test_hdf5_of_the_fastmri_family_is_read(tmp_path: Path) -> None:
    for name, key in (("t.h5", "reconstruction_rss"), ("i.h5", "reconstruction")):
        with h5py.File(tmp_path / name, "w") as content:
            content.create_dataset(key, data=np.moveaxis(TRUTH, 2, 0))
    result = evaluate(EvaluateSettings(reconstruction=tmp_path / "i.h5", truth=tmp_path / "t.h5"))
    assert result.scores["nmse"] == [0.0, 0.0, 0.0]
    assert result.record()["summary"]["ssim"]["mean"] == pytest.approx(1.0)
    assert "psnr_db" not in result.record()["summary"]


def test_a_run_is_judged_from_its_one_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "reconstruction.h5", "w") as content:
        content["mean"] = np.moveaxis(TRUTH + 0.1, 2, 0) * np.exp(0.3j)
        content["standard_deviation"] = np.full((3, 16, 18), 0.2, dtype=np.float32)
    run, truth = tmp_path / "reconstruction.h5", nifti(tmp_path, "t.nii", TRUTH)
    result = evaluate(EvaluateSettings(reconstruction=run, deviation=run, truth=truth, samples=4, data_range=1.0))
    assert result.scores["psnr_db"] == pytest.approx([20.0] * 3, abs=1e-4)
    assert result.scores["coverage"] == [1.0] * 3


def test_exact_images_have_no_ratio_of_spread_to_error(tmp_path: Path) -> None:
    truth = nifti(tmp_path, "t.nii", TRUTH)
    result = evaluate(EvaluateSettings(reconstruction=truth, deviation=truth, truth=truth))
    assert result.scores["spread_to_error"] == [float("inf")] * 3
    assert set(result.intervals) == {"ssim", "nmse", "coverage"}


def test_different_grids_and_empty_masks_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = nifti(tmp_path, "t.nii", TRUTH)
    shifted = nifti(tmp_path, "s.nii", TRUTH, np.diag([1.0, 1.0, 2.0, 1.0]))
    smaller = nifti(tmp_path, "k.nii", TRUTH[:-1])
    empty = nifti(tmp_path, "e.nii", np.zeros_like(TRUTH))
    for words, message in (
        ([str(shifted), str(truth)], "different affines"),
        ([str(smaller), str(truth)], "one grid"),
        ([str(truth), str(truth), "--mask", str(empty)], "slice 0 cannot be scored"),
        ([str(truth), str(empty)], "give `data_range`"),
    ):
        assert main(["evaluate", *words]) == 3
        assert message in capsys.readouterr().err
    with pytest.raises(InputError, match="deviation"):
        evaluate(EvaluateSettings(reconstruction=truth, truth=truth, samples=4))
