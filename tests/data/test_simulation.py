"""Simulated scans: what is drawn depends on (seed, case) alone, geometry is kept, noise is what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from skiagraph.data.coil_fields import Loop, loop_field, ring_of_loops, sensitivity_maps
from skiagraph.data.phantom import head_phantom
from skiagraph.data.simulation import (
    Acquisition,
    ScanSettings,
    case_generator,
    centred_fft2,
    centred_ifft2,
    simulate,
)
from skiagraph.data.slicing import (
    Head,
    SlicePose,
    locate_head,
    random_pose,
    slice_affine,
    slice_positions,
    slice_through,
)
from skiagraph.data.volume import Volume
from skiagraph.errors import DataError, InputError


def test_field_of_a_loop_equals_the_sum_over_its_wire() -> None:
    loop = Loop((10.0, -5.0, 3.0), (0.6, 0.0, 0.8), 40.0)
    angle = np.linspace(0, 2 * np.pi, 2001)[:-1]
    first, second = np.array([0.8, 0.0, -0.6]), np.array([0.0, 1.0, 0.0])
    wire = np.array(loop.centre_mm) + 40.0 * (np.cos(angle)[:, None] * first + np.sin(angle)[:, None] * second)
    step = 40.0 * (-np.sin(angle)[:, None] * first + np.cos(angle)[:, None] * second) * (angle[1] - angle[0])
    points = np.array([[70.0, 20.0, 10.0], [10.0, -5.0, 60.0], [-60.0, 30.0, -20.0]])
    gap = points[:, None] - wire
    integral = (np.cross(step, gap) / np.linalg.norm(gap, axis=-1, keepdims=True) ** 3).sum(axis=1)
    ratio = (loop_field(loop, points) * integral).sum(axis=-1) / (integral**2).sum(axis=-1)
    angle_between = np.linalg.norm(np.cross(loop_field(loop, points), integral), axis=-1)
    assert np.abs(ratio).std() / np.abs(ratio).mean() < 0.02
    assert (
        angle_between < 0.02 * np.linalg.norm(loop_field(loop, points), axis=-1) * np.linalg.norm(integral, axis=-1)
    ).all()


def test_maps_on_a_line_equal_the_field_itself() -> None:
    loops = ring_of_loops(np.random.default_rng(0), 3, 75.0, 95.0)
    x, y = np.linspace(60, -60, 61), np.linspace(80, -80, 41)
    maps = sensitivity_maps(loops, x, y)
    point = np.array([[x[7], y[33], 0.0]])
    for index, loop in enumerate(loops):
        field = loop_field(loop, point)[0]
        np.testing.assert_allclose(maps[index, 33, 7], loop.gain * (field[0] - 1j * field[1]), rtol=1e-3)


def test_a_slice_shows_the_volume_where_its_affine_says(head: Head, phantom: Volume) -> None:
    pose = SlicePose(head.centre_mm[2] + 10.0, (5.0, -4.0, 7.0), (6.0, -3.0), 1.05, mirrored=True)
    image = slice_through(head, pose, (64, 64))
    affine = slice_affine(head, pose, (64, 64), (256.0, 256.0), 3.0)
    world = affine @ np.array([25.0, 37.0, 0.0, 1.0])
    voxel = np.linalg.inv(phantom.affine) @ world
    from scipy import ndimage

    wanted = ndimage.map_coordinates(phantom.array, voxel[:3, None], order=3, mode="mirror")[0]
    assert image[25, 37] == pytest.approx(wanted / np.percentile(phantom.array, 99.5), abs=1e-4)


def test_orientation_of_the_file_does_not_change_the_slice(phantom: Volume, head: Head) -> None:
    flipped = Volume(phantom.array[::-1, :, ::-1].transpose(2, 0, 1), np.eye(4), "flipped")
    into = np.zeros((4, 4))
    into[:3, 3] = [phantom.array.shape[0] - 1, 0, phantom.array.shape[2] - 1]
    into[3, 3] = 1
    into[2, 0], into[0, 1], into[1, 2] = -1, -1, 1
    turned = locate_head(replace(flipped, affine=phantom.affine @ into))
    pose = SlicePose(head.top_mm - 60.0)
    np.testing.assert_allclose(slice_through(turned, pose, (48, 48)), slice_through(head, pose, (48, 48)), atol=1e-5)


def test_same_seed_and_case_same_scan_and_streams_are_apart(head: Head) -> None:
    settings = ScanSettings(coils=3, matrix=(32, 32))
    pose = SlicePose(head.top_mm - 60.0)
    first = simulate(head, pose, seed=0, case="a", settings=settings)
    again = simulate(head, pose, seed=0, case="a", settings=settings)
    np.testing.assert_array_equal(first.kspace, again.kspace)
    other = simulate(head, pose, seed=0, case="b", settings=settings)
    assert not np.allclose(first.hidden_maps, other.hidden_maps)
    quiet = simulate(head, pose, seed=0, case="a", settings=replace(settings, noise_fraction=0.0))
    np.testing.assert_array_equal(first.hidden_maps, quiet.hidden_maps)
    np.testing.assert_array_equal(first.truth, quiet.truth)
    assert case_generator(0, "a", "noise").random() != case_generator(0, "a", "coils").random()


def test_truth_is_the_root_sum_of_squares_of_the_noise_free_scan(head: Head) -> None:
    quiet = simulate(head, SlicePose(head.top_mm - 60.0), seed=1, case="a", settings=ScanSettings(noise_fraction=0.0))
    coils = centred_ifft2(quiet.kspace)
    np.testing.assert_allclose(np.sqrt((np.abs(coils) ** 2).sum(axis=0)), quiet.truth, atol=1e-5)
    np.testing.assert_allclose(centred_fft2(coils), quiet.kspace, atol=1e-5)
    norm = np.sqrt((np.abs(quiet.hidden_maps) ** 2).sum(axis=0))
    assert norm[quiet.mask].mean() == pytest.approx(1.0, abs=1e-5)
    assert 0.1 < quiet.mask.mean() < 0.6
    magnitude = slice_through(head, SlicePose(head.top_mm - 60.0), (256, 256))[::2, ::2]
    product = magnitude * norm
    assert np.linalg.norm((product - quiet.truth)[quiet.mask]) < 0.25 * np.linalg.norm(quiet.truth[quiet.mask])
    assert np.median((product - quiet.truth)[quiet.mask]) == pytest.approx(0.0, abs=0.02)


def test_noise_has_the_stated_size_and_covariance(acquisitions: list[Acquisition], head: Head) -> None:
    loud = acquisitions[0]
    quiet = simulate(head, loud.pose, seed=3, case="case 0", settings=replace(loud.settings, noise_fraction=0.0))
    for noise in (loud.kspace - quiet.kspace, loud.noise_scan):
        flat = noise.reshape(noise.shape[0], -1)
        assert flat.real.std() == pytest.approx(loud.noise_std, rel=0.03)
        assert flat.imag.std() == pytest.approx(loud.noise_std, rel=0.03)
        covariance = flat @ flat.conj().T / (2 * loud.noise_std**2 * flat.shape[1])
        np.testing.assert_allclose(covariance, loud.coil_covariance, atol=0.08)
    assert loud.noise_std == pytest.approx(0.005 * loud.truth.max())


def test_poses_stay_in_their_ranges(head: Head) -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        pose = random_pose(head, generator, below_top_mm=(20.0, 60.0), rotation_degrees=5.0)
        assert head.top_mm - 60.0 <= pose.slice_mm <= head.top_mm - 20.0
        assert max(map(abs, pose.rotation_degrees)) <= 5.0
    assert slice_positions(head, 3)[1] == pytest.approx(head.top_mm - 65.0)


def test_wrong_requests_are_refused(head: Head) -> None:
    with pytest.raises(InputError, match="holds no head"):
        simulate(head, SlicePose(head.top_mm + 60.0), seed=0, case="a")
    with pytest.raises(InputError, match="scale"):
        SlicePose(0.0, scale=3.0)
    with pytest.raises(InputError, match="matrix"):
        ScanSettings(matrix=(33, 32))
    with pytest.raises(DataError, match="percentile"):
        locate_head(Volume(np.zeros((20, 20, 20)), np.eye(4), "empty"))


def test_phantom_heads_differ_by_seed_and_repeat_themselves(phantom: Volume) -> None:
    np.testing.assert_array_equal(head_phantom(0, spacing_mm=3.0).array, phantom.array)
    other = head_phantom(1, spacing_mm=3.0)
    inside = (phantom.array > 0.1) & (other.array > 0.1)
    assert np.corrcoef(phantom.array[inside], other.array[inside])[0, 1] < 0.8
    assert phantom.orientation == "RAS"
    assert phantom.spacing_mm == (3.0, 3.0, 3.0)
    with pytest.raises(InputError, match="spacing_mm"):
        head_phantom(0, spacing_mm=0.1)
