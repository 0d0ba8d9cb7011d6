"""Volumes keep their geometry, refuse to invent one, and are written whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import nibabel
import numpy as np
import pytest

from skiagraph.data import files
from skiagraph.data.volume import Volume, read_nifti, write_nifti
from skiagraph.errors import DataError, InputError

OBLIQUE = np.array([[-2.0, 0.1, 0.0, 30.0], [0.1, 1.9, 0.3, -20.0], [0.0, -0.3, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_affine_and_values_survive_a_round_trip(tmp_path: Path, name: str) -> None:
    volume = Volume(np.random.default_rng(0).random((4, 5, 6), dtype=np.float32), OBLIQUE)
    back = read_nifti(write_nifti(tmp_path / name, volume))
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, OBLIQUE, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_canonical_moves_voxels_not_the_world() -> None:
    volume = Volume(np.random.default_rng(1).random((4, 5, 6)), OBLIQUE)
    turned = volume.canonical()
    assert turned.orientation == "RAS"
    assert volume.orientation == "LAS"
    world = OBLIQUE @ [1, 2, 3, 1]
    i, j, k = np.rint((np.linalg.inv(turned.affine) @ world)[:3]).astype(int)
    assert turned.array[i, j, k] == volume.array[1, 2, 3]
    np.testing.assert_allclose(turned.spacing_mm, volume.spacing_mm)


def test_header_without_affine_is_refused_unless_one_is_given(tmp_path: Path) -> None:
    path = tmp_path / "bare.nii"
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 3, 3), np.float32), None), path)
    with pytest.raises(DataError, match="no affine"):
        read_nifti(path)
    np.testing.assert_array_equal(read_nifti(path, affine=OBLIQUE).affine, OBLIQUE)
    write_nifti(path, Volume(np.ones((3, 3, 3), np.float32), OBLIQUE))
    with pytest.raises(InputError, match="already defines"):
        read_nifti(path, affine=OBLIQUE)


def test_bad_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    with pytest.raises(DataError, match="does not exist"):
        read_nifti(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        read_nifti(path)
    write_nifti(path, Volume(np.random.default_rng(0).random((30, 30, 30), dtype=np.float32), OBLIQUE))
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(DataError, match=r"a\.nii\.gz"):
        read_nifti(path)
    array = np.ones((3, 3, 3), np.float32)
    array[0, 0, 0] = np.nan
    write_nifti(path, Volume(array, OBLIQUE))
    with pytest.raises(DataError, match="1 voxels are NaN"):
        read_nifti(path)
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 3, 3, 2), np.float32), OBLIQUE), path)
    with pytest.raises(DataError, match="three axes"):
        read_nifti(path)


def test_impossible_geometry_is_refused() -> None:
    with pytest.raises(InputError, match="three axes"):
        Volume(np.ones((3, 3)), np.eye(4))
    with pytest.raises(InputError, match="singular"):
        Volume(np.ones((3, 3, 3)), np.diag([1.0, 0.0, 1.0, 1.0]))
    with pytest.raises(InputError, match="4x4"):
        Volume(np.ones((3, 3, 3)), np.eye(3))


def _interrupted(target: Path, error: BaseException) -> None:
    with files.atomic_path(target) as partial:
        partial.write_text("half")
        raise error


def test_full_disk_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("before")
    with pytest.raises(DataError, match=r"kept\.txt could not be written: the disk is full"):
        _interrupted(kept, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(KeyboardInterrupt):
        _interrupted(kept, KeyboardInterrupt())
    assert kept.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
