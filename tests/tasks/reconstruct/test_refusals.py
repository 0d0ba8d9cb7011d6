"""Bad input at the command line: one message that names the file or the argument, and nothing left behind."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from helpers.tiny_scans import column_mask, scan
from skiagraph.cli import main
from skiagraph.data.fastmri import write_fastmri
from skiagraph.data.volume import Volume, write_nifti


def _arguments(prior: Path, file: Path, output: Path, *more: str) -> list[str]:
    fast = ["--samples", "2", "--steps", "1", "--baselines", "zero-filled"]
    return ["reconstruct", "--prior", str(prior), "--scan", str(file), "--output", str(output), *fast, *more]


def _refused(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int, *words: str) -> None:
    assert main(arguments) == code
    captured = capsys.readouterr()
    messages = [line for line in captured.err.splitlines() if line.startswith("skiagraph: ")]
    assert len(messages) == 1
    for word in words:
        assert word in messages[0]
    assert "Traceback" not in captured.err
    assert captured.out == ""


def _edit(change: Callable[[h5py.File], None]) -> Callable[[Path, Path], None]:
    def make(source: Path, target: Path) -> None:
        shutil.copy(source, target)
        with h5py.File(target, "a") as content:
            change(content)

    return make


def _without_kspace(content: h5py.File) -> None:
    del content["kspace"]


def _without_header(content: h5py.File) -> None:
    del content["ismrmrd_header"]


def _not_a_number(content: h5py.File) -> None:
    content["kspace"][1, 0, 3, 16] = np.nan


def _all_zero(content: h5py.File) -> None:
    content["kspace"][...] = 0


def _short_mask(content: h5py.File) -> None:
    del content["mask"]
    content["mask"] = column_mask()[:-1].astype(np.float32)


def _truncated(source: Path, target: Path) -> None:
    whole = source.read_bytes()
    target.write_bytes(whole[: len(whole) // 2])


def _text(source: Path, target: Path) -> None:
    target.write_text("k-space: none\n")


def _empty(source: Path, target: Path) -> None:
    target.touch()


def _nifti(source: Path, target: Path) -> None:
    path = write_nifti(target.with_suffix(".nii"), Volume(np.ones((8, 8, 8), np.float32), np.eye(4), "ones"))
    path.rename(target)


def _no_centre(source: Path, target: Path) -> None:
    every_fourth = np.arange(32) % 4 == 0
    write_fastmri(target, scan(slices=1, mask=every_fourth))


BAD_FILES: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "no k-space": (_edit(_without_kspace), "'kspace'"),
    "no header": (_edit(_without_header), "'ismrmrd_header'"),
    "NaN": (_edit(_not_a_number), "NaN or infinite values in 1 of 3 slices ([1]); leave these out"),
    "all zero": (_edit(_all_zero), "all zero"),
    "mask of another size": (_edit(_short_mask), "'mask' has shape (31,)"),
    "truncated": (_truncated, "truncated or damaged"),
    "text": (_text, "not an HDF5 file"),
    "empty": (_empty, "0 bytes"),
    "NIfTI": (_nifti, "NIfTI: it holds images"),
    "no calibration lines": (_no_centre, "calibration lines"),
    "missing": (lambda source, target: None, "does not exist"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_scan_is_refused_by_name(
    case: str, prior_folder: Path, scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = BAD_FILES[case]
    bad = tmp_path / "bad.h5"
    make(scan_file, bad)
    _refused(_arguments(prior_folder, bad, tmp_path / "run"), capsys, 3, bad.name, words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("case", ["truncated", "no calibration lines", "missing"])
def test_training_refuses_a_bad_scan_by_name(
    case: str, scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = BAD_FILES[case]
    bad = tmp_path / "bad.h5"
    make(scan_file, bad)
    arguments = ["train", "--data", str(scan_file), str(bad), "--output", str(tmp_path / "prior")]
    _refused(arguments, capsys, 3, bad.name, words)
    assert not (tmp_path / "prior").exists()


def test_training_without_data_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--output", str(tmp_path / "prior")]) == 2
    assert "simulate.scans" in capsys.readouterr().err
    assert not (tmp_path / "prior").exists()


def test_a_scan_of_other_pixels_is_refused(
    prior_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = write_fastmri(tmp_path / "wide.h5", replace(scan(slices=1), field_of_view_mm=(256.0, 512.0)))
    words = ("scan: ", "16.00 mm along axis 1", "8.00 mm")
    _refused(_arguments(prior_folder, wide, tmp_path / "run"), capsys, 2, *words)
    assert not (tmp_path / "run").exists()


def _unet_prior(source: Path, target: Path) -> None:
    from skiagraph.networks.unet import UNet, UNetConfig
    from skiagraph.tasks.reconstruct.network import load_prior
    from skiagraph.training.architectures import unet_architecture
    from skiagraph.training.prior import Prior
    from skiagraph.training.record import ArchitectureRecord

    config = UNetConfig(in_channels=2, out_channels=2, channels=8, multipliers=(1,), residual_blocks=1, groups=4)
    architecture = ArchitectureRecord(**unet_architecture(config))
    Prior(UNet(config), load_prior(source)[1].model_copy(update={"architecture": architecture})).save(target)


def _damaged_prior(source: Path, target: Path) -> None:
    target.mkdir()
    for name in ("prior.json", "model.safetensors"):
        shutil.copy(source / name, target)
    with open(target / "model.safetensors", "ab") as stream:
        stream.write(b"x")


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (_unet_prior, 2, ("prior: ", "'unet'", "skiagraph train")),
        (_damaged_prior, 3, ("model.safetensors", "SHA-256")),
        (lambda source, target: None, 3, ("prior.json", "no such file")),
    ],
    ids=["another kind", "damaged", "missing"],
)
def test_an_unfit_prior_is_refused(
    make: Callable[[Path, Path], None],
    code: int,
    words: tuple[str, ...],
    prior_folder: Path,
    scan_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make(prior_folder, tmp_path / "other")
    _refused(_arguments(tmp_path / "other", scan_file, tmp_path / "run"), capsys, code, "other", *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--baselines", "zero-filled", "l1-wavelets"], ("baselines: found l1-wavelets", "l1-wavelet")),
        (["--slices", "7"], ("slices: found 7", "3 slices")),
        (["--samples", "0"], ("samples",)),
    ],
)
def test_a_wrong_argument_is_named(
    more: list[str],
    words: tuple[str, ...],
    prior_folder: Path,
    scan_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(_arguments(prior_folder, scan_file, tmp_path / "run", *more)) == 2
    captured = capsys.readouterr()
    for word in words:
        assert word in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "run").exists()


def test_a_refusal_can_be_read_by_a_program(
    prior_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = _arguments(prior_folder, tmp_path / "none.h5", tmp_path / "run", "--json")
    assert main(arguments) == 3
    shown = json.loads(capsys.readouterr().out)["error"]
    assert (shown["exit_code"], "none.h5" in shown["message"]) == (3, True)


def test_an_output_that_cannot_be_a_folder_is_refused_before_any_work(
    prior_folder: Path, scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise RuntimeError("long work began")

    monkeypatch.setattr("skiagraph.tasks.reconstruct.run.acquire", never)
    monkeypatch.setattr("skiagraph.tasks.reconstruct.train.training_scans", never)
    monkeypatch.setattr("skiagraph.tasks.reconstruct.demo.load_prior", never)
    taken = tmp_path / "taken"
    taken.write_text("a file\n")
    for arguments in (
        _arguments(prior_folder, scan_file, taken / "run"),
        ["train", "--data", str(scan_file), "--output", str(taken)],
        ["demo", "--output", str(taken / "run")],
    ):
        _refused(arguments, capsys, 2, "output: ", str(taken))
    assert taken.read_text() == "a file\n"


@pytest.mark.parametrize("name", ["reconstruction.h5", "standard_deviation.nii.gz", "report.html"])
def test_a_full_disk_leaves_nothing_behind(
    name: str,
    prior_folder: Path,
    scan_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rename = os.replace

    def full(source: Any, target: Any) -> None:
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        rename(source, target)

    old = tmp_path / "old"
    old.mkdir()
    (old / "mean.nii.gz").write_bytes(b"an earlier run")
    monkeypatch.setattr(os, "replace", full)
    for output in (tmp_path / "new" / "run", old):
        words = ("the disk is full", str(output / name), "nothing was left behind")
        _refused(_arguments(prior_folder, scan_file, output), capsys, 3, *words)
    assert not (tmp_path / "new" / "run").exists()
    assert [path.name for path in old.iterdir()] == ["mean.nii.gz"]
    assert (old / "mean.nii.gz").read_bytes() == b"an earlier run"


def test_a_full_disk_while_a_prior_is_saved_names_the_file(
    scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Any, target: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(os, "replace", full)
    small = ["--network.channels", "8", "--network.multipliers", "1", "--images", "2", "--batch-size", "2"]
    arguments = ["train", "--data", str(scan_file), "--output", str(tmp_path / "prior"), *small]
    _refused(arguments, capsys, 3, str(tmp_path / "prior"))
    assert not (tmp_path / "prior" / "prior.json").exists()
    assert not list((tmp_path / "prior").glob("*.partial"))
