"""Scans moved by whole pixels, and means over them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from helpers.tiny_scans import prepared
from skiagraph.errors import InputError
from skiagraph.physics.fourier import CoilFourier, MaskedCoilFourier, to_complex, to_real
from skiagraph.tasks.reconstruct.posterior import SamplerSettings
from skiagraph.tasks.reconstruct.scan import PreparedScan
from skiagraph.tasks.reconstruct.settings import ReconstructSettings
from skiagraph.tasks.reconstruct.shifts import SHIFTS, over_shifts, shifted


def zero_filled(scan: PreparedScan) -> Tensor:
    """An estimate that moves with the object."""
    return to_complex(MaskedCoilFourier(scan.maps, scan.mask).adjoint(scan.kspace))


@pytest.mark.parametrize(("rows", "columns"), [(1, 0), (0, 3), (-5, 2)])
def test_a_shifted_scan_is_the_scan_of_the_shifted_object(rows: int, columns: int) -> None:
    scan = prepared()
    image = torch.randn(len(scan), 2, *scan.kspace.shape[-2:], generator=torch.Generator().manual_seed(0))
    full = replace(scan, kspace=CoilFourier(scan.maps).forward(image))
    moved = shifted(full, rows, columns)
    expected = CoilFourier(moved.maps).forward(image.roll((rows, columns), (-2, -1)))
    torch.testing.assert_close(moved.kspace, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(moved.mask, scan.mask)


def test_the_mean_over_shifts_moves_every_image_back() -> None:
    scan = prepared()
    torch.testing.assert_close(over_shifts(zero_filled, scan, 5), zero_filled(scan), rtol=1e-4, atol=1e-4)
    seen: list[PreparedScan] = []

    def corner(part: PreparedScan) -> Tensor:
        """One pixel of the grid, wherever the object is."""
        seen.append(part)
        image = torch.zeros_like(part.kspace[:, 0])
        image[:, 0, 0] = 1
        return image

    found = over_shifts(corner, scan, len(SHIFTS))
    assert len(seen) == len(SHIFTS)
    for rows, columns in SHIFTS:
        assert bool(torch.isclose(found[:, -rows, -columns], torch.tensor(0.2 + 0j)).all())
    assert torch.equal(over_shifts(corner, scan, 1)[:, 0, 0], torch.ones(len(scan), dtype=torch.complex64))


def test_shifts_are_refused_where_they_have_no_effect() -> None:
    assert SamplerSettings().shifts == 1
    with pytest.raises((InputError, ValueError), match="shifts has no effect with sampler 'reference'"):
        ReconstructSettings.model_validate({"prior": "p", "scan": "s", "sampler": "reference", "shifts": 2})


def test_the_estimate_sees_real_and_imaginary_parts_alike() -> None:
    scan = prepared()
    turned = replace(scan, kspace=1j * scan.kspace)
    one, other = (shifted(part, 2, 1).kspace for part in (scan, turned))
    torch.testing.assert_close(to_real(1j * one), to_real(other), rtol=1e-5, atol=1e-5)
