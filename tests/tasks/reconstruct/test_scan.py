"""What is made of a scan before reconstruction: noise, unit, calibration lines."""

from __future__ import annotations

import math

import pytest
import torch

from helpers.tiny_scans import column_mask, prepared, scan
from skiagraph.data.maps import espirit
from skiagraph.tasks.reconstruct.scan import PreparedScan, calibration_lines, estimate_noise, prepare_slices


def _noise(sigma: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return sigma * torch.complex(*torch.randn(2, 2, 4, 64, 64, generator=generator))


@pytest.mark.parametrize("sigma", [0.003, 2.0])
def test_noise_is_found_where_signal_is_least(sigma: float) -> None:
    signal = torch.zeros(2, 4, 64, 64)
    signal[..., 24:40, 24:40] = 1000 * sigma
    mask = (torch.arange(64) % 2 == 0).float().expand(2, 1, 1, 64)
    found = estimate_noise((signal + _noise(sigma)) * mask, mask)
    torch.testing.assert_close(found, torch.full((2,), sigma), rtol=0.15, atol=0.0)


def test_noise_is_found_where_no_outer_column_was_sampled() -> None:
    mask = torch.zeros(2, 1, 1, 64)
    mask[..., 24:40] = 1
    found = estimate_noise(_noise(0.1) * mask, mask)
    torch.testing.assert_close(found, torch.full((2,), 0.1), rtol=0.15, atol=0.0)


def test_noise_of_a_simulated_scan_is_found() -> None:
    known = scan(slices=1)
    assert known.noise_scan is not None
    sigma = math.sqrt(float((abs(known.noise_scan) ** 2).mean()) / 2)
    flat = _noise(sigma)[:1, :, :32, :32]
    found = estimate_noise(flat, torch.ones(1, 1, 1, 32))
    assert float(found) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize(
    ("columns", "count"),
    [([4], 1), ([3, 4, 5], 3), ([0, 2, 3, 4, 7], 3), ([0, 1, 2], 0), (list(range(8)), 8), ([], 0)],
)
def test_calibration_lines_are_those_without_a_gap_about_zero_frequency(columns: list[int], count: int) -> None:
    mask = torch.zeros(8)
    mask[columns] = 1
    assert calibration_lines(mask) == count


def _prepare(factor: float = 1.0) -> PreparedScan:
    content = scan(slices=2)
    maps = torch.stack([torch.from_numpy(espirit(item, 14)) for item in content.data])
    return prepare_slices(factor * torch.from_numpy(content.data), torch.from_numpy(column_mask()).float(), maps)


def test_the_unit_needs_no_truth_and_scales_with_the_file() -> None:
    one, thousand = _prepare(), _prepare(1000.0)
    torch.testing.assert_close(thousand.scale, 1000 * one.scale)
    torch.testing.assert_close(thousand.kspace, one.kspace)
    torch.testing.assert_close(thousand.noise, one.noise)
    assert one.centre.tolist() == [15, 15]  # the even column beside the 14 inner ones is sampled too
    assert bool((one.kspace[..., ~torch.from_numpy(column_mask())] == 0).all())


def test_the_unit_depends_on_the_calibration_lines_alone() -> None:
    content = scan(slices=1)
    maps = torch.from_numpy(espirit(content.data[0], 14))[None]
    mask = torch.from_numpy(column_mask()).float()
    inner = mask.clone()
    inner[:9], inner[24:] = 0, 0
    data = torch.from_numpy(content.data)
    torch.testing.assert_close(prepare_slices(data, mask, maps).scale, prepare_slices(data, inner, maps).scale)


def test_slices_are_selected_joined_and_batched() -> None:
    both = prepared()
    again = PreparedScan.join([both.select([1]), both.select(slice(0, 1))])
    assert len(again) == 2
    assert torch.equal(again.kspace, both.kspace.flip(0))
    batch = both.batch(torch.tensor([1, 1, 0]))
    assert sorted(batch) == ["kspace", "maps", "mask", "noise"]
    assert batch["noise"].tolist() == pytest.approx([0.03, 0.03, 0.01])
