"""Stacks of images from NIfTI and HDF5, and the files that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from skiagraph.data.images import read_images
from skiagraph.data.volume import Volume, write_nifti
from skiagraph.errors import DataError, InputError

ARRAY = np.arange(2 * 12 * 13, dtype=np.float32).reshape(2, 12, 13)


def hdf5(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as content:
        for name, array in arrays.items():
            content.create_dataset(name, data=array)
    return path


def test_third_axis_of_nifti_counts_slices(tmp_path: Path) -> None:
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    file = write_nifti(tmp_path / "a.nii.gz", Volume(np.moveaxis(ARRAY, 0, 2), affine))
    stack = read_images(file)
    np.testing.assert_array_equal(stack.array, ARRAY)
    np.testing.assert_allclose(stack.affine, affine)
    assert len(stack) == 2


def test_hdf5_arrays_are_found_by_their_usual_names_or_by_key(tmp_path: Path) -> None:
    file = hdf5(tmp_path / "a.h5", reconstruction_rss=ARRAY, other=3j * ARRAY, flat=ARRAY[0])
    np.testing.assert_array_equal(read_images(file).array, ARRAY)
    np.testing.assert_allclose(read_images(file, key="other").array, 3 * ARRAY)
    with pytest.raises(InputError, match=r"'gone'.*other"):
        read_images(file, key="gone")
    with pytest.raises(DataError, match=r"slices, rows, columns"):
        read_images(file, key="flat")


def test_files_without_usable_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds none of.*\['mystery'\].*key"):
        read_images(hdf5(tmp_path / "b.h5", mystery=ARRAY))
    with pytest.raises(DataError, match="NaN"):
        read_images(hdf5(tmp_path / "c.h5", reconstruction=np.full_like(ARRAY, np.nan)))
    whole = hdf5(tmp_path / "d.h5", reconstruction=ARRAY).read_bytes()
    (tmp_path / "e.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="truncated"):
        read_images(tmp_path / "e.h5")
    with pytest.raises(DataError, match="does not exist"):
        read_images(tmp_path / "f.h5")
    nifti = write_nifti(tmp_path / "a.nii", Volume(ARRAY, np.eye(4)))
    with pytest.raises(InputError, match="key"):
        read_images(nifti, key="x")
