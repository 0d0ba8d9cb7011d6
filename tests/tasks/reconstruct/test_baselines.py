"""Baselines against closed forms, against the programs they stand for, and against each other."""

from __future__ import annotations

import itertools
import math
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from skiagraph.errors import DataError, InputError
from skiagraph.physics.fourier import CoilFourier, to_complex, to_real
from skiagraph.tasks.reconstruct.bart import bart_available, read_cfl, write_cfl
from skiagraph.tasks.reconstruct.baselines import (
    BASELINES,
    BartPics,
    Baseline,
    CGSense,
    L1Wavelet,
    TotalVariation,
    ZeroFilled,
    tune,
    tuned_baseline,
    tuned_strength,
)
from skiagraph.tasks.reconstruct.scan import PreparedScan


def _axes(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = ((np.arange(size) - (size - 1) / 2) / (size / 2) for size in shape)
    return np.meshgrid(rows, columns, indexing="ij")


def _maps(shape: tuple[int, int], coils: int) -> np.ndarray:
    """Gaussian maps on a ring, sum |C|^2 = 1 (method page, section 9.3)."""
    y, x = _axes(shape)
    angle = 2 * np.pi * np.arange(coils)[:, None, None] / coils
    maps = np.exp(-((x - np.cos(angle)) ** 2 + (y - np.sin(angle)) ** 2) / 1.5) * np.exp(1j * angle)
    return maps / np.sqrt((np.abs(maps) ** 2).sum(0))


def _object(shape: tuple[int, int], turn: float) -> np.ndarray:
    y, x = _axes(shape)
    image = 1.0 * ((x / 0.7) ** 2 + (y / 0.9) ** 2 < 1) - 0.6 * ((x / 0.6) ** 2 + (y / 0.8) ** 2 < 1)
    for number in range(5):
        angle = turn + 1.3 * number
        image += 0.3 * ((x - 0.4 * np.cos(angle)) ** 2 + (y - 0.5 * np.sin(angle)) ** 2 < 0.02)
    return image


def _scan(
    shape: tuple[int, int] = (64, 64), rate: int = 3, noise: float = 0.01, coils: int = 6, slices: int = 2
) -> tuple[PreparedScan, Tensor]:
    """Equispaced columns plus 8 central ones of a smooth-phase toy; rate 1 samples everything."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.from_numpy(_maps(shape, coils)).to(torch.complex64).expand(slices, -1, -1, -1).contiguous()
    y, x = _axes(shape)
    truth = torch.from_numpy(np.stack([_object(shape, 0.4 * item) for item in range(slices)]))
    image = (truth * torch.from_numpy(np.exp(1j * (x + 0.5 * y)))).to(torch.complex64)
    mask = torch.zeros(shape[1])
    mask[::rate] = 1
    mask[shape[1] // 2 - 4 : shape[1] // 2 + 4] = 1
    mask = mask.expand(slices, 1, 1, -1).contiguous()
    kspace = CoilFourier(maps).forward(to_real(image))
    kspace = (kspace + noise * torch.randn(*kspace.shape, 2, generator=generator)[..., 0]) * mask
    level = torch.full((slices,), noise)
    return PreparedScan(kspace, mask, maps, level, torch.ones(slices), torch.full((slices,), 8)), truth


def _error(image: Tensor, truth: Tensor) -> float:
    return float((image.abs() - truth).norm() / truth.norm())


FEW: list[Callable[[], Baseline]] = [
    ZeroFilled,
    lambda: CGSense(0.01, 5),
    lambda: L1Wavelet(0.003, 3),
    lambda: TotalVariation(0.003, 2),
]
IDS = ["zero-filled", "cg-sense", "l1-wavelet", "total-variation"]


@pytest.mark.parametrize("make", FEW, ids=IDS)
def test_a_slice_is_the_same_alone_and_nothing_foreign_is_touched(make: Callable[[], Baseline]) -> None:
    scan, _ = _scan((33, 30), slices=3)
    before, state = scan.kspace.clone(), np.random.get_state()[1].copy()  # noqa: NPY002
    together = make()(scan)
    assert together.shape == (3, 33, 30)
    assert together.dtype == torch.complex64
    torch.testing.assert_close(make()(scan.select([1]))[0], together[1], rtol=0, atol=1e-6)
    assert torch.equal(make()(scan), together)
    assert torch.equal(scan.kspace, before)
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize(
    "baseline",
    [ZeroFilled(), CGSense(0.0, 5), L1Wavelet(0.0, 5), TotalVariation(0.0, 5)],
    ids=IDS,
)
def test_fully_sampled_data_without_noise_are_recovered(baseline: Baseline) -> None:
    scan, truth = _scan(rate=1, noise=0.0, slices=1)
    assert _error(baseline(scan), truth) < 1e-4


def test_cg_sense_has_its_closed_form_and_converges_to_least_squares() -> None:
    scan, truth = _scan(rate=1, noise=0.0, slices=1)
    torch.testing.assert_close(CGSense(0.25, 5)(scan), ZeroFilled()(scan) / 1.25, rtol=1e-5, atol=1e-6)
    scan, truth = _scan(rate=2, noise=0.0, slices=1)
    errors = [_error(CGSense(0.0, steps)(scan), truth) for steps in (1, 5, 60)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.01


def test_l1_wavelet_on_full_data_is_the_soft_threshold_of_an_orthogonal_transform() -> None:
    scan, _ = _scan((32, 32), rate=1, noise=0.02, slices=1)
    image, strength = ZeroFilled()(scan)[0].numpy(), 0.05

    def haar(values: np.ndarray, axis: int) -> np.ndarray:
        even, odd = (np.take(values, range(start, values.shape[axis], 2), axis) for start in (0, 1))
        return np.concatenate([even + odd, even - odd], axis) / math.sqrt(2)

    def inverse(values: np.ndarray, axis: int) -> np.ndarray:
        smooth, detail = np.split(values, 2, axis)
        pairs = np.stack([smooth + detail, smooth - detail], axis + 1) / math.sqrt(2)
        return pairs.reshape(values.shape)

    bands = haar(haar(image, 0), 1)
    shrunk = bands * np.maximum(1 - strength / np.maximum(np.abs(bands), 1e-9), 0)
    expected = inverse(inverse(shrunk, 1), 0)
    found = L1Wavelet(strength, 3, "haar", 1, spin=False)(scan)[0].numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_without_spinning_it_is_sigpys_program_and_spinning_helps() -> None:
    from sigpy.mri.app import L1WaveletRecon

    scan, truth = _scan(slices=1)
    mask = scan.mask[0, 0].expand(64, 64).numpy()
    reference = L1WaveletRecon(
        scan.kspace[0].numpy(), scan.maps[0].numpy(), 0.005, weights=mask, alpha=1, max_iter=20, show_pbar=False
    ).run()
    plain = L1Wavelet(0.005, 20, "db4", None, spin=False)(scan)
    np.testing.assert_allclose(plain[0].numpy(), reference, atol=1e-5)
    assert _error(L1Wavelet(0.005, 20, "db4", None)(scan), truth) < _error(plain, truth)


def test_total_variation_reaches_the_minimum_of_its_objective() -> None:
    scan, _ = _scan(slices=1)
    strength = 0.01

    def objective(image: Tensor) -> float:
        residual = (scan.mask * CoilFourier(scan.maps).forward(to_real(image)) - scan.kspace).abs().square().sum()
        steps = sum((image - image.roll(1, axis)).abs().sum() for axis in (1, 2))
        return float(residual / 2 + strength * steps)

    few, many = (objective(TotalVariation(strength, count)(scan)) for count in (20, 150))
    assert many <= few < 1.05 * many
    for other in (ZeroFilled(), CGSense(0.01), L1Wavelet(0.005)):
        assert objective(other(scan)) > many


def test_regularised_baselines_rank_as_they_should_on_a_piecewise_constant_object() -> None:
    scan, truth = _scan(rate=4, noise=0.02)
    zero, linear, wavelet, variation = (
        _error(baseline(scan), truth)
        for baseline in (ZeroFilled(), CGSense(0.02), L1Wavelet(0.02), TotalVariation(0.02))
    )
    assert zero > linear > wavelet > variation


@pytest.mark.skipif(not bart_available(), reason="the program bart is not on the path")
def test_bart_solves_the_same_problem() -> None:
    scan, truth = _scan((64, 66), noise=0.01, slices=1)
    theirs, ours = BartPics(0.005)(scan), L1Wavelet(0.005)(scan)
    factor = (ours * theirs.conj()).sum() / theirs.abs().square().sum()
    assert abs(complex(factor) - 1) < 0.01
    assert float((factor * theirs - ours).norm() / ours.norm()) < 0.06
    assert _error(theirs, truth) < _error(CGSense(0.01)(scan), truth)
    assert torch.equal(BartPics(0.005)(scan), theirs)


def _program(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put a Python program named bart alone on the path."""
    program = folder / "bart"
    program.write_text(f"#!{sys.executable}\n{body}", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


def test_bart_is_called_with_files_it_understands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = (
        "import os, shutil, sys\n"
        f"open({str(tmp_path / 'call')!r}, 'w').write(' '.join(sys.argv[1:]) + '|' + os.environ['OMP_NUM_THREADS'])\n"
        "dims = {name: open(name + '.hdr').read().split('\\n')[1] for name in ('kspace', 'maps', 'mask')}\n"
        "assert dims == {'kspace': '20 18 1 6', 'maps': '20 18 1 6', 'mask': '20 18'}, dims\n"
        "shutil.copy('mask.hdr', 'image.hdr'), shutil.copy('mask.cfl', 'image.cfl')\n"
    )
    _program(tmp_path, monkeypatch, body)
    scan, _ = _scan((20, 18), slices=1)
    image = BartPics(0.004, 7)(scan)
    assert torch.equal(image[0].real, -scan.mask[0, 0].expand(20, 18))  # the sign that pics leaves out at 10 + 9
    call = (tmp_path / "call").read_text(encoding="utf-8")
    assert call == "pics -l1 -r 0.004 -i 7 -w 1 -p mask kspace maps image|1"


def test_bart_missing_or_failing_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, _ = _scan((20, 18), slices=1)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not bart_available()
    with pytest.raises(InputError, match="found no program `bart`"):
        BartPics(0.01)(scan)
    odd, _ = _scan((20, 17), slices=1)
    _program(tmp_path, monkeypatch, "import sys\nprint('out of memory', file=sys.stderr)\nsys.exit(3)\n")
    with pytest.raises(DataError, match="exit code 3: out of memory"):
        BartPics(0.01)(scan)
    with pytest.raises(InputError, match="found 20 x 17 pixels; allowed are even sizes"):
        BartPics(0.01)(odd)


def test_cfl_files_come_back_as_they_went(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    array = (generator.normal(size=(3, 4, 1, 2)) + 1j * generator.normal(size=(3, 4, 1, 2))).astype(np.complex64)
    write_cfl(tmp_path / "a", array)
    assert np.array_equal(read_cfl(tmp_path / "a"), array)
    assert np.fromfile(tmp_path / "a.cfl", np.complex64)[1] == array[1, 0, 0, 0]
    write_cfl(tmp_path / "b", array[..., :1])
    assert read_cfl(tmp_path / "b").shape == (3, 4)
    os.truncate(tmp_path / "a.cfl", 8)
    with pytest.raises(DataError, match="not a readable pair"):
        read_cfl(tmp_path / "a")
    with pytest.raises(DataError, match="not a readable pair"):
        read_cfl(tmp_path / "missing")


def test_tuning_finds_the_best_strength_and_tells_when_it_lies_at_the_edge() -> None:
    scan, truth = _scan(rate=4, noise=0.05)
    tuned = tune(CGSense, [1e-4, 0.03, 1e-2, 0.1, 1.0, 30.0], scan, truth)
    assert tuned.name == "cg-sense"
    assert tuned.strengths == (1e-4, 1e-2, 0.03, 0.1, 1.0, 30.0)
    assert tuned.psnr_db[tuned.strengths.index(tuned.strength)] == max(tuned.psnr_db)
    assert not tuned.at_edge
    assert tune(CGSense, [1.0, 30.0], scan, truth, truth > 0).at_edge
    assert tune(CGSense, [0.01, 0.1], scan, 7 * truth).psnr_db == pytest.approx(
        tune(CGSense, [0.01, 0.1], scan, truth).psnr_db
    )


def test_tuning_refuses() -> None:
    scan, truth = _scan((20, 18))
    with pytest.raises(ValueError, match="at least two different"):
        tune(CGSense, [0.1, 0.1], scan, truth)
    with pytest.raises(ValueError, match="truth: found 1 slices; the scan has 2"):
        tune(CGSense, [0.1, 0.2], scan, truth[:1])


@pytest.mark.parametrize("name", sorted(set(BASELINES) - {"zero-filled"}))
def test_tuned_strengths_rise_with_noise_and_stay_in_bounds(name: str) -> None:
    for acceleration in (1.0, 2.0, 4.0, 7.0):
        strengths = [tuned_strength(name, acceleration, noise) for noise in (0.0, 0.002, 0.01, 0.05, 1.0)]
        assert all(b > a for a, b in itertools.pairwise(strengths))
        assert 0 < strengths[0] < strengths[-1] < 100
    assert tuned_strength(name, 7.0, 0.01) == tuned_strength(name, 70.0, 0.01)


def test_tuned_baselines_take_each_slices_own_noise_and_mask() -> None:
    scan, _ = _scan()
    scan = PreparedScan(scan.kspace, scan.mask, scan.maps, torch.tensor([0.005, 0.05]), scan.scale, scan.centre)
    rate = 1 / float(scan.mask[0].mean())
    images = tuned_baseline("cg-sense")(scan)
    for item, noise in enumerate((0.005, 0.05)):
        alone = CGSense(tuned_strength("cg-sense", rate, noise))(scan.select([item]))
        torch.testing.assert_close(images[item], alone[0])
    torch.testing.assert_close(tuned_baseline("cg-sense", rate)(scan), images)
    assert torch.equal(tuned_baseline("zero-filled")(scan), ZeroFilled()(scan))
    assert {name: tuned_baseline(name).name for name in BASELINES} == {name: name for name in BASELINES}


def test_refusals() -> None:
    with pytest.raises(InputError, match="found 'sense'; allowed are zero-filled, cg-sense"):
        tuned_baseline("sense")
    with pytest.raises(InputError, match="found 'sense'"):
        tuned_strength("sense", 2.0, 0.01)
    with pytest.raises(ValueError, match=r"found 0\.5 and 0\.01"):
        tuned_strength("cg-sense", 0.5, 0.01)
    for make in (CGSense, L1Wavelet, TotalVariation, BartPics):
        with pytest.raises(ValueError, match=f"strength of {make.name}: found -1"):
            make(-1.0)
        with pytest.raises(ValueError, match=f"iterations of {make.name}: found 0"):
            make(0.1, iterations=0)
    with pytest.raises(ValueError, match="penalty"):
        TotalVariation(penalty=0.0)


def test_zero_filled_is_the_adjoint() -> None:
    scan, _ = _scan()
    torch.testing.assert_close(ZeroFilled()(scan), to_complex(CoilFourier(scan.maps).adjoint(scan.kspace)))
