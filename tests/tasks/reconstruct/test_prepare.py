"""What is done to a scan before methods see it: white noise, fewer coils, maps given or found, honest warnings."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest
import torch

from helpers.exports import oversampled, write_export
from helpers.tiny_scans import SCANNER, column_mask, phantom, scan
from skiagraph.data.kspace import KSpace
from skiagraph.data.map_files import CoilMaps
from skiagraph.data.maps import espirit
from skiagraph.data.noise import noise_from_covariance, noise_from_scan, transform_coils
from skiagraph.data.simulation import centred_fft2, simulate
from skiagraph.data.slicing import SlicePose
from skiagraph.errors import DataError, InputError
from skiagraph.physics.coils import check_normalised, compress
from skiagraph.physics.fourier import CoilFourier, to_complex
from skiagraph.tasks.reconstruct.noise import find_noise
from skiagraph.tasks.reconstruct.prepare import Treatment, prepare_scan
from skiagraph.tasks.reconstruct.scan import LEAST_NOISE
from skiagraph.tasks.reconstruct.simulated import prepare_acquisitions
from skiagraph.tasks.reconstruct.training_files import scans_from_files

COVARIANCE = np.diag([1.0, 9.0, 1.0, 4.0]).astype(np.complex128)
COVARIANCE[0, 1] = COVARIANCE[1, 0] = 1.5


@cache
def _scan() -> KSpace:
    return scan(slices=2, truth=True)


def _coloured(level: float, seed: int = 0) -> tuple[KSpace, np.ndarray]:
    """A scan with strongly coloured noise and a noise scan of it; and that noise's covariance."""
    random = np.random.default_rng(seed)
    covariance = level**2 * COVARIANCE
    factor = np.linalg.cholesky(covariance)

    def noise(*shape: int) -> np.ndarray:
        draw = random.standard_normal((2, 4, int(np.prod(shape))))
        return (factor @ (draw[0] + 1j * draw[1])).reshape(4, *shape)

    clean = _scan()
    data = clean.data + np.stack([noise(32, 32) for _ in range(2)])
    noisy = replace(
        clean, data=(data * clean.mask).astype(np.complex64), noise_scan=noise(20_000).astype(np.complex64), truth=None
    )
    return noisy, covariance


def test_whitened_k_space_has_white_noise_of_the_stated_level() -> None:
    clean = replace(_scan(), noise_covariance=COVARIANCE, noise_scan=None)
    without = prepare_scan(clean, "a.h5", Treatment(prewhiten=False))
    noisy, covariance = _coloured(1.0)
    found = prepare_scan(noisy, "a.h5")
    assert found.record["noise"]["prewhitened"]
    level = float(np.sqrt(np.trace(covariance).real / 4))
    assert found.record["noise"]["noise_std"] == pytest.approx(level, rel=0.02)
    torch.testing.assert_close(found.scan.noise * found.scan.scale, torch.full((2,), level), rtol=0.02, atol=0.0)
    outer = (found.scan.kspace * found.scan.scale[:, None, None, None])[..., _scan().mask]
    ends = torch.cat([outer[:, :, :4], outer[:, :, -4:]], 2).permute(1, 0, 2, 3).reshape(4, -1).numpy()
    white = noise_from_scan(ends).covariance / level**2
    np.testing.assert_allclose(white, np.eye(4), atol=0.25)
    assert without.weight is None
    assert not without.record["noise"]["prewhitened"]


