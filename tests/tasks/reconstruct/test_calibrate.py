"""Error bars are calibrated on hidden measured lines: exactly right samples get a factor of 1."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from helpers.tiny_scans import filled_network, prepared
from skiagraph.physics.fourier import CoilFourier, to_real
from skiagraph.tasks.reconstruct import calibrate
from skiagraph.tasks.reconstruct.calibrate import calibrate_spread, hide_lines
from skiagraph.tasks.reconstruct.posterior import SamplerSettings
from skiagraph.tasks.reconstruct.scan import PreparedScan

SLICES, SAMPLES, SIZE, NOISE = 12, 4, 48, 0.05


def _complex(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.complex(*torch.randn(2, *shape, generator=generator))


def _gaussian_world(spread: float) -> tuple[PreparedScan, torch.Tensor, torch.Tensor]:
    """Fully sampled scans of images mean + n, and samples mean + spread n' of a posterior that knows the mean."""
    draws = torch.Generator().manual_seed(0)
    maps = _complex(draws, SLICES, 4, SIZE, SIZE)
    maps = maps / maps.abs().square().sum(1, keepdim=True).sqrt()
    mean = _complex(draws, SLICES, SIZE, SIZE)
    truth = mean + 0.2 * _complex(draws, SLICES, SIZE, SIZE)
    samples = mean[:, None] + spread * 0.2 * _complex(draws, SLICES, SAMPLES, SIZE, SIZE)
    kspace = CoilFourier(maps).forward(to_real(truth)) + NOISE * _complex(draws, SLICES, 4, SIZE, SIZE)
    ones = torch.ones(SLICES)
    scan = PreparedScan(kspace, torch.ones(SLICES, 1, 1, SIZE), maps, NOISE * ones, ones, torch.full((SLICES,), SIZE))
    return scan, mean, samples


@pytest.mark.parametrize("spread", [1.0, 0.5, 2.0])
def test_the_factor_makes_the_samples_right(monkeypatch: pytest.MonkeyPatch, spread: float) -> None:
    scan, mean, samples = _gaussian_world(spread)
    monkeypatch.setattr(calibrate, "conditional_mean", lambda *_: mean)
    monkeypatch.setattr(calibrate, "posterior_samples", lambda *_: samples)
    network: Any = None
    found = calibrate_spread(network, scan, SamplerSettings(samples=SAMPLES))
    assert found.factor == pytest.approx(1 / spread, rel=0.05)
    assert found.slices == SLICES
    assert found.lines == int(hide_lines(scan, 0.5, 12)[1].sum())


def test_a_network_of_any_weights_gets_a_finite_factor() -> None:
    found = calibrate_spread(filled_network(), prepared(), SamplerSettings(samples=2, steps=2))
    assert 0 <= found.factor < 1e6
    assert found.lines > 0


def test_a_scan_of_calibration_lines_alone_gives_the_factor_1() -> None:
    scan = prepared()
    inner = torch.zeros(32)
    inner[10:22] = 1
    alone = replace(scan, mask=scan.mask * inner, kspace=scan.kspace * inner)
    found = calibrate_spread(filled_network(), alone, SamplerSettings(samples=2, steps=1))
    assert (found.factor, found.lines) == (1.0, 0)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_hidden_lines_are_measured_ones_beyond_the_centre(share: float) -> None:
    scan = prepared()
    for seed in range(20):
        reduced, hidden = hide_lines(scan, share, 8, seed)
        assert torch.equal(reduced.mask + hidden, scan.mask)
        assert float(hidden[..., 12:20].sum()) == 0
        assert torch.equal(reduced.kspace, scan.kspace * reduced.mask)
        assert torch.equal(hide_lines(scan, share, 8, seed)[1], hidden)
    outer = float(scan.mask.sum() - scan.mask[..., 12:20].sum())
    if share in (0.0, 1.0):
        assert float(hidden.sum()) == share * outer
