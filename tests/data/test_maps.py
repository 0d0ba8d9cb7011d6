"""ESPIRiT: maps of unit norm that explain the coil images, agree with sigpy's, and refuse what cannot work."""

from __future__ import annotations

import numpy as np
import pytest

from skiagraph.data.maps import EspiritSettings, calibration_region, espirit, espirit_sigpy, normalised_maps
from skiagraph.data.simulation import Acquisition, ScanSettings, centred_ifft2, simulate
from skiagraph.data.slicing import Head, SlicePose
from skiagraph.errors import DataError, InputError


@pytest.fixture(scope="module")
def quiet(head: Head) -> Acquisition:
    settings = ScanSettings(coils=6, matrix=(64, 64), noise_fraction=0.0)
    return simulate(head, SlicePose(head.top_mm - 60.0), seed=0, case="a", settings=settings)


@pytest.fixture(scope="module")
def noisy(head: Head) -> Acquisition:
    settings = ScanSettings(coils=6, matrix=(64, 64))
    return simulate(head, SlicePose(head.top_mm - 60.0), seed=0, case="a", settings=settings)


def residual(maps: np.ndarray, scan: Acquisition) -> float:
    """Part of the noise-free coil images in the head that the maps cannot express."""
    images = centred_ifft2(scan.kspace)
    explained = maps * (maps.conj() * images).sum(axis=0)
    return float(np.linalg.norm((explained - images)[:, scan.mask]) / np.linalg.norm(images[:, scan.mask]))


@pytest.mark.parametrize(("lines", "limit"), [(24, 0.04), (12, 0.06)])
def test_maps_explain_the_coil_images(quiet: Acquisition, noisy: Acquisition, lines: int, limit: float) -> None:
    maps = espirit(noisy.kspace, lines)
    assert residual(maps, quiet) < limit
    np.testing.assert_allclose((np.abs(maps) ** 2).sum(axis=0), 1.0, atol=1e-5)
    assert maps.dtype == np.complex64


def test_undersampling_off_the_centre_changes_nothing(noisy: Acquisition) -> None:
    mask = np.zeros(64)
    mask[20:44] = 1
    np.testing.assert_array_equal(espirit(noisy.kspace * mask, 24), espirit(noisy.kspace, 24))


def test_agreement_with_sigpy_at_equal_settings(noisy: Acquisition) -> None:
    ours = espirit(
        noisy.kspace, 24, EspiritSettings(6, 0.02, 0.0, calibration_rows=24, reference="first", refinements=12)
    )
    theirs = espirit_sigpy(noisy.kspace, 24)
    overlap = np.abs((ours.conj() * theirs).sum(axis=0))[noisy.mask]
    assert overlap.min() > 0.999


def test_coarse_eigenvectors_equal_exact_ones(noisy: Acquisition) -> None:
    exact = espirit(noisy.kspace, 24, EspiritSettings(grid=1, refinements=1))
    fast = espirit(noisy.kspace, 24, EspiritSettings())
    overlap = np.abs((exact.conj() * fast).sum(axis=0))[noisy.mask]
    assert overlap.min() > 0.999


@pytest.mark.parametrize("noise", [0.03, 0.06])
def test_the_noise_floor_is_found_where_a_fixed_threshold_fails(head: Head, quiet: Acquisition, noise: float) -> None:
    settings = ScanSettings(coils=6, matrix=(64, 64), noise_fraction=noise)
    loud = simulate(head, quiet.pose, seed=0, case="a", settings=settings)
    found = residual(espirit(loud.kspace, 24), quiet)
    fixed = residual(espirit(loud.kspace, 24, EspiritSettings(noise_margin=0.0)), quiet)
    assert found < 0.15 < fixed


def test_crop_cuts_the_background_only(noisy: Acquisition) -> None:
    maps = espirit(noisy.kspace, 24, EspiritSettings(crop=0.9))
    kept = np.abs(maps).sum(axis=0) > 0
    assert kept[noisy.mask].mean() > 0.98
    assert kept[~noisy.mask].mean() < 0.9


@pytest.mark.parametrize("reference", ["first", "principal"])
def test_phase_reference_is_real_and_positive(noisy: Acquisition, reference: str) -> None:
    turned = noisy.hidden_maps * np.exp(1j * np.linspace(0, 3, 64))
    fixed = normalised_maps(turned, reference)  # type: ignore[arg-type]
    np.testing.assert_allclose(np.abs(fixed), np.abs(normalised_maps(noisy.hidden_maps, "first")), atol=1e-5)
    if reference == "first":
        np.testing.assert_allclose(fixed[0].imag, 0.0, atol=1e-6)
        assert (fixed[0].real >= 0).all()
    np.testing.assert_allclose(fixed, normalised_maps(fixed, reference), atol=1e-4)  # type: ignore[arg-type]


def test_impossible_calibration_is_refused(noisy: Acquisition) -> None:
    mask = np.zeros(64)
    mask[::4] = 1
    with pytest.raises(DataError, match="centre lines hold no signal"):
        espirit(noisy.kspace * mask, 24)
    with pytest.raises(InputError, match="columns is 65"):
        calibration_region(noisy.kspace, 65, 24)
    with pytest.raises(DataError, match="needs 6 lines"):
        espirit(noisy.kspace, 4)
    broken = noisy.kspace.copy()
    broken[0, 32, 32] = np.nan
    with pytest.raises(DataError, match="NaN"):
        espirit(broken, 24)
    with pytest.raises(InputError, match="reference"):
        EspiritSettings(reference="second")  # type: ignore[arg-type]