def test_weight_gives_back_the_images_of_the_files_own_coils() -> None:
    """Noise-free coils of one image, a stated covariance: weighted images are the root-sum-of-squares of the coils."""
    rows = (np.arange(32) - 16) / 16
    places = ((-1, 0), (1, 0), (0, 1), (0, -1))
    field = np.stack([np.exp(-((rows[:, None] - a) ** 2 + (rows[None] - b) ** 2)) for a, b in places])
    image = np.outer(np.hanning(32), np.hanning(32))
    data = centred_fft2((field * image)[None]).astype(np.complex64)
    full = KSpace(data, np.ones(32, dtype=bool), (256.0, 256.0), 2.0, noise_covariance=1e-4 * COVARIANCE)
    truth = torch.from_numpy(np.sqrt(((field * image) ** 2).sum(0)))
    for treatment in (Treatment(), Treatment(coils=3), Treatment(prewhiten=False, coils=3)):
        found = prepare_scan(full, "a.h5", treatment)
        whole = to_complex(CoilFourier(found.scan.maps).adjoint(found.scan.kspace)).abs()[0] * found.scan.scale
        shown = whole * (1.0 if found.weight is None else found.weight[0])
        inside = truth > 0.2 * truth.max()
        error = float((shown - truth)[inside].norm() / truth[inside].norm())
        assert error < (0.02 if treatment.coils is None else 0.05)
        if treatment.prewhiten:
            off = float((whole - truth)[inside].norm() / truth[inside].norm())
            assert off > 2 * error  # without the weight the shading of the whitened coils stays


def test_compression_keeps_the_strongest_coils_and_says_how_much() -> None:
    found = prepare_scan(_scan(), "a.h5", Treatment(coils=2))
    assert found.scan.kspace.shape[1] == found.scan.maps.shape[1] == 2
    kept = found.record["coil_compression"]
    assert kept["virtual_coils"] == 2
    assert 0.5 < kept["energy_kept"] < 1
    check_normalised(found.scan.maps)
    more = prepare_scan(_scan(), "a.h5", Treatment(coils=3)).record["coil_compression"]["energy_kept"]
    assert kept["energy_kept"] < more < 1
    whole = prepare_scan(_scan(), "a.h5", Treatment(coils=9))
    assert "coil_compression" not in whole.record
    assert whole.scan.kspace.shape[1] == 4


def test_a_single_coil_has_maps_of_ones_and_needs_no_more_than_the_centre() -> None:
    mask = np.arange(32) % 4 == 0
    one = replace(_scan(), data=_scan().data[:, :1] * mask, mask=mask & _scan().mask, noise_scan=None, truth=None)
    found = prepare_scan(one, "a.h5")
    assert torch.equal(found.scan.maps, torch.ones_like(found.scan.kspace))
    assert found.record["maps"] == "one coil: ones"
    assert "There are 1 contiguous lines" in found.warnings[0]
    off = np.roll(mask, 1)
    moved = replace(_scan(), data=_scan().data[:, :1] * 0 + off, mask=off, noise_scan=None, truth=None)
    with pytest.raises(DataError, match=r"a\.h5: the mask leaves out zero frequency \(column 16\)"):
        prepare_scan(moved, "a.h5")


