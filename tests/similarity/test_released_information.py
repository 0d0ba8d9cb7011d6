"""The released layer: its patch values, windows, maps and faults, against the formulas written out."""

from __future__ import annotations

import pytest
import torch

from helpers.local_information_by_hand import noised, patch_information, phantom, released_map
from skiagraph.similarity import LocalInformation
from skiagraph.similarity.information import paired_information
from skiagraph.similarity.windows import tiled_list

RAMP = torch.arange(9) / 8
TWO = torch.tensor([0.0] * 3 + [1.0] * 6)
MID = torch.tensor([0.25] * 3 + [0.75] * 6)


def at(level: float) -> torch.Tensor:
    """A constant patch, that many grey levels up."""
    return torch.full((9,), level / 255 + (1e-4 if level > 0 else -1e-4))


def value(u: torch.Tensor, v: torch.Tensor, normalise: bool) -> float:
    """Our value of one patch against one window."""
    histogram = LocalInformation.reference()._histogram()
    rows = [histogram.weights(torch.trunc(255 * patch)) for patch in (u, v)]
    return float(paired_information(rows[0][None], rows[1][None, :, None], 1e-10, normalise))


@pytest.mark.parametrize(
    ("u", "v", "bits", "normalised"),
    [
        (RAMP, RAMP, 2.81850, 0.60875),
        (RAMP, 1 - RAMP, 2.81845, 0.60874),
        (RAMP, torch.full((9,), 0.5), 0.0, 0.0),
        (torch.full((9,), 0.5), RAMP, 0.0, 0.0),
        (TWO, TWO, 0.91830, 0.45711),
        (TWO, 1 - TWO, 0.91830, 0.45711),
        (MID, MID, 0.91830, 0.34373),
        (RAMP, at(-60), 3.90706, 1.67159),
        (RAMP, at(-65), 4.61871, 1.99484),
        (RAMP, at(-100), 4.63000, 2.0),
        (RAMP, at(400), 4.63000, 2.0),
        (torch.full((9,), 0.5), at(-100), 1.75312, 2.0),
    ],
)
def test_values_of_patches(u: torch.Tensor, v: torch.Tensor, bits: float, normalised: float) -> None:
    assert patch_information(u, v) == pytest.approx((bits, normalised), abs=1e-5)
    assert value(u, v, False) == pytest.approx(bits, abs=2e-5)
    assert value(u, v, True) == pytest.approx(normalised, abs=2e-5)


def test_windows_of_side_three_and_five() -> None:
    p = 7
    assert (tiled_list(20, 3)[p] - p).tolist() == [[0, -1, 0], [-1, 0, 1], [0, 1, 0]]
    assert (tiled_list(20, 5)[p] - p).tolist() == [
        [0, 1, -2, -1, 0],
        [1, -2, -1, 0, 1],
        [-2, -1, 0, 1, 2],
        [-1, 0, 1, 2, -1],
        [0, 1, 2, -1, 0],
    ]
    assert tiled_list(20, 3)[0].tolist() == [[-1, -1, 0], [-1, 0, 1], [0, 1, 0]]
    assert tiled_list(20, 3)[19].tolist() == [[19, 18, 19], [18, 19, -1], [19, -1, -1]]


