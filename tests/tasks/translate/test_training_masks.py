"""Masks of training scans: all of them, or none that was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.tiny_heads import head_folder, prior_settings
from skiagraph.errors import DataError
from skiagraph.tasks.translate.target_data import find_cases


def test_a_mask_that_some_scans_lack_is_refused_by_name(tmp_path: Path) -> None:
    place = head_folder(tmp_path / "heads")
    assert sorted(find_cases(prior_settings(place, tmp_path))) == ["head-0", "head-1"]
    (place / "head-1" / "mask.nii.gz").unlink()
    with pytest.raises(DataError, match=r"mask_name: no mask\.nii\.gz lies beside the volume of head-1 \(1 of 2\)"):
        find_cases(prior_settings(place, tmp_path))
    (place / "head-0" / "mask.nii.gz").unlink()
    assert len(find_cases(prior_settings(place, tmp_path))) == 2  # stripped scans need none


def test_a_mask_that_was_asked_for_and_is_nowhere_is_refused(tmp_path: Path) -> None:
    place = head_folder(tmp_path / "heads")
    with pytest.raises(DataError, match=r"no brain\.nii\.gz lies beside the volume of head-0, head-1 \(2 of 2\)"):
        find_cases(prior_settings(place, tmp_path, mask_name="brain.nii.gz"))
    assert len(find_cases(prior_settings(place, tmp_path, mask_name=None))) == 2
