"""Figures that can be worked out by hand, the table made of them, and what is watched while a method runs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.tiny_scans import phantom_slices
from skiagraph.physics.fourier import MaskedCoilFourier, to_complex, to_real
from skiagraph.tasks.reconstruct.baselines import tuned_baseline
from skiagraph.tasks.reconstruct.rivals.classical import Classical
from skiagraph.tasks.reconstruct.rivals.figures import all_scores, chi_squared, score
from skiagraph.tasks.reconstruct.rivals.interface import Estimates, measure, mirrored
from skiagraph.tasks.reconstruct.rivals.memory import MemoryPeak
from skiagraph.tasks.reconstruct.rivals.table import Comparison, make_rows, markdown, page_table


def test_magnitudes_are_compared_after_one_factor() -> None:
    slices = phantom_slices()
    turned = 3 * slices.truth * torch.polar(torch.ones(()), torch.tensor(0.4))
    found = score(turned, slices.truth, slices.head)
    assert (found["psnr_db"] > 100).all()
    assert found["nmse"] == pytest.approx([0, 0], abs=1e-10)
    half = slices.truth.clone()
    half[:, :16] = 0
    assert (score(half, slices.truth, slices.head)["psnr_db"] < 25).all()


def test_chi_squared_is_one_for_the_image_behind_the_data() -> None:
    scan = phantom_slices().scan
    image = 0.3 * torch.randn(2, 32, 32, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    clean = MaskedCoilFourier(scan.maps, scan.mask).forward(to_real(image))
    noise = 0.05 * torch.randn(*clean.shape, 2, generator=torch.Generator().manual_seed(1))
    noisy = replace(scan, kspace=clean + scan.mask * torch.view_as_complex(noise), noise=torch.tensor([0.05, 0.1]))
    assert chi_squared(image, noisy) == pytest.approx([1, 0.25], rel=0.1)
    assert np.isnan(chi_squared(image, replace(noisy, noise=torch.tensor([0.0, 0.1])))).tolist() == [True, False]


def test_coverage_and_single_samples_need_samples() -> None:
    slices = phantom_slices()
    images = slices.truth.to(torch.complex64)
    plain = all_scores(Estimates(images), slices.scan, slices.truth, slices.head)
    assert np.isnan(plain["coverage"]).all()
    assert np.isnan(plain["sample_psnr_db"]).all()
    noise = 0.1 * torch.randn(2, 40, 32, 32, generator=torch.Generator().manual_seed(0))
    error = 0.1 * torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(1))
    samples = (3 + slices.truth[:, None] + noise).to(torch.complex64)
    found = all_scores(
        Estimates((3 + slices.truth + error).to(torch.complex64), samples),
        slices.scan,
        3 + slices.truth,
        slices.head,
    )
    assert found["coverage"] == pytest.approx([0.9, 0.9], abs=0.04)
    assert np.isfinite(found["sample_psnr_db"]).all()


def test_the_table_compares_pairs_and_leaves_out_what_does_not_apply() -> None:
    base = np.array([30.0, 32.0, 31.0, 35.0])
    nothing = np.full(4, math.nan)

    def scores(shift: float) -> dict[str, np.ndarray]:
        names = ("ssim", "nmse", "chi_squared")
        return {
            "psnr_db": base + shift,
            **dict.fromkeys(names, base / 40),
            "sample_psnr_db": nothing,
            "coverage": nothing,
        }

    facts = {"one": ("nothing", 0, 0.5, 0.1), "two": ("undersampled scans", 12, 1.5, math.nan)}
    rows = make_rows({"one": scores(-2.0), "two": scores(0.0)}, facts, ["a", "a", "b", "b"], "two")  # type: ignore[arg-type]
    assert rows[0].difference is not None
    assert (rows[0].difference.low, rows[0].difference.high) == (-2.0, -2.0)
    assert rows[1].difference is None
    assert rows[0].intervals["psnr_db"].groups == 2
    assert "coverage" not in rows[0].intervals
    comparison = Comparison("head, R = 4", "two", rows, 4, 2)
    text = markdown(comparison)
    assert "| one | nothing | 30.00 [29.00, 31.00] |" in text
    assert "| -2.00 [-2.00, -2.00] | 0 | 0.50 | 0.10 |" in text
    assert text.strip().endswith("| 12 | 1.50 |  |")
    table = page_table(comparison)
    assert len(table.rows) == 2
    assert table.rows[1][-1] is not None
    assert rows[1].record()["memory_gib"] is None


def test_mirrored_undoes_what_it_does() -> None:
    scan = phantom_slices().scan

    def zero_filled(part: object) -> torch.Tensor:
        seen = part
        return to_complex(MaskedCoilFourier(seen.maps, seen.mask).adjoint(seen.kspace))  # type: ignore[attr-defined]

    assert torch.allclose(mirrored(zero_filled, scan), zero_filled(scan), atol=1e-5)


def test_memory_and_time_are_watched() -> None:
    with MemoryPeak() as peak:
        held = torch.ones(64, 1024, 1024)
        held += 1
    assert 0.2 < peak.gib < 0.6
    scan = phantom_slices().scan
    found = measure(Classical(tuned_baseline("zero-filled")), scan, ("a", "b"))
    assert found.seconds > 0
    assert found.memory_gib >= 0
    assert found.estimates.images.shape == (2, 32, 32)


def test_images_are_judged_where_the_reference_shows_them() -> None:
    truth = torch.rand(2, 20, 12, generator=torch.Generator().manual_seed(0))
    wide = torch.full((2, 24, 16), 5.0, dtype=torch.complex64)
    wide[:, 2:22, 2:14] = truth.to(torch.complex64)
    found = score(wide, truth, torch.ones(2, 20, 12, dtype=torch.bool))
    assert (found["nmse"] < 1e-12).all()