def pair(height: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A textured image with a flat half, and a noisy one that leaves the range."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.rand(height, width, generator=generator)
    first[:, : width // 2] = (0.3 + 0.1 * first[:, : width // 2]).round(decimals=1)
    return first, first + 0.8 * torch.randn(height, width, generator=generator)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(("patch", "height", "width"), [(3, 12, 9), (5, 7, 6)])
def test_maps_equal_a_loop_over_pixels_and_windows(patch: int, height: int, width: int, normalise: bool) -> None:
    pairs = [pair(height, width, seed) for seed in (0, 1)]
    wanted = torch.stack([released_map(*images, patch, normalise) for images in pairs])
    first, second = (torch.stack(images).unsqueeze(1) for images in zip(*pairs, strict=True))
    layer = LocalInformation.reference(patch, normalise=normalise)
    torch.testing.assert_close(layer(first, second).squeeze(1), wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(layer(first[1:], second[1:]).squeeze(1), wanted[1:], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("normalise", "edge", "corner"), [(True, 0.3559, 0.3805), (False, 0.8600, 0.9256)], ids=["normalised", "bits"]
)
@pytest.mark.parametrize("size", [8, 13])
def test_the_border_of_a_constant_image_is_spurious(size: int, normalise: bool, edge: float, corner: float) -> None:
    image = torch.full((1, 1, size, size), 0.5)
    found = LocalInformation.reference(normalise=normalise)(image, image)[0, 0]
    assert float(found[1:-1, 1:-1].abs().max()) < 1e-6
    torch.testing.assert_close(found[0, 1:-1], torch.full((size - 2,), edge), rtol=0, atol=1e-4)
    assert float(found[-1, -1]) == pytest.approx(corner, abs=1e-4)


def batch(*images: torch.Tensor) -> torch.Tensor:
    return torch.stack(images).unsqueeze(1)


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def test_self_maps_of_the_phantom() -> None:
    images = batch(*(phantom(contrast, anatomy) for anatomy in "AB" for contrast in ("T1", "PD")))
    maps = LocalInformation.reference()(images, images)
    means, largest = maps.flatten(1).mean(1), maps.flatten(1).amax(1)
    torch.testing.assert_close(means, torch.tensor([0.0782, 0.0745, 0.0766, 0.0733]), rtol=0, atol=1e-4)
    torch.testing.assert_close(largest, torch.tensor([0.4747, 0.4609, 0.4743, 0.4440]), rtol=0, atol=1e-4)
    assert correlation(maps[0], maps[1]) == pytest.approx(0.997, abs=1e-3)
    assert correlation(maps[0], maps[3]) == pytest.approx(0.097, abs=1e-3)
    assert correlation(maps[0], maps[2]) == pytest.approx(0.100, abs=1e-3)
    bits = LocalInformation.reference(normalise=False)(images[:1], images[:1])
    assert float(bits.mean()) == pytest.approx(0.1917, abs=1e-4)
    assert float(bits.max()) == pytest.approx(1.5850, abs=1e-4)


@pytest.mark.parametrize(
    ("time", "saturated", "raw", "clamped"),
    [(49, 0, 0.078, 0.126), (299, 0.0732, 0.922, 0.076), (999, 0.1870, 0.964, 0.085)],
)
def test_noise_saturates_the_released_map(time: int, saturated: float, raw: float, clamped: float) -> None:
    right, wrong, other = phantom("T1", "A"), phantom("T1", "B"), phantom("PD", "A")
    state = noised(right, time)
    maps = LocalInformation.reference()(batch(right, wrong, other), batch(state, state, state))
    assert float((maps[0] > 1.9).float().mean()) == pytest.approx(saturated, abs=0.005)
    assert correlation(maps[0], maps[1]) == pytest.approx(raw, abs=0.01)
    assert correlation(maps[0], maps[2]) > 0.997
    inside = LocalInformation.reference()(batch(right, wrong), batch(state, state).clamp(0, 1))
    assert float(inside.max()) < 1
    assert correlation(inside[0], inside[1]) == pytest.approx(clamped, abs=0.01)


def test_no_gradient_passes() -> None:
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    layer = LocalInformation.reference()
    assert not layer.has_gradient
    assert not layer(image, image).requires_grad


def test_memory_never_changes_a_map() -> None:
    first, second = (image[None, None] for image in pair(40, 50, 3))
    whole = LocalInformation.reference()(first, second)
    torch.testing.assert_close(LocalInformation.reference(memory=2**20)(first, second), whole, rtol=0, atol=3e-6)
