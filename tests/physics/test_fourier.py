"""Centred transforms, scan operators and the coil toy (measurement-score, sections 9.3 and 13, items 4 and 17)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from helpers.operators import check_autograd, check_batch, random_like
from skiagraph.diffusion.streams import Streams
from skiagraph.physics.fourier import (
    CoilFourier,
    MaskedCoilFourier,
    MaskedFourier,
    centred_fft2,
    centred_ifft2,
    to_complex,
    to_real,
)
from skiagraph.physics.masks import RandomColumns


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (7, 10), (1, 5)])
def test_centred_transform_equals_its_definition_and_is_unitary(size: tuple[int, int]) -> None:
    x = random_like((2, *size), torch.complex128)
    rows, columns = (torch.arange(n, dtype=torch.float64) - n // 2 for n in size)
    left = torch.exp(-2j * math.pi * rows[:, None] * rows / size[0])
    right = torch.exp(-2j * math.pi * columns[:, None] * columns / size[1])
    torch.testing.assert_close(centred_fft2(x), left @ x @ right.T / math.sqrt(size[0] * size[1]))
    torch.testing.assert_close(centred_ifft2(centred_fft2(x)), x)
    torch.testing.assert_close(centred_fft2(centred_ifft2(x)), x)
    torch.testing.assert_close(centred_fft2(x).norm(), x.norm())


def test_real_view_round_trip() -> None:
    x = random_like((2, 2, 3, 4), torch.float32)
    assert torch.equal(to_real(to_complex(x)), x)
    assert to_complex(x.to(torch.bfloat16)).dtype == torch.complex64
    with pytest.raises(ValueError, match="x: found"):
        to_complex(torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match="x: found"):
        to_real(x)


def coil_toy(size: int, coils: int, dtype: torch.dtype = torch.complex64) -> tuple[Tensor, Tensor]:
    """Maps (1, coils, N, N) and image (1, 2, N, N) of section 9.3; x runs along columns, y along rows."""
    g = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2) / (size / 2)
    y, x = torch.meshgrid(g, g, indexing="ij")
    angle = 2 * math.pi * torch.arange(coils, dtype=torch.float64)[:, None, None] / coils
    maps = torch.exp(-((x - angle.cos()) ** 2 + (y - angle.sin()) ** 2) / 1.5) * torch.exp(1j * angle)
    maps = maps / maps.abs().square().sum(0).sqrt()
    image = ((x / 0.7) ** 2 + (y / 0.9) ** 2 < 1).double() - 0.6 * ((x / 0.6) ** 2 + (y / 0.8) ** 2 < 1)
    image = image + 0.3 * ((x - 0.2) ** 2 + (y + 0.1) ** 2 < 0.04)
    return maps[None].to(dtype), torch.stack([image, torch.zeros_like(image)])[None].to(dtype.to_real())


def leakage(size: int, coils: int, acceleration: float, centre: int, count: int) -> Tensor:
    """|M T T^H M s - M s| / |M s| of every mask, in per cent."""
    maps, image = coil_toy(size, coils)
    masks = RandomColumns(size, acceleration, centre).draw(Streams(range(count)))
    s = masks * CoilFourier(maps).forward(image)
    operator = MaskedCoilFourier(maps, masks)
    difference = operator.forward(operator.adjoint(s)) - s
    return 100 * difference.flatten(1).norm(dim=1) / s.flatten(1).norm(dim=1)


@pytest.mark.parametrize(
    ("size", "coils", "acceleration", "published"),
    [
        *((64, 4, *pair) for pair in ((2, 12.5), (4, 9.6), (8, 8.3))),
        *((64, 16, *pair) for pair in ((2, 12.9), (4, 10.0), (8, 8.6))),
        *((256, 4, *pair) for pair in ((2, 5.0), (4, 4.8), (8, 4.0))),
    ],
)
def test_coil_toy(size: int, coils: int, acceleration: float, published: float) -> None:
    """A masked multi-coil measurement is not in the range of T: the zero-filled image does not give it back.

    The published averages are over few masks; masks scatter by 1.2 to 1.6 (N = 64) and 0.4 to 0.6 (N = 256).
    """
    found = leakage(size, coils, acceleration, 4 if size == 64 else 20, 60 if size == 64 else 8)
    assert abs(float(found.mean()) - published) < 1.5 * float(found.std())
    assert size == 256 or found.mean() > 5


def test_coil_toy_average_over_many_masks() -> None:
    assert leakage(64, 4, 4, 4, 400).mean() == pytest.approx(10.4, abs=0.3)


def test_coil_toy_without_acceleration_is_exact() -> None:
    assert leakage(64, 4, 1, 4, 1) < 1e-4
    assert leakage(64, 16, 1, 4, 1) < 1e-4


def test_full_transform_inverts_in_single_precision() -> None:
    maps, image = coil_toy(64, 8)
    operator = CoilFourier(maps)
    x = random_like(image.shape, torch.float32)
    assert (operator.adjoint(operator.forward(x)) - x).norm() < 1e-6 * x.norm()
    y = random_like((1, 8, 64, 64), torch.complex64)
    forward, backward = operator.forward(x), operator.adjoint(y)
    error = (forward.conj() * y).sum().real - (x * backward).sum()
    assert error.abs() < 1e-6 * forward.norm() * y.norm()


def test_prox_without_noise_keeps_the_data_exactly() -> None:
    x, data = random_like((2, 2, 8, 9), torch.float64, 1), random_like((2, 1, 8, 9), torch.complex128, 2)
    mask = (torch.arange(9) % 3 == 0).double().reshape(1, 1, 1, 9)
    z = MaskedFourier(mask).prox(x, mask * data, 0.0)
    spectrum = centred_fft2(to_complex(z))[:, None]
    torch.testing.assert_close(mask * spectrum, mask * data)
    torch.testing.assert_close((1 - mask) * spectrum, (1 - mask) * centred_fft2(to_complex(x))[:, None])


def test_samples_worked_on_one_by_one_give_the_same_and_keep_gradients() -> None:
    maps, image = coil_toy(72, 8)
    masks = RandomColumns(72, 4, 4).draw(Streams(range(3)))
    x = random_like((3, 2, 72, 72), torch.float32)
    for scale in (maps, torch.cat([maps, maps.roll(1, 1), maps.roll(2, 1)])):
        check_batch(MaskedCoilFourier(scale, masks), x, MaskedCoilFourier(scale, masks).forward(image))
        check_autograd(MaskedCoilFourier(scale, masks), x, random_like((3, 8, 72, 72), torch.complex64), 1e-5)
    weights = random_like((3, 1, 1, 72), torch.float32).abs()
    operator = CoilFourier(maps)
    direct = operator.adjoint(weights * operator.forward(x))
    torch.testing.assert_close(to_real(operator.weighted_normal(to_complex(x), weights)), direct, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="found a batch of 3, but the operator holds maps or masks of 2"):
        MaskedCoilFourier(maps, masks[:2]).forward(x)


def test_operators_of_one_scan_serve_several_views() -> None:
    maps, image = coil_toy(16, 4, torch.complex128)
    masks = RandomColumns(16, 4, 4).draw(Streams([1, 2]))
    two = MaskedCoilFourier(maps, masks)
    views = two.repeated(3)
    assert views.maps.shape[0] == 1
    assert torch.equal(views.mask[3:], masks[1:].expand(3, -1, -1, -1))
    assert torch.equal(two.select([1]).forward(image), two.forward(image.expand(2, -1, -1, -1))[1:])
    with pytest.raises(ValueError, match="times: found 0"):
        two.repeated(0)
