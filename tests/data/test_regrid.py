"""Orientation, spacing and grids: world positions stay, the way back ends where it began, odd input is refused."""

from __future__ import annotations

import numpy as np
import pytest

from skiagraph.data.regrid import Grid, check_source, grid_of, reorient, resample, spaced_grid, tilt_degrees
from skiagraph.data.volume import Volume
from skiagraph.errors import DataError, InputError


def affine(spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), turn: float = 0.0) -> np.ndarray:
    """Spacing, a turn about z in degrees, and an offset."""
    angle = np.deg2rad(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * spacing
    matrix[:3, 3] = (-11.0, 7.0, 3.0)
    return matrix


def smooth(shape: tuple[int, int, int], matrix: np.ndarray) -> np.ndarray:
    """A blob that depends on world position only, about the middle of the box."""
    index = np.stack([*np.meshgrid(*[np.arange(side) for side in shape], indexing="ij"), np.ones(shape)], -1)
    world = (index @ matrix.T)[..., :3]
    centre = (matrix @ np.array([*(np.asarray(shape) - 1) / 2, 1]))[:3]
    return 100 * np.exp(-((world - centre) ** 2 @ np.array([1 / 60, 1 / 90, 1 / 50])))


@pytest.mark.parametrize("axes", ["RAS", "LIA", "PSR", "ALS"])
def test_reorienting_moves_no_voxel_and_comes_back(axes: str) -> None:
    generator = np.random.default_rng(0)
    volume = Volume(generator.normal(size=(4, 5, 6)).astype(np.float32), affine((1.0, 2.0, 3.0)))
    turned = reorient(volume, axes)
    assert turned.orientation == axes
    index = np.array([1, 3, 2])
    world = volume.affine @ np.array([*index, 1])
    there = np.round(np.linalg.inv(turned.affine) @ world)[:3].astype(int)
    assert turned.array[tuple(there)] == volume.array[tuple(index)]
    back = reorient(turned, volume.orientation)
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-12)


@pytest.mark.parametrize("axes", ["RAX", "RR", "RLA", ""])
def test_axes_are_three_letters(axes: str) -> None:
    with pytest.raises(InputError, match="axes is"):
        reorient(Volume(np.zeros((2, 2, 2)), np.eye(4)), axes)


@pytest.mark.parametrize("turn", [0.0, 8.0])
def test_a_smooth_image_survives_another_spacing_and_the_way_back(turn: float) -> None:
    matrix = affine((1.0, 1.2, 2.0), turn)
    volume = Volume(smooth((30, 28, 16), matrix), matrix)
    grid = spaced_grid(grid_of(volume), (1.5, 1.5, 1.5))
    there = resample(volume, grid)
    wanted = smooth(grid.shape, grid.affine)
    inner = (slice(3, -3),) * 3
    np.testing.assert_allclose(there.array[inner], wanted[inner], atol=4.0)  # of 100; it is smoothed a little
    back = resample(there, grid_of(volume))
    assert back.array.shape == volume.array.shape
    np.testing.assert_array_equal(back.affine, volume.affine)
    np.testing.assert_allclose(back.array[inner], volume.array[inner], atol=6.0)


def test_the_same_grid_changes_nothing() -> None:
    matrix = affine((1.0, 2.0, 1.5), 5.0)
    volume = Volume(np.random.default_rng(1).random((7, 8, 9)).astype(np.float32), matrix)
    for order in (0, 1, 3):
        np.testing.assert_allclose(resample(volume, grid_of(volume), order=order).array, volume.array, atol=1e-5)


def test_a_grid_covers_the_same_box() -> None:
    old = Grid((10, 11, 12), affine((1.0, 2.0, 3.0), 4.0))
    new = spaced_grid(old, (2.0, 2.0, 2.0))
    assert new.shape == (5, 11, 18)
    np.testing.assert_allclose(np.linalg.norm(new.affine[:3, :3], axis=0), 2.0)
    for grid in (old, new):
        low = grid.affine @ np.array([-0.5, -0.5, -0.5, 1])
        np.testing.assert_allclose(low, old.affine @ np.array([-0.5, -0.5, -0.5, 1]), atol=1e-9)
    with pytest.raises(InputError, match="spacing_mm"):
        spaced_grid(old, (0.0, 1.0, 1.0))


def test_coarsening_smooths_what_the_coarse_grid_cannot_show() -> None:
    stripes = np.zeros((32, 8, 8), dtype=np.float32)
    stripes[::2] = 1.0
    coarse = resample(Volume(stripes, np.eye(4)), spaced_grid(Grid((32, 8, 8), np.eye(4)), (4.0, 1.0, 1.0)))
    assert np.ptp(coarse.array[1:-1]) < 0.01
    assert float(coarse.array[4, 4, 4]) == pytest.approx(0.5, abs=0.01)


def test_outside_and_labels() -> None:
    labels = np.zeros((6, 6, 6), dtype=np.float32)
    labels[2:4] = 7
    wide = spaced_grid(Grid((12, 6, 6), np.eye(4)), (1.0, 1.0, 1.0))
    found = resample(Volume(labels, np.eye(4)), wide, order=0, outside=-1.0).array
    assert set(np.unique(found)) == {-1.0, 0.0, 7.0}
    with pytest.raises(InputError, match="order is 2"):
        resample(Volume(labels, np.eye(4)), wide, order=2)


def test_what_nothing_can_be_made_of_is_refused_by_name() -> None:
    good = np.random.default_rng(0).random((5, 5, 5)).astype(np.float32)
    check_source(Volume(good, affine(turn=10.0), "head"))
    assert tilt_degrees(affine(turn=10.0)) == pytest.approx(10.0)
    spoiled = good.copy()
    spoiled[1, 1, 1] = np.nan
    sheared = np.eye(4)
    sheared[0, 1] = 0.4
    for volume, words in (
        (Volume(spoiled, np.eye(4), "head"), "head: 1 voxels are NaN"),
        (Volume(np.full((3, 3, 3), 2.0), np.eye(4), "flat"), "every voxel is 2"),
        (Volume(good, affine(turn=30.0), "tilted"), "tilted by 30.0 degrees"),
        (Volume(good, sheared, "sheared"), "not perpendicular"),
    ):
        with pytest.raises(DataError, match=words):
            check_source(volume)
