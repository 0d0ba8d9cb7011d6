"""`simulate contrasts`: files on the head's grid, the truth beside them, the same again from the same seed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from skiagraph.data.volume import Volume, read_nifti, write_nifti
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.simulate_contrasts import ContrastSettings, expectation, simulate_contrast_files

AFFINE = np.array([[0, -2.0, 0, 20], [2.0, 0, 0, -15], [0, 0, 2.5, 4], [0, 0, 0, 1.0]])


def files(folder: Path) -> tuple[Path, Path]:
    """A ball of white matter in grey matter in fluid, and its mask."""
    line = np.linspace(-1, 1, 24)
    x, y, z = np.meshgrid(line, line, line, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    mask = radius < 0.9
    head = np.where(radius < 0.55, 1000.0, np.where(radius < 0.75, 700.0, 250.0)) * mask
    head += np.random.default_rng(0).normal(0, 20, head.shape) * mask
    return (
        write_nifti(folder / "head.nii.gz", Volume(head.astype(np.float32), AFFINE)),
        write_nifti(folder / "brain.nii.gz", Volume(mask.astype(np.uint8), AFFINE)),
    )


def test_files_geometry_truth_and_repetition(tmp_path: Path) -> None:
    head, mask = files(tmp_path)
    options = {"head": str(head), "mask": mask, "correct_bias": False, "contrasts": ("T1", "T2"), "seed": 4}
    stages: list[str] = []
    result = simulate_contrast_files(
        ContrastSettings(output=tmp_path / "a", **options), lambda stage, done, total: stages.append(stage)
    )
    assert stages[0] == "finding the brain"
    written = {path.name for path in (tmp_path / "a").iterdir()}
    images = {"T1.nii.gz", "T1.clean.nii.gz", "T2.nii.gz", "T2.clean.nii.gz", "mask.nii.gz", "tissues.nii.gz"}
    tissue = {f"tissue-{name}.nii.gz" for name in ("csf", "grey", "white")}
    assert written == images | tissue | {"preview.png", "contrasts.json"}
    for name in images | tissue:
        volume = read_nifti(tmp_path / "a" / name)
        assert volume.array.shape == (24, 24, 24)
        np.testing.assert_allclose(volume.affine, AFFINE)
    labels = read_nifti(tmp_path / "a" / "tissues.nii.gz").array
    clean = {name: read_nifti(tmp_path / "a" / f"{name}.clean.nii.gz").array for name in ("T1", "T2")}
    assert clean["T1"][labels == 3].mean() > clean["T1"][labels == 2].mean() > clean["T1"][labels == 1].mean()
    assert clean["T2"][labels == 1].mean() > clean["T2"][labels == 2].mean() > clean["T2"][labels == 3].mean()
    record = json.loads((tmp_path / "a" / "contrasts.json").read_text())
    assert record["provenance"] == "simulated contrast"
    assert record["mask"] == "given"
    assert set(record["parameters"]) == {"csf", "grey", "white"}
    assert result.record()["brain_litres"] == pytest.approx(sum(result.tissue_litres.values()), abs=2e-3)
    simulate_contrast_files(ContrastSettings(output=tmp_path / "b", **options))
    for name in images:
        again = read_nifti(tmp_path / "b" / name).array
        np.testing.assert_array_equal(again, read_nifti(tmp_path / "a" / name).array)


def test_odd_input_is_refused_by_name(tmp_path: Path) -> None:
    head, mask = files(tmp_path)
    flat = write_nifti(tmp_path / "flat.nii.gz", Volume(np.ones((4, 4, 4), np.float32), AFFINE))
    small = write_nifti(tmp_path / "small.nii.gz", Volume(np.ones((4, 4, 4), np.float32), AFFINE))
    output = tmp_path / "new"
    for change, error, words in (
        ({"head": "nobody"}, InputError, "no file here and no sample"),
        ({"head": str(flat)}, DataError, "constant image"),
        ({"mask": small}, InputError, "must lie on the head's grid"),
        ({"contrasts": ("T9",)}, InputError, "contrasts: T9"),
        ({"output": tmp_path}, InputError, "is not empty"),
    ):
        settings = ContrastSettings(
            **{"head": str(head), "mask": mask, "output": output, "correct_bias": False, **change}
        )
        with pytest.raises(error, match=words):
            simulate_contrast_files(settings)
    assert not output.exists()
    assert expectation(ContrastSettings(head=str(head), output=output))["writes"] == output
