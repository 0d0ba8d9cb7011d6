"""Sensitivity maps: normalisation, combination and compression."""

from __future__ import annotations

import pytest
import torch

from helpers.operators import random_like
from skiagraph.physics.coils import (
    check_normalised,
    combine,
    compress,
    compression_matrix,
    kept_energy,
    normalise_maps,
    pad_coils,
    present_coils,
    root_sum_of_squares,
)


def test_normalised_maps_have_unit_power_on_their_support() -> None:
    raw = random_like((2, 4, 5, 6), torch.complex64)
    raw[:, :, 0] = 0
    maps = normalise_maps(raw)
    torch.testing.assert_close(root_sum_of_squares(maps)[:, 1:], torch.ones(2, 4, 6))
    assert not maps[:, :, 0].any()
    check_normalised(maps)
    with pytest.raises(ValueError, match=r"sum \|C\|\^2"):
        check_normalised(1.2 * maps)
    with pytest.raises(ValueError, match="maps: found"):
        check_normalised(maps.real)


def test_combination_undoes_the_coils_for_any_scale_of_the_maps() -> None:
    maps, image = 3 * random_like((2, 4, 5, 6), torch.complex128), random_like((2, 5, 6), torch.complex128, 1)
    maps[:, :, 0] = 0
    combined = combine(maps * image[:, None], maps)
    torch.testing.assert_close(combined[:, 1:], image[:, 1:])
    assert not combined[:, 0].any()


def test_compression_of_dependent_coils_is_lossless() -> None:
    hidden = random_like((2, 3, 6, 8), torch.complex128, 1)
    mixing = random_like((2, 8, 3), torch.complex128, 2)
    kspace = torch.einsum("bpc,bchw->bphw", mixing, hidden)
    matrix = compression_matrix(kspace[..., 2:6], 3)
    torch.testing.assert_close(matrix @ matrix.mH, torch.eye(3, dtype=torch.complex128).expand(2, 3, 3))
    small = compress(kspace, matrix)
    assert small.shape == (2, 3, 6, 8)
    torch.testing.assert_close(torch.einsum("bvp,bvhw->bphw", matrix.conj(), small), kspace)
    energy = small[..., 2:6].abs().square().sum((-2, -1))
    assert (energy[:, :-1] >= energy[:, 1:]).all()


def test_wrong_settings_are_named() -> None:
    kspace = random_like((1, 4, 5, 6), torch.complex64)
    with pytest.raises(ValueError, match="coils: found 5"):
        compression_matrix(kspace, 5)
    with pytest.raises(ValueError, match="calibration: found"):
        compression_matrix(kspace.real, 2)
    with pytest.raises(ValueError, match="matrix: found"):
        compress(kspace, torch.ones(1, 2, 3, dtype=torch.complex64))


def test_padded_coils_are_counted_out_again() -> None:
    maps = random_like((2, 3, 5, 6), torch.complex64)
    padded = pad_coils(maps, 5)
    assert padded.shape == (2, 5, 5, 6)
    assert torch.equal(padded[:, :3], maps)
    assert not padded[:, 3:].any()
    padded[0, 0] = 0  # a dead coil among the real ones is no padding
    padded[1, 2] = 0
    assert present_coils(padded).tolist() == [3, 2]
    assert pad_coils(maps, 3) is maps
    with pytest.raises(ValueError, match="count: found 2 for 3 coils"):
        pad_coils(maps, 2)


def test_kept_energy_is_that_of_the_strongest_combinations() -> None:
    orthonormal = torch.linalg.qr(random_like((4, 4), torch.complex128))[0]
    strengths = torch.tensor([3.0, 2.0, 1.0, 0.5], dtype=torch.complex128)
    calibration = (orthonormal * strengths @ torch.linalg.qr(random_like((30, 4), torch.complex128, 1))[0].mT)[None]
    matrix = compression_matrix(calibration, 2)
    torch.testing.assert_close(kept_energy(calibration, matrix), torch.tensor([13 / 14.25], dtype=torch.float64))
