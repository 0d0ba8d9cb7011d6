"""k-space files: both formats round trip exactly, and each kind of bad input has its own clear refusal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest

from skiagraph.data.encoding import Encoding, build_header, parse_header, remove_oversampling
from skiagraph.data.fastmri import read_fastmri, write_fastmri
from skiagraph.data.kspace import KSpace, calibration_columns, read_kspace
from skiagraph.data.raw_data import write_ismrmrd
from skiagraph.data.simulation import centred_fft2, centred_ifft2
from skiagraph.errors import DataError, InputError

Writer = Callable[[Path, KSpace], Path]
WRITERS = pytest.mark.parametrize("write", [write_fastmri, write_ismrmrd])


@WRITERS
def test_round_trip_is_exact_and_told_apart_by_content(tmp_path: Path, scan: KSpace, write: Writer) -> None:
    back = read_kspace(write(tmp_path / "any.name", scan))
    np.testing.assert_array_equal(back.data, scan.data)
    np.testing.assert_array_equal(back.mask, scan.mask)
    np.testing.assert_array_equal(back.noise_scan, scan.noise_scan)
    assert back.affine is not None
    assert scan.affine is not None
    np.testing.assert_allclose(back.affine, scan.affine, atol=1e-4)
    assert back.field_of_view_mm == scan.field_of_view_mm
    assert back.spacing_mm == pytest.approx(scan.spacing_mm)
    assert back.image_shape == (64, 48)
    if write is write_fastmri:
        np.testing.assert_array_equal(back.truth, scan.truth)
    assert [path.name for path in tmp_path.iterdir()] == ["any.name"]


@WRITERS
def test_chosen_slices_keep_their_place(tmp_path: Path, scan: KSpace, write: Writer) -> None:
    path = write(tmp_path / "a.h5", scan)
    second = read_kspace(path, slices=[1])
    np.testing.assert_array_equal(second.data, scan.data[1:])
    assert second.affine is not None
    assert scan.affine is not None
    np.testing.assert_allclose(second.affine[:3, 3], (scan.affine @ [0, 0, 1, 1])[:3], atol=1e-4)
    with pytest.raises(InputError, match="slices 0 to 1"):
        read_kspace(path, slices=[2])


@WRITERS
def test_scan_without_geometry_stays_without(tmp_path: Path, scan: KSpace, write: Writer) -> None:
    bare = replace(scan, affine=None, truth=None, noise_scan=None)
    back = read_kspace(write(tmp_path / "a.h5", bare))
    assert back.affine is None
    assert back.noise_scan is None
    assert back.truth is None
    assert back.slice_spacing_mm == pytest.approx(2.0)


def test_nothing_about_a_person_is_written(tmp_path: Path, scan: KSpace) -> None:
    path = write_fastmri(tmp_path / "a.h5", scan)
    with h5py.File(path) as content:
        header = content["ismrmrd_header"][()].decode()
        assert set(content.attrs) == {"affine", "max", "norm"}
    assert not any(word in header.lower() for word in ("patient", "subject", "study", "institution", "date"))


def test_oversampling_and_padding_follow_the_header(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    image = random.standard_normal((1, 2, 32, 40)) + 1j * random.standard_normal((1, 2, 32, 40))
    wide = np.zeros((1, 2, 64, 40), dtype=np.complex64)
    wide[:, :, 16:48] = image
    kspace = centred_fft2(wide)
    kspace[..., :6] = 0
    kspace[..., 36:] = 0
    encoding = Encoding((64, 40, 1), (32, 32, 1), (512.0, 200.0, 3.0), (256.0, 160.0, 3.0), centre=14, last=29)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as content:
        content["kspace"] = kspace
        content["ismrmrd_header"] = build_header(encoding, 2, 1)
        content["mask"] = np.ones((1, 40))
    back = read_kspace(path)
    assert back.data.shape == (1, 2, 32, 40)
    assert back.image_shape == (32, 32)
    assert back.field_of_view_mm == (256.0, 200.0)
    assert back.spacing_mm == (8.0, 5.0, 3.0)
    np.testing.assert_array_equal(np.flatnonzero(back.mask), np.arange(6, 36))
    wanted = centred_ifft2(kspace)[:, :, 16:48]
    np.testing.assert_allclose(centred_ifft2(back.data), wanted, atol=1e-5)


def test_cutting_oversampled_rows_keeps_intensities() -> None:
    image = np.random.default_rng(1).standard_normal((3, 24, 10)).astype(np.complex64)
    wide = np.zeros((3, 48, 10), dtype=np.complex64)
    wide[:, 12:36] = image
    cut = remove_oversampling(centred_fft2(wide), 24)
    np.testing.assert_allclose(centred_ifft2(cut), image, atol=1e-5)


def test_single_coil_files_get_a_coil_axis(tmp_path: Path, scan: KSpace) -> None:
    path = write_fastmri(tmp_path / "a.h5", replace(scan, truth=None, noise_scan=None))
    with h5py.File(path, "r+") as content:
        data = content["kspace"][:, 0]
        del content["kspace"]
        content["kspace"] = data
    assert read_kspace(path).data.shape == (2, 1, 64, 48)


def _broken(tmp_path: Path, scan: KSpace, change: Callable[[h5py.File], None]) -> Path:
    path = write_fastmri(tmp_path / "broken.h5", scan)
    with h5py.File(path, "r+") as content:
        change(content)
    return path


def _set(content: h5py.File, key: str, value: object) -> None:
    del content[key]
    content[key] = value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("ismrmrd_header"), "no key 'ismrmrd_header'"),
        (lambda c: c.pop("kspace"), "has the keys .*'kspace'.* is needed"),
        (lambda c: _set(c, "mask", np.ones(47)), r"'mask' has shape \(47,\) but 'kspace' has 48 columns"),
        (lambda c: _set(c, "mask", np.full(48, 0.5)), "other than 0 and 1"),
        (lambda c: _set(c, "mask", np.zeros(48)), "no column as sampled"),
        (lambda c: _set(c, "mask", np.ones(48)), "hold no signal"),
        (lambda c: _set(c, "kspace", np.zeros((2, 4, 64, 48), np.complex64)), "zero in all 2 slices .* export"),
        (lambda c: _set(c, "kspace", np.full((2, 4, 64, 48), np.nan, np.complex64)), "NaN .* in all 2 slices"),
        (lambda c: _set(c, "kspace", np.ones((2, 4, 64, 48), np.float32)), "complex type is needed"),
        (lambda c: _set(c, "kspace", np.ones((64, 48), np.complex64)), r"shape \(64, 48\)"),
        (lambda c: _set(c, "ismrmrd_header", "<not a header"), "header cannot be read"),
        (lambda c: _set(c, "ismrmrd_header", "<ismrmrdHeader/>"), "header cannot be read"),
    ],
)
def test_each_broken_file_says_what_is_wrong(
    tmp_path: Path, scan: KSpace, change: Callable[[h5py.File], None], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_kspace(_broken(tmp_path, scan, change))


def test_other_formats_and_truncated_files_are_named(tmp_path: Path, scan: KSpace) -> None:
    path = tmp_path / "a.h5"
    with pytest.raises(DataError, match="does not exist"):
        read_kspace(path)
    with pytest.raises(DataError, match="is a folder"):
        read_kspace(tmp_path)
    for start, name in ((b"PK\x03\x04", "zip"), (b"\x1f\x8b\x08", "gzip"), (b"\0" * 128 + b"DICM", "DICOM")):
        path.write_bytes(start + b"\0" * 400)
        with pytest.raises(DataError, match=name):
            read_kspace(path)
    for write in (write_fastmri, write_ismrmrd):
        whole = write(path, scan).read_bytes()
        for part in (0.3, 0.6, 0.97):
            path.write_bytes(whole[: int(part * len(whole))])
            with pytest.raises(DataError, match="truncated or damaged"):
                read_kspace(path)
    with h5py.File(path, "w") as content:
        content["images"] = np.ones(3)
    with pytest.raises(DataError, match=r"has the keys \['images'\]"):
        read_kspace(path)


def _edit(path: Path, change: Callable[[list[ismrmrd.Acquisition]], None]) -> Path:
    with ismrmrd.File(str(path), "r+") as content:
        lines = content["dataset"].acquisitions[:]
        change(lines)
        content["dataset"].acquisitions = lines
    return path


def test_ismrmrd_lines_that_make_no_image_are_refused(tmp_path: Path, scan: KSpace) -> None:
    def contrast(lines: list[ismrmrd.Acquisition]) -> None:
        lines[-1].idx.contrast = 1

    def outside(lines: list[ismrmrd.Acquisition]) -> None:
        lines[-1].idx.kspace_encode_step_1 = 99

    def reverse(lines: list[ismrmrd.Acquisition]) -> None:
        lines[-1].set_flag(ismrmrd.ACQ_IS_REVERSE)

    def noise(lines: list[ismrmrd.Acquisition]) -> None:
        for line in lines:
            line.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)

    def missing(lines: list[ismrmrd.Acquisition]) -> None:
        lines.pop()

    for change, message in (
        (contrast, r"contrast takes the values \[0, 1\]"),
        (outside, "step 99 does not fit"),
        (reverse, "echo-planar"),
        (noise, "none of the 43 acquisitions"),
        (missing, "different columns"),
    ):
        path = _edit(write_ismrmrd(tmp_path / "a.h5", scan), change)
        with pytest.raises(DataError, match=message):
            read_kspace(path)


def test_repeated_lines_are_averaged(tmp_path: Path, scan: KSpace) -> None:
    def again(lines: list[ismrmrd.Acquisition]) -> None:
        copies = [ismrmrd.Acquisition.from_array(3 * line.data) for line in lines[1:]]
        for copy, line in zip(copies, lines[1:], strict=True):
            copy.idx.slice, copy.idx.kspace_encode_step_1 = line.idx.slice, line.idx.kspace_encode_step_1
            copy.center_sample, copy.idx.average = line.center_sample, 1
        lines.extend(copies)

    path = _edit(write_ismrmrd(tmp_path / "a.h5", scan), again)
    np.testing.assert_allclose(read_kspace(path).data, 2 * scan.data, rtol=1e-6)


def test_header_round_trip() -> None:
    encoding = Encoding((64, 40, 1), (32, 32, 1), (512.0, 200.0, 3.0), (256.0, 160.0, 3.0), 14, 29, slices=5)
    assert parse_header(build_header(encoding, 8, 5), "x") == encoding
    assert encoding.measured_columns(40) == (6, 36)


def test_calibration_lines_are_counted_about_the_centre() -> None:
    mask = np.zeros(16, dtype=bool)
    mask[4:13] = True
    assert calibration_columns(mask) == 9
    mask[3] = True
    assert calibration_columns(mask) == 10
    mask[12] = False
    assert calibration_columns(mask) == 8
    assert calibration_columns(np.ones(15)) == 15
    mask[8] = False
    with pytest.raises(DataError, match="has 0 calibration lines"):
        calibration_columns(mask)
    with pytest.raises(DataError, match="at least 6 are needed"):
        calibration_columns(np.eye(16)[8])


def test_undersampling_keeps_the_chosen_columns(scan: KSpace) -> None:
    fewer = scan.mask.copy()
    fewer[0] = False
    less = scan.undersampled(fewer)
    assert not less.data[..., 0].any()
    assert less.acceleration > scan.acceleration
    with pytest.raises(InputError, match="not measured"):
        scan.undersampled(np.ones(48))
    with pytest.raises(InputError, match="shape"):
        scan.undersampled(np.ones(47))
    with pytest.raises(DataError, match="47"):
        replace(scan, mask=np.ones(47, dtype=bool))


LIMITED = """
import resource, signal, sys
import numpy as np
from skiagraph.data.fastmri import write_fastmri
from skiagraph.data.kspace import KSpace
from skiagraph.data.raw_data import write_ismrmrd
from skiagraph.errors import DataError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
scan = KSpace(np.ones((1, 2, 64, 64), np.complex64), np.ones(64, bool), (256.0, 256.0), 2.0)
for write in (write_fastmri, write_ismrmrd):
    try:
        write(sys.argv[1] + "/a.h5", scan)
    except DataError as error:
        print("refused:", error)
"""


def test_a_write_cut_off_by_the_system_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("refused:") == 2
    assert "a.h5 could not be written" in done.stdout
    assert not list(tmp_path.iterdir())


def test_missing_key_is_named_by_the_reader_itself(tmp_path: Path, scan: KSpace) -> None:
    path = _broken(tmp_path, scan, lambda content: content.pop("kspace"))
    with pytest.raises(DataError, match="no key 'kspace'"):
        read_fastmri(path)
