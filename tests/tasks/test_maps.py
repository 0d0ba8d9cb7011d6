"""The command `maps`: true coils found from calibration lines, written with the scan's checksum, bad scans refused."""

from __future__ import annotations

import json
from pathlib import Path

import ismrmrd
import numpy as np
import pytest

from helpers.exports import write_export
from skiagraph.cli import main
from skiagraph.data.archives import file_sha256
from skiagraph.data.fastmri import write_fastmri
from skiagraph.data.kspace import KSpace
from skiagraph.data.map_files import CoilMaps, read_maps, write_maps
from skiagraph.data.maps import espirit
from skiagraph.errors import DataError
from skiagraph.tasks.maps import MapsSettings
from skiagraph.tasks.maps import write_maps as maps_command

SIZE, COILS, LINES = 32, 4, 16


def scan(folder: Path, lines: int = LINES) -> tuple[Path, KSpace]:
    """Write three slices of a smooth object seen by four smooth coils; every second column besides the centre ones."""
    generator = np.random.default_rng(3)
    grid = (np.arange(SIZE) - SIZE // 2) / SIZE
    rows, columns = grid[:, None], grid[None, :]
    angles = 2 * np.pi * np.arange(COILS) / COILS
    coils = np.stack([np.exp(-((rows - np.sin(a)) ** 2 + (columns - np.cos(a)) ** 2) + 1j * a) for a in angles])
    images = [np.exp(-((rows**2 + columns**2) / (0.02 * (3 + index)))) for index in range(3)]
    signals = np.stack([coils * image for image in images])
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(signals, axes=(-2, -1)), norm="ortho"), axes=(-2, -1))
    kspace += 1e-4 * (generator.standard_normal(kspace.shape) + 1j * generator.standard_normal(kspace.shape))
    mask = np.arange(SIZE) % 2 == 0
    mask[SIZE // 2 - lines // 2 : SIZE // 2 + lines // 2] = True
    data = (kspace * mask).astype(np.complex64)
    case = KSpace(data, mask, field_of_view_mm=(64.0, 64.0), slice_spacing_mm=5.0, source="toy")
    return write_fastmri(folder / "toy.h5", case), case


def test_maps_are_those_of_the_library_and_name_their_scan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, case = scan(tmp_path)
    assert main(["maps", str(path), "--slices", "2,0", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["maps"] == str(tmp_path / "toy.maps.h5")
    assert shown["shape"] == [2, COILS, SIZE, SIZE]
    found = read_maps(shown["maps"])
    assert found.slices == (2, 0)
    assert found.scan_sha256 == file_sha256(path)
    assert found.settings["calibration_lines"] == shown["calibration_lines"]
    expected = espirit(case.data[2], shown["calibration_lines"])
    np.testing.assert_allclose(found.maps[0], expected, atol=1e-5)


def test_dry_run_tells_what_would_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = scan(tmp_path)
    assert main(["maps", str(path), "--dry-run", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)["expectation"]
    assert cost["slices"] == 3
    assert cost["bytes"] == 3 * COILS * SIZE * SIZE * 8
    assert not (tmp_path / "toy.maps.h5").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--lines", "30"], 2, "lines: found 30"),
        (["--slices", "7"], 2, "has 3 slices"),
        (["--lines", "2"], 2, "greater than or equal to 6"),
    ],
)
def test_wrong_settings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    path, _ = scan(tmp_path)
    assert main(["maps", str(path), *words]) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]


def test_scans_without_calibration_lines_and_foreign_files_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = scan(tmp_path, lines=2)
    assert main(["maps", str(path)]) == 3
    assert "calibration lines" in capsys.readouterr().err
    with pytest.raises(DataError, match="no coil maps"):
        read_maps(path)
    with pytest.raises(DataError, match="2 slices"):
        CoilMaps(np.zeros((1, 2, 8, 8), np.complex64), (0, 1), "", {})
    with pytest.raises(DataError, match="NaN"):
        CoilMaps(np.full((1, 2, 8, 8), np.nan, np.complex64), (0,), "", {})


def test_maps_survive_the_disk_bit_for_bit(tmp_path: Path) -> None:
    maps = (np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5) * (1 + 2j)).astype(np.complex64)
    back = read_maps(write_maps(tmp_path / "m.h5", CoilMaps(maps, (4, 7), "ab", {"crop": 0.5})))
    np.testing.assert_array_equal(back.maps, maps)
    assert (back.slices, back.scan_sha256, back.settings) == ((4, 7), "ab", {"crop": 0.5})


def test_maps_of_a_separate_calibration_scan_and_of_one_contrast(tmp_path: Path) -> None:
    kspace = np.random.default_rng(0).standard_normal((1, 2, 24, 24)).astype(np.complex64)
    mask = np.arange(24) % 2 == 0
    mask[6:18] = True

    def contrasts(lines: list[ismrmrd.Acquisition]) -> list[ismrmrd.Acquisition]:
        imaging = [line for line in lines if not line.is_flag_set(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)]
        imaging[0].idx.contrast = 1
        for column in range(0, 24, 2):
            for contrast in (0, 1):
                line = ismrmrd.Acquisition.from_array(np.ascontiguousarray(kspace[0, :, :, column]))
                line.idx.kspace_encode_step_1, line.idx.contrast, line.center_sample = column, contrast, 12
                imaging.append(line)
        return [*imaging[1:], *(line for line in lines if line.is_flag_set(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION))]

    scan = write_export(
        tmp_path / "a.h5",
        kspace,
        mask,
        image=(24, 24),
        calibration=range(6, 18),
        both=False,
        mode="separate",
        change=contrasts,
    )
    with pytest.raises(DataError, match="--counters contrast 0"):
        maps_command(MapsSettings(scan=scan))
    result = maps_command(MapsSettings(scan=scan, counters={"contrast": 1}))
    assert (result.shape, result.lines) == ((1, 2, 24, 24), 12)
