"""What `segment` refuses before it looks at anything, and what its dry run says."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.tiny_cases import QUICK, head, oracle, write
from skiagraph.data import volume
from skiagraph.data.volume import Volume, write_nifti
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.segment import run
from skiagraph.tasks.segment.cases import read_cases
from skiagraph.tasks.segment.checks import require_free, require_workable
from skiagraph.tasks.segment.command_settings import MaskSettings, SegmentSettings
from skiagraph.tasks.segment.look import look, windows_of
from skiagraph.tasks.segment.settings import DifferenceSettings

SHAPES = [(4, 20, 24), (3, 16, 16), (2, 9, 40)]


def settings(folder: Path, **changes: Any) -> SegmentSettings:
    rules = MaskSettings(threshold="otsu", gate="none")
    values = {"input": folder / "cases", "prior": folder / "prior", "output": folder / "run", "mask": rules}
    return SegmentSettings(**{**values, "map": QUICK, **changes})


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"engine": "difference", "levels": [500.0]}, r"map\.levels: found rho = 500; allowed"),
        ({"engine": "reference", "level": 1000}, r"map\.level: found 1000; allowed 0 to 999"),
        ({"engine": "reference", "level": 5, "steps": 10}, r"map\.steps: found 10 below level 5"),
    ],
)
def test_levels_that_a_prior_has_not_are_refused_before_anything_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, Any], message: str
) -> None:
    write(tmp_path / "cases", "ill", head(1, True))
    monkeypatch.setattr(run, "look", lambda *given, **named: pytest.fail("looked at a case"))
    with pytest.raises(InputError, match=message):
        run.segment_with(oracle(), settings(tmp_path, map=DifferenceSettings(**made)))
    assert not (tmp_path / "run").exists()


def test_too_few_normal_cases_are_refused_before_they_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "cases", "ill", head(1, True))
    for number in range(3):
        write(tmp_path / "normals", f"normal{number}", head(10 + number, False))
    monkeypatch.setattr(run, "look", lambda *given, **named: pytest.fail("looked at a case"))
    for rates in ({"delta": 0.1, "gate_delta": 0.4}, {"delta": 0.4, "gate_delta": 0.1}):
        asked = settings(tmp_path, normals=tmp_path / "normals", mask=MaskSettings(**rates))
        with pytest.raises(DataError, match=r"normals: found 3; a rate of delta = 0\.1 needs at least 9"):
            run.segment_with(oracle(), asked)


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    require_free(tmp_path)
    (tmp_path / "mine").write_text("x")
    with pytest.raises(InputError, match="holds files already; nothing is overwritten"):
        require_free(tmp_path)


def test_a_window_that_a_volume_lies_beyond_is_named(tmp_path: Path) -> None:
    write(tmp_path / "cases", "ill", head(1, True))
    with pytest.raises(DataError, match=r"ill: its intensities, from 0 to .* lie beyond 500 to 800 \(window\)"):
        read_cases(tmp_path / "cases", window=(500, 800))


def test_a_case_whose_files_cannot_all_be_written_leaves_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "cases", "a", head(1, True))
    write(tmp_path / "cases", "b", head(2, True))
    whole = volume.write_nifti

    def full(path: Path, *given: Any, **named: Any) -> Path:
        if path.name == "b.map.nii.gz":
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(path, *given, **named)

    monkeypatch.setattr(volume, "write_nifti", full)
    with pytest.raises(DataError, match="run could not be written: the disk is full; nothing was left behind"):
        run.segment_with(oracle(), settings(tmp_path))
    names = sorted(item.name for item in (tmp_path / "run").iterdir())
    assert names == ["a.json", "a.map.nii.gz", "a.mask.nii.gz"]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_dry_run_counts_the_windows_that_are_looked_at(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    values: NDArray[np.float32] = head(3, False, shape)
    values[0] = 0  # nothing to look at there
    array = np.ascontiguousarray(values[:, ::-1].transpose(2, 1, 0))
    write_nifti(tmp_path / "case.nii.gz", Volume(array, np.diag([3.0, 3.0, 4.0, 1.0])))
    (case,) = read_cases(tmp_path / "case.nii.gz")
    asked = settings(tmp_path)
    require_workable(oracle(), asked, [case], [])
    assert windows_of(oracle(), case, asked) == look(oracle(), case, asked).windows > 0
