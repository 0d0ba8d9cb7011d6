"""The frame of a prior: every orientation and spacing comes back on its own grid."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.tiny_heads import head
from skiagraph.data.intensity import window_scaling
from skiagraph.data.regrid import grid_of, reorient, resample
from skiagraph.data.volume import Volume
from skiagraph.errors import DataError
from skiagraph.tasks.translate.frame import MARGIN_MM, frame_of, framed, stack_of, to_slices, to_volume


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR"])
def test_the_frame_does_not_depend_on_the_order_of_the_axes(axes: str) -> None:
    volume, scaling = head(), window_scaling(0.0, 100.0)
    turned = reorient(volume, axes)
    mask, other = volume.array > 0, turned.array > 0
    one = frame_of(volume, mask, (4.0, 4.0, 4.0), (16, 16))
    two = frame_of(turned, other, (4.0, 4.0, 4.0), (16, 16))
    assert one.grid.shape == two.grid.shape
    np.testing.assert_allclose(one.grid.affine, two.grid.affine, atol=1e-9)
    first, second = framed(volume, mask, one, scaling)[0], framed(turned, other, two, scaling)[0]
    np.testing.assert_allclose(first, second, atol=1e-5)
    assert two.origin.shape == turned.array.shape


def test_at_the_same_spacing_voxels_are_moved_and_not_changed() -> None:
    volume = head()
    mask = volume.array > 0
    frame = frame_of(volume, mask, (4.0, 4.0, 4.0), (16, 16))
    image, inside = framed(volume, mask, frame, window_scaling(0.0, 110.0))
    assert int(inside.sum()) == int(mask.sum())
    np.testing.assert_allclose(np.sort(image[inside]), np.sort(2 * volume.array[mask] / 110 - 1), atol=1e-4)
    assert (image[~inside] == -1).all()
    back = resample(Volume((image + 1) * 55, frame.grid.affine), grid_of(volume))
    np.testing.assert_allclose(back.array[mask], volume.array[mask], atol=0.01)


def test_an_anisotropic_scan_gets_the_priors_spacing_and_at_least_its_size() -> None:
    thin = head("T1", (28, 32, 4))
    volume = Volume(thin.array, np.diag([2.0, 2.0, 8.0, 1.0]))
    frame = frame_of(volume, volume.array > 0, (4.0, 4.0, 4.0), (20, 24))
    image, mask = framed(volume, volume.array > 0, frame, window_scaling(0.0, 100.0))
    stack = stack_of(image, mask, frame)
    assert stack.images.shape[2] >= 20
    assert stack.images.shape[3] >= 24
    assert stack.spacing_mm == pytest.approx((4.0, 4.0, 4.0))
    rows, columns = np.flatnonzero(mask.any((0, 2))), np.flatnonzero(mask.any((1, 2)))
    for filled, side in ((rows, image.shape[1]), (columns, image.shape[0])):
        assert abs(filled[0] - (side - 1 - filled[-1])) <= 2  # the head lies in the middle


@pytest.mark.parametrize(("multiple", "sides"), [(1, (20, 18)), (3, (21, 18)), (8, (24, 24)), (16, (32, 32))])
def test_a_frame_larger_than_the_prior_has_sides_that_its_network_can_halve(
    multiple: int, sides: tuple[int, int]
) -> None:
    volume = head()
    mask = np.ones(volume.array.shape, bool)
    frame = frame_of(volume, mask, (4.0, 4.0, 4.0), (8, 8), multiple)
    assert frame.size == sides
    into = np.linalg.inv(frame.grid.affine) @ volume.affine
    corners = [(into @ [*corner, 1.0])[:3] for corner in ((0, 0, 0), np.array(mask.shape) - 1)]
    room = np.concatenate([corners[0], np.array(frame.grid.shape) - 1 - corners[1]])
    assert room.min() * 4 >= MARGIN_MM - 4


def test_planes_are_cut_and_put_together() -> None:
    array = np.arange(24).reshape(2, 3, 4)
    assert to_slices(array).shape == (4, 3, 2)
    assert to_slices(array, "coronal").shape == (3, 4, 2)
    assert to_slices(array, "sagittal").shape == (2, 4, 3)
    for plane in ("axial", "coronal", "sagittal"):
        np.testing.assert_array_equal(to_volume(to_slices(array, plane), plane), array)


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(DataError, match="mask is empty"):
        frame_of(head(), np.zeros((14, 16, 6), bool), (4.0, 4.0, 4.0), (16, 16))
