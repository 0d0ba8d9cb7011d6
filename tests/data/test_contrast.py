"""The contrast simulator: the table of signals, tissue shares, texture, shading, noise and streams."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from skiagraph.data.contrast import SEQUENCES, TISSUES, InversionRecovery, SpinEcho
from skiagraph.data.contrast_simulation import ContrastOptions, residual_texture, shading, simulate_contrasts
from skiagraph.data.contrast_tissue import (
    TissueMeans,
    fractions_from_intensity,
    fractions_from_maps,
    tissue_means,
)
from skiagraph.errors import DataError, InputError

QUIET = ContrastOptions(
    noise_percent=0, bias_percent=0, time_jitter=0, density_jitter=0, texture_percent=0, residual_limit=0
)


@pytest.mark.parametrize(
    ("tissue", "wanted"),
    [
        ("csf", (0.169, 0.648, 0.582, 0.000)),
        ("grey", (0.324, 0.657, 0.256, 0.150)),
        ("white", (0.393, 0.577, 0.184, 0.129)),
        ("lesion", (0.346, 0.686, 0.496, 0.363)),
    ],
)
def test_the_table_of_signals(tissue: str, wanted: tuple[float, ...]) -> None:
    entry = TISSUES[tissue]
    found = [
        float(SEQUENCES[name].signal(entry.proton_density, entry.t1_ms, entry.t2_ms))
        for name in ("T1", "PD", "T2", "FLAIR")
    ]
    assert found == pytest.approx(wanted, abs=6e-4)


def test_the_inversion_time_nulls_fluid_and_the_exponent_is_the_derivative() -> None:
    flair = SEQUENCES["FLAIR"]
    assert isinstance(flair, InversionRecovery)
    assert flair.inversion_ms == pytest.approx(1704, abs=1)
    echo = SpinEcho(500.0, 15.0)
    step = 1e-5
    numeric = np.log(echo.signal(1, 833 * np.exp(step), 83) / echo.signal(1, 833 * np.exp(-step), 83)) / (2 * step)
    assert float(echo.t1_exponent(833.0)) == pytest.approx(float(numeric), rel=1e-6)


def brain(side: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """T1-like shells of fluid, grey and white matter with soft borders: image, fractions, mask."""
    line = np.linspace(-1, 1, side)
    x, y, z = np.meshgrid(line, line, line, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    mask = radius < 0.95
    white = np.clip((0.65 - radius) / 0.15 + 0.5, 0, 1)
    csf = np.clip((radius - 0.82) / 0.12 + 0.5, 0, 1)
    fractions = np.stack([csf, 1 - white - csf, white]).astype(np.float32) * mask
    image = 0.3 * fractions[0] + 0.7 * fractions[1] + 1.0 * fractions[2]
    image += 0.02 * np.random.default_rng(seed).normal(size=image.shape) * mask
    return image.astype(np.float32), fractions, mask


def test_means_and_shares_are_found_again() -> None:
    image, fractions, mask = brain(40)
    means = tissue_means(image[mask])
    assert (means.csf, means.grey, means.white) == pytest.approx((0.3, 0.7, 1.0), abs=0.05)
    found = fractions_from_intensity(image, mask, TissueMeans(0.3, 0.7, 1.0))
    np.testing.assert_allclose(found.sum(0)[mask], 1, atol=1e-6)
    assert float(found[:, ~mask].max()) == 0
    assert float(np.abs(found - fractions).mean()) < 0.03
    given = fractions_from_maps(fractions[1], fractions[2], mask)
    np.testing.assert_allclose(given, fractions, atol=1e-5)


def test_contrasts_without_chance_are_the_mixed_signals_in_their_orders() -> None:
    image, fractions, mask = brain()
    made = simulate_contrasts(image, fractions, mask, (1.0, 1.0, 1.0), QUIET)
    orders = {"T1": ("white", "grey", "csf"), "PD": ("grey", "csf", "white"), "T2": ("csf", "grey", "white")}
    names = ("csf", "grey", "white")
    for contrast, found in made.images.items():
        signals = {
            name: float(SEQUENCES[contrast].signal(*(getattr(TISSUES[name], key) for key in TISSUES[name].__dict__)))
            for name in names
        }
        wanted = sum(fractions[index] * signals[name] for index, name in enumerate(names))
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        np.testing.assert_array_equal(found, made.clean[contrast])
        if contrast in orders:
            assert [*sorted(signals, key=signals.get, reverse=True)] == [*orders[contrast]]


def test_a_brighter_spot_becomes_a_shorter_t1_everywhere() -> None:
    image, fractions, mask = brain()
    spotted = image.copy()
    spotted[10:14, 10:14, 10:14] *= 1.08
    options = replace(QUIET, residual_limit=0.25)
    plain, changed = (simulate_contrasts(i, fractions, mask, (1.0, 1.0, 1.0), options) for i in (image, spotted))
    spot = (slice(11, 13),) * 3
    for name, sign in (("T1", 1), ("T2", -1), ("PD", -1)):
        difference = (changed.clean[name] - plain.clean[name])[spot].mean() / plain.clean[name][spot].mean()
        assert sign * difference > 0.01, name
    texture = residual_texture(spotted, fractions, mask, (1.0, 1.0, 1.0), options)
    assert float(np.abs(texture).max()) <= 0.25
    assert float(np.abs(texture[~mask]).max()) == 0


@pytest.mark.parametrize("percent", [20.0, 40.0])
def test_the_shading_has_its_range_over_the_brain(percent: float) -> None:
    _, _, mask = brain()
    fields = [shading(mask, percent, np.random.default_rng(3), np.random.default_rng(seed))[mask] for seed in (0, 1)]
    for field in fields:
        assert float(field.min()) == pytest.approx(1 - percent / 200, abs=1e-5)
        assert float(field.max()) == pytest.approx(1 + percent / 200, abs=1e-5)
    assert 0.8 < float(np.corrcoef(fields)[0, 1]) < 0.9999  # one coil, and a small part of its own


def test_the_noise_is_rician_of_the_stated_size() -> None:
    image, fractions, mask = brain()
    made = simulate_contrasts(image, fractions, mask, (1.0, 1.0, 1.0), replace(QUIET, noise_percent=3.0))
    white = float(SEQUENCES["T1"].signal(*TISSUES["white"].__dict__.values()))
    assert made.noise_std["T1"] == pytest.approx(0.03 * white)
    air = made.images["T1"][~mask]
    assert float(air.mean()) == pytest.approx(made.noise_std["T1"] * np.sqrt(np.pi / 2), rel=0.02)
    bright = (made.images["T1"] - made.clean["T1"])[mask]
    assert float(bright.std()) == pytest.approx(made.noise_std["T1"], rel=0.05)


def test_every_contrast_has_a_texture_and_streams_of_its_own() -> None:
    image, fractions, mask = brain()
    options = replace(QUIET, texture_percent=1.5)
    made = simulate_contrasts(image, fractions, mask, (1.0, 1.0, 1.0), options, seed=5, case="head")
    plain = simulate_contrasts(image, fractions, mask, (1.0, 1.0, 1.0), QUIET)
    ratios = [(made.clean[name][mask] / plain.clean[name][mask] - 1) for name in ("T1", "T2")]
    for ratio in ratios:
        assert float(ratio.std()) == pytest.approx(0.015, rel=1e-3)
    assert abs(float(np.corrcoef(ratios)[0, 1])) < 0.25
    full = ContrastOptions()
    first = simulate_contrasts(image, fractions, mask, (1.0, 1.0, 1.0), full, seed=5, case="head")
    alone = simulate_contrasts(
        image, fractions, mask, (1.0, 1.0, 1.0), replace(full, contrasts=("T2",)), seed=5, case="head"
    )
    np.testing.assert_array_equal(first.images["T2"], alone.images["T2"])
    other = simulate_contrasts(image, fractions, mask, (1.0, 1.0, 1.0), full, seed=6, case="head")
    assert not np.array_equal(first.images["T2"], other.images["T2"])
    assert first.parameters != other.parameters


def test_odd_input_is_refused_by_name() -> None:
    image, fractions, mask = brain()
    for make, error, words in (
        (lambda: ContrastOptions(contrasts=("T3",)), InputError, "contrasts: T3"),
        (lambda: ContrastOptions(noise_percent=-1), InputError, "noise_percent is -1"),
        (lambda: TissueMeans(0.5, 0.4, 1.0), DataError, "must rise"),
        (lambda: tissue_means(np.zeros(10)), DataError, "no positive intensity"),
        (lambda: simulate_contrasts(image, fractions[:2], mask, (1.0,) * 3), InputError, "must agree"),
        (lambda: simulate_contrasts(image, fractions, mask & False, (1.0,) * 3), DataError, "mask is empty"),
        (lambda: fractions_from_maps(image[1:], image, mask), InputError, "maps have shapes"),
    ):
        with pytest.raises(error, match=words):
            make()