@pytest.mark.parametrize("shape", [(31, 27), (40, 33), (24, 45)])
def test_odd_and_non_square_matrices(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    rows, columns = shape
    y, x = np.mgrid[:rows, :columns]
    image = ((y - rows / 2) ** 2 / rows**2 + (x - columns / 2) ** 2 / columns**2 < 0.12) * 1.0
    fields = np.stack([np.exp(1j * k - ((x / columns - k % 2) ** 2 + (y / rows - k // 2) ** 2)) for k in range(4)])
    noise = 0.001 * random.standard_normal((4, rows, columns))
    data = (centred_fft2(fields * image) + noise).astype(np.complex64)[None]
    content = KSpace(data, np.ones(columns, dtype=bool), (200.0, 200.0), 3.0)
    found = prepare_scan(content, "a.h5", Treatment(coils=3))
    assert found.scan.kspace.shape == (1, 3, *shape)
    check_normalised(found.scan.maps)


def test_a_separate_calibration_scan_gives_maps_and_unit_without_entering_the_data() -> None:
    whole, mask = scan(slices=1, mask=np.ones(32, dtype=bool)), np.arange(32) % 2 == 0
    inner = np.zeros(32, dtype=bool)
    inner[9:23] = True
    apart = replace(whole, data=whole.data * mask, mask=mask, calibration=(5 * whole.data * inner).astype(np.complex64))
    found = prepare_scan(apart, "a.h5", Treatment(prewhiten=False))
    assert bool((found.scan.kspace[..., ~torch.from_numpy(mask)] == 0).all())
    embedded = replace(whole, data=whole.data * (mask | inner), mask=mask | inner)
    expected = prepare_scan(embedded, "a.h5", Treatment(prewhiten=False))
    torch.testing.assert_close(found.scan.scale, expected.scan.scale, rtol=0.02, atol=0.0)
    assert float((found.scan.maps - expected.scan.maps).abs().mean()) < 0.02
    assert "14 separate calibration lines" in found.record["maps"]


def _given(change: float = 1.0) -> CoilMaps:
    maps = np.stack([espirit(data, 14) for data in _scan().data])
    return CoilMaps(change * maps, (0, 1), "", {})


def test_given_maps_are_taken_normalised_with_a_warning_or_refused() -> None:
    plain = Treatment(prewhiten=False, maps=_given())
    found = prepare_scan(_scan(), "a.h5", plain)
    torch.testing.assert_close(found.scan.maps, torch.from_numpy(_given().maps))
    assert found.warnings == ()
    scaled = prepare_scan(_scan(), "a.h5", Treatment(prewhiten=False, maps=_given(1.7)))
    torch.testing.assert_close(scaled.scan.maps, found.scan.maps)
    assert any("don't sum to one: sum |C|^2 runs from 2.89 to 2.89" in warning for warning in scaled.warnings)
    mixed = prepare_scan(_scan(), "a.h5", Treatment(maps=_given(), coils=3))
    assert mixed.scan.maps.shape[1] == 3
    check_normalised(mixed.scan.maps)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (lambda m: m[:, :3], InputError, r"maps: found \(coils, rows, columns\) \(3, 32, 32\), but .* \(4, 32, 32\)"),
        (lambda m: m[..., :30], InputError, r"\(4, 32, 30\)"),
        (lambda m: 0 * m, DataError, r"a\.h5: maps: they are zero almost everywhere"),
        (lambda m: m[:1], InputError, r"maps: slices \[1\] of .* are not there; the maps are of \[0\]"),
        (lambda m: m[:, [2, 3, 0, 1]], DataError, "maps: they explain .* of these coils in this order"),
    ],
    ids=["coils", "matrix", "zero", "slices", "another scan"],
)
def test_maps_that_cannot_be_right_are_refused(change: Any, kind: type[Exception], words: str) -> None:
    maps = np.asarray(change(_given().maps), dtype=np.complex64)
    wrong = CoilMaps(maps, tuple(range(len(maps))), "", {})
    with pytest.raises(kind, match=words):
        prepare_scan(_scan(), "a.h5", Treatment(prewhiten=False, maps=wrong))


def test_stated_noise_is_compared_with_what_is_seen() -> None:
    noisy, covariance = _coloured(2.0)
    level = float(np.sqrt(np.trace(covariance).real / 4))
    assert find_noise(noisy, level).warnings == ()
    for stated in (0.0, 0.01 * level):
        found = find_noise(noisy, stated)
        assert found.level == stated
        assert "noise will be taken for structure" in found.warnings[0]
        bare = find_noise(replace(noisy, noise_scan=None), stated)  # seen in outer k-space alone
        assert "outer k-space shows" in bare.warnings[0]
    assert "overrule the data" in find_noise(noisy, 10 * level).warnings[0]
    prepared = prepare_scan(noisy, "a.h5", Treatment(noise_std=0.0))
    assert float(prepared.scan.noise.min()) == pytest.approx(LEAST_NOISE)
    with pytest.raises(InputError, match="noise_std: found -1"):
        find_noise(noisy, -1.0)


def test_a_noise_scan_that_does_not_fit_the_data_is_named() -> None:
    noisy, _ = _coloured(2.0)
    assert noisy.noise_scan is not None
    for factor, words in ((0.1, "gain and bandwidth"), (10.0, "no more than")):
        found = find_noise(replace(noisy, noise_scan=(factor * noisy.noise_scan).astype(np.complex64)))
        assert words in found.warnings[0]
    zero = find_noise(replace(noisy, noise_scan=np.zeros((4, 100), np.complex64)))
    assert "is zero" in zero.warnings[0]
    assert zero.level is None
    short = find_noise(replace(noisy, noise_scan=noisy.noise_scan[:, :3]))
    assert short.whitener is None
    assert any("Not pre-whitened" in warning for warning in short.warnings)
    assert any("3 samples for 4 coils" in warning for warning in short.warnings)
    with pytest.raises(InputError, match="of 2 coils, but phantom has 4"):
        find_noise(noisy, given=noise_from_covariance(np.eye(2), "noise.h5"))
    stated = find_noise(replace(noisy, noise_scan=None), given=noise_from_covariance(4.0 * COVARIANCE, "noise.h5"))
    assert stated.record()["source"] == "noise.h5"
    white = transform_coils(stated.whitener if stated.whitener is not None else np.eye(4), noisy.data)
    assert white.shape == noisy.data.shape


def test_simulated_training_scans_can_be_whitened_with_their_noise_scans() -> None:
    acquired = simulate(phantom(), SlicePose(10.0), seed=3, case="a", settings=SCANNER)
    mask = torch.ones(32)
    plain, white = (prepare_acquisitions([acquired], [mask], 14, prewhiten=choice) for choice in (False, True))
    assert float(white.scan.noise * white.scan.scale) == pytest.approx(acquired.noise_std, rel=0.02)
    matrix = torch.from_numpy(noise_from_scan(acquired.noise_scan).whitener()).to(torch.complex64)[None]
    expected = compress(torch.from_numpy(acquired.kspace)[None], matrix)
    torch.testing.assert_close(
        white.scan.kspace * white.scan.scale[:, None, None, None], expected, rtol=1e-4, atol=1e-4
    )
    for slices in (plain, white):  # the truth is what the fully sampled scan shows
        image = to_complex(CoilFourier(slices.scan.maps).adjoint(slices.scan.kspace)).abs()
        inside = slices.head
        error = float((image - slices.truth)[inside].norm() / slices.truth[inside].norm())
        assert error < 0.05


def test_a_simulated_scan_without_noise_is_left_as_it_is() -> None:
    acquired = simulate(phantom(), SlicePose(10.0), seed=3, case="a", settings=replace(SCANNER, noise_fraction=0.0))
    plain, white = (
        prepare_acquisitions([acquired], [torch.ones(32)], 14, prewhiten=choice) for choice in (False, True)
    )
    torch.testing.assert_close(white.scan.kspace, plain.scan.kspace, rtol=0, atol=0)


def test_training_chooses_one_contrast_of_an_export(tmp_path: Path) -> None:
    def contrasts(lines: list[ismrmrd.Acquisition]) -> list[ismrmrd.Acquisition]:
        again = []
        for line in lines:
            copy = ismrmrd.Acquisition(line.getHead())
            copy.resize(*line.data.shape[::-1])
            copy.data[:], copy.idx.contrast = 2 * line.data, 1
            again.append(copy)
        return [*lines, *again]

    kspace = oversampled(scan(slices=1, mask=np.ones(32, dtype=bool)).data)
    file = write_export(tmp_path / "m.h5", kspace, column_mask(), image=(32, 32), change=contrasts)
    with pytest.raises(DataError, match="--counters contrast 0"):
        scans_from_files([file])
    first, second = (scans_from_files([file], counters={"contrast": value})[0] for value in (0, 1))
    torch.testing.assert_close(second.scale, 2 * first.scale)
