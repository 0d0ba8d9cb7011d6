"""Files in the layout of the fastMRI set and of vendors' converters: read as they come, nothing lost or invented."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest

from helpers.exports import oversampled, padded_columns, write_export, write_fastmri_layout
from skiagraph.data.kspace import read_kspace
from skiagraph.data.noise import noise_from_scan
from skiagraph.data.noise_files import read_noise
from skiagraph.data.simulation import centred_fft2, centred_ifft2
from skiagraph.errors import DataError, InputError


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed).standard_normal((2, *shape)).astype(np.float32)
    return draw[0] + 1j * draw[1]


def _scan(slices: int = 2, coils: int = 3, rows: int = 20, columns: int = 24, seed: int = 0) -> np.ndarray:
    return centred_fft2(_random(slices, coils, rows, columns, seed=seed))


def _rss(kspace: np.ndarray, image: tuple[int, int]) -> np.ndarray:
    rows, columns = kspace.shape[-2:]
    first, left = (rows - image[0]) // 2, (columns - image[1]) // 2
    whole = np.sqrt((np.abs(centred_ifft2(kspace)) ** 2).sum(1))
    return whole[:, first : first + image[0], left : left + image[1]]


@pytest.mark.parametrize(("rows", "columns", "image"), [(320, 368, (320, 320)), (33, 27, (33, 21)), (20, 24, (20, 18))])
def test_knee_volumes_for_training(tmp_path: Path, rows: int, columns: int, image: tuple[int, int]) -> None:
    """k-space 640 x 368, header with padding, no mask, reference 320 x 320: the layout of `multicoil_train`."""
    kspace = _scan(1, 2, rows, columns)
    padding = (3, 4)
    inside = padded_columns(columns, *padding)
    wide = oversampled(kspace)
    truth = _rss(kspace * inside, image)
    path = write_fastmri_layout(tmp_path / "file1.h5", wide, image, pixel=(0.5, 0.5), padding=padding, truth=truth)
    scan = read_kspace(path)
    even = rows + rows % 2
    assert scan.data.shape == (1, 2, even, columns)
    np.testing.assert_array_equal(scan.mask, inside)
    assert (scan.measurable, scan.image_shape) == ((3, columns - 4), image)
    assert scan.acceleration == pytest.approx(1)
    assert scan.spacing_mm[:2] == pytest.approx((0.5, 0.5))
    assert scan.provenance == "measured"
    if rows == even:
        np.testing.assert_allclose(scan.data, kspace * inside, atol=2e-5)
        np.testing.assert_allclose(_rss(scan.data, image), truth, atol=2e-5)
    np.testing.assert_allclose(scan.truth, truth, rtol=1e-6)


def test_test_files_hold_a_mask_and_no_reference(tmp_path: Path) -> None:
    kspace, mask = _scan(), np.arange(24) % 3 == 0
    path = write_fastmri_layout(tmp_path / "test.h5", oversampled(kspace), (20, 20), mask=mask, padding=(2, 1))
    scan = read_kspace(path)
    wanted = mask & padded_columns(24, 2, 1)
    np.testing.assert_array_equal(scan.mask, wanted)
    np.testing.assert_allclose(scan.data, kspace * wanted, atol=1e-5)
    assert scan.truth is None
    assert scan.acceleration == pytest.approx(21 / wanted.sum())


def test_single_coil_knees(tmp_path: Path) -> None:
    kspace = _scan(coils=1)
    wide = oversampled(kspace)[:, 0]
    path = write_fastmri_layout(tmp_path / "s.h5", wide, (20, 20), truth=np.abs(_random(2, 20, 20)), single=True)
    scan = read_kspace(path, slices=[1])
    np.testing.assert_allclose(scan.data, kspace[1:], atol=1e-5)
    assert scan.truth is not None
    assert scan.truth.shape == (1, 20, 20)
    assert scan.slices == (1,)


def test_brain_files_may_have_more_padding_than_the_header_says(tmp_path: Path) -> None:
    wide = oversampled(_scan()) * padded_columns(24, 2, 3)
    path = write_fastmri_layout(tmp_path / "brain.h5", wide, (20, 20), mask=np.ones(24, dtype=bool))
    np.testing.assert_array_equal(read_kspace(path).mask, padded_columns(24, 2, 3))


def test_reference_images_larger_than_k_space_are_refused(tmp_path: Path) -> None:
    path = write_fastmri_layout(tmp_path / "a.h5", oversampled(_scan()), (20, 20), truth=np.ones((2, 20, 40)))
    with pytest.raises(
        DataError, match=r"a\.h5: the reference images are 20x40, larger than the image of k-space, 20x24"
    ):
        read_kspace(path)


def test_an_export_with_partial_fourier_calibration_flags_and_interleaved_slices(tmp_path: Path) -> None:
    kspace = _scan(slices=3)
    mask = np.arange(24) % 2 == 0
    mask[8:16] = True
    mask[:3] = False  # partial Fourier: the centre step is 9, not 12
    path = write_export(
        tmp_path / "meas.h5", oversampled(kspace), mask, image=(20, 20), centre=9, calibration=range(8, 16)
    )
    scan = read_kspace(path)
    np.testing.assert_array_equal(scan.mask, mask)
    assert scan.measurable == (3, 23)
    np.testing.assert_allclose(scan.data, kspace * scan.mask, atol=1e-5)
    assert scan.image_shape == (20, 20)
    assert scan.affine is not None
    np.testing.assert_allclose(scan.affine[:3, 2], [0, 0, 5])
    assert scan.slice_spacing_mm == pytest.approx(5)
    assert scan.calibration is None
    assert scan.notes == ()


def test_lines_outside_the_matrix_are_refused_by_number(tmp_path: Path) -> None:
    path = write_export(tmp_path / "a.h5", _scan(), np.ones(24, dtype=bool), image=(20, 20), centre=9)
    with pytest.raises(DataError, match="at step"):
        read_kspace(path)


def _split(calibration: range, factor: float) -> Any:
    """Calibration lines become calibration only, `factor` times as strong; imaging lines stay on even columns."""

    def change(lines: list[ismrmrd.Acquisition]) -> list[ismrmrd.Acquisition]:
        for line in lines:
            if line.is_flag_set(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION):
                line.data[:] = factor * line.data
        return lines

    return change


def test_embedded_calibration_lines_fill_gaps_and_separate_ones_stay_apart(tmp_path: Path) -> None:
    kspace = _scan()
    mask = np.arange(24) % 2 == 0
    mask[8:16] = True
    shared: dict[str, Any] = {"image": (20, 20), "calibration": range(8, 16), "both": False}
    embedded = write_export(tmp_path / "e.h5", oversampled(kspace), mask, **shared, change=_split(range(8, 16), 3.0))
    scan = read_kspace(embedded)
    np.testing.assert_array_equal(scan.mask, mask)
    np.testing.assert_allclose(scan.data[..., 9], 3 * kspace[..., 9], atol=1e-4)
    np.testing.assert_allclose(scan.data[..., 4], kspace[..., 4], atol=1e-5)

    def doubled(lines: list[ismrmrd.Acquisition]) -> list[ismrmrd.Acquisition]:
        even = [line for line in lines if int(line.idx.kspace_encode_step_1) % 2 == 0]
        imaging = []
        for line in even:
            copy = ismrmrd.Acquisition(line.getHead())
            copy.resize(*line.data.shape[::-1])
            copy.data[:] = line.data
            copy.clearAllFlags()
            imaging.append(copy)
        return [*imaging, *(line for line in lines if line.is_flag_set(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION))]

    separate = write_export(tmp_path / "s.h5", oversampled(kspace), mask, **shared, mode="separate", change=doubled)
    scan = read_kspace(separate)
    np.testing.assert_array_equal(scan.mask, np.arange(24) % 2 == 0)
    assert scan.calibration is not None
    inner = np.zeros(24, dtype=bool)
    inner[8:16] = True
    np.testing.assert_allclose(scan.calibration, kspace * inner, atol=1e-5)


def _marked(name: str, values: int) -> Any:
    """All lines `values` times over, with a counter and a factor 1 + value."""

    def change(lines: list[ismrmrd.Acquisition]) -> list[ismrmrd.Acquisition]:
        made = []
        for value in range(values):
            for line in lines:
                copy = ismrmrd.Acquisition(line.getHead())
                copy.resize(*line.data.shape[::-1])
                copy.data[:] = (1 + value) * line.data
                setattr(copy.idx, name, value)
                made.append(copy)
        return made

    return change


@pytest.mark.parametrize("name", ["contrast", "phase", "repetition", "set"])
def test_one_of_several_images_is_chosen_by_name(tmp_path: Path, name: str) -> None:
    kspace = _scan()
    path = write_export(tmp_path / "a.h5", kspace, np.ones(24, dtype=bool), image=(20, 20), change=_marked(name, 3))
    with pytest.raises(DataError, match=rf"{name} takes the values \[0, 1, 2\].*--counters {name} 0"):
        read_kspace(path)
    np.testing.assert_allclose(read_kspace(path, counters={name: 2}).data, 3 * kspace, atol=1e-4)
    with pytest.raises(InputError, match=rf"counters: {name} 7 is not in .*\[0, 1, 2\]"):
        read_kspace(path, counters={name: 7})
    with pytest.raises(InputError, match="counters: found echo; allowed: contrast, phase"):
        read_kspace(path, counters={"echo": 0})
    plain = write_fastmri_layout(tmp_path / "b.h5", kspace, (20, 20))
    with pytest.raises(InputError, match="no ISMRMRD file"):
        read_kspace(plain, counters={name: 0})


def test_averages_are_averaged_and_their_scatter_is_noise(tmp_path: Path) -> None:
    kspace, random = _scan(1, 3, 64, 48), np.random.default_rng(4)
    sigma = 0.05

    def twice(lines: list[ismrmrd.Acquisition]) -> list[ismrmrd.Acquisition]:
        made = []
        for average in range(2):
            for line in lines:
                copy = ismrmrd.Acquisition(line.getHead())
                copy.resize(*line.data.shape[::-1])
                draw = random.standard_normal((2, *line.data.shape))
                copy.data[:] = line.data + sigma * (draw[0] + 1j * draw[1])
                copy.idx.average = average
                made.append(copy)
        return made

    path = write_export(tmp_path / "a.h5", kspace, np.ones(48, dtype=bool), image=(64, 48), change=twice)
    scan = read_kspace(path)
    assert np.abs(scan.data - kspace).std() == pytest.approx(sigma * np.sqrt(1 - np.pi / 4), rel=0.05)
    assert scan.noise_scan is not None
    level = float(np.sqrt((np.abs(scan.noise_scan) ** 2).mean() / 2))
    assert level == pytest.approx(sigma / np.sqrt(2), rel=0.03)  # of the average of two


def test_noise_lines_are_brought_to_the_bandwidth_of_the_image(tmp_path: Path) -> None:
    kspace, noise = _scan(), _random(3, 500, seed=3)
    path = write_export(
        tmp_path / "a.h5",
        kspace,
        np.ones(24, dtype=bool),
        image=(20, 20),
        noise=noise,
        dwell=(2.0, 8.0),
        bandwidth=0.5,
    )
    scan = read_kspace(path)
    np.testing.assert_allclose(scan.noise_scan, noise * np.sqrt(2.0 / (8.0 * 0.5)), rtol=1e-5)
    model = read_noise(path, 3)
    assert model.level == pytest.approx(1, rel=0.05)
    again = read_noise(path, 3, dwell_us=scan.dwell_us, averages=scan.averages)  # as if it lay in a file of its own
    np.testing.assert_allclose(again.covariance, noise_from_scan(scan.noise_scan).covariance, rtol=1e-5)
    averaged = read_noise(path, 3, dwell_us=8.0, averages=2)
    assert averaged.level == pytest.approx(again.level / np.sqrt(2), rel=1e-6)
    with pytest.raises(DataError, match=r"a\.h5: the noise is that of 3 coils, but the scan has 4"):
        read_noise(path, 4)
    with pytest.raises(DataError, match="none of its acquisitions is a noise measurement"):
        read_noise(write_export(tmp_path / "b.h5", kspace, np.ones(24, dtype=bool), image=(20, 20)), 3)


def test_partial_echoes_are_read_and_said(tmp_path: Path) -> None:
    kspace = _scan()

    def cut(lines: list[ismrmrd.Acquisition]) -> list[ismrmrd.Acquisition]:
        made = []
        for line in lines:
            copy = ismrmrd.Acquisition(line.getHead())
            copy.resize(15, 3)
            copy.data[:] = line.data[:, 5:]
            copy.center_sample = 5
            made.append(copy)
        return made

    scan = read_kspace(write_export(tmp_path / "a.h5", kspace, np.ones(24, dtype=bool), image=(20, 20), change=cut))
    np.testing.assert_allclose(scan.data[:, :, 5:], kspace[:, :, 5:], atol=1e-5)
    assert not scan.data[:, :, :5].any()
    assert "partial echo" in scan.notes[0]


def test_lines_of_another_encoding_are_left_out_and_counted(tmp_path: Path) -> None:
    def other(lines: list[ismrmrd.Acquisition]) -> list[ismrmrd.Acquisition]:
        extra = ismrmrd.Acquisition.from_array(np.ones((3, 4), np.complex64))
        extra.encoding_space_ref = 1
        return [extra, *lines]

    scan = read_kspace(write_export(tmp_path / "a.h5", _scan(), np.ones(24, dtype=bool), image=(20, 20), change=other))
    assert scan.notes == ("1 lines of other encodings than the first are left out",)
