"""Every operator against the shared checks, on even, odd and mixed sizes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from helpers.operators import check_operator, random_like
from skiagraph.physics.blur import Blur, gaussian_kernel, motion_kernel
from skiagraph.physics.coils import normalise_maps
from skiagraph.physics.fourier import CoilFourier, MaskedCoilFourier, MaskedFourier
from skiagraph.physics.masks import hole_mask
from skiagraph.physics.operator import Compose, LinearOperator
from skiagraph.physics.resample import BlockMean, CubicDownsample
from skiagraph.physics.selection import DenseOperator, PixelMask

SIZES = [(8, 8), (7, 9), (8, 5)]


# Kernels treat the last few numbers of an array otherwise than the rest (fused multiply-add or not), so that a batch
# equals its samples bit for bit only where a sample holds whole vectors of numbers.


def whole(size: tuple[int, int]) -> bool:
    """Whether samples of this size hold whole vectors."""
    return size[0] * size[1] % 8 == 0


def maps(size: tuple[int, int], batch: int = 2, coils: int = 3) -> Tensor:
    """Random complex maps, normalised."""
    return normalise_maps(random_like((batch, coils, *size), torch.complex128, 5))


def mask(*shape: int) -> Tensor:
    """A random mask that keeps about half."""
    return (random_like(shape, torch.float64, 6) > 0).double()


@pytest.mark.parametrize("size", SIZES)
def test_coil_fourier(size: tuple[int, int]) -> None:
    check_operator(CoilFourier(maps(size)), (2, 2, *size), unitary=True, bitwise=whole(size))
    check_operator(CoilFourier(maps(size, batch=1)), (2, 2, *size), unitary=True, bitwise=whole(size))
    partly = maps(size) * mask(2, 1, *size) * (1 + mask(2, 1, *size))
    check_operator(CoilFourier(partly), (2, 2, *size), bitwise=whole(size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("axes", ["columns", "rows", "points"])
def test_masked_coil_fourier(size: tuple[int, int], axes: str) -> None:
    shape = {"columns": (1, size[1]), "rows": (size[0], 1), "points": size}[axes]
    check_operator(MaskedCoilFourier(maps(size), mask(2, 1, *shape)), (2, 2, *size), bitwise=whole(size))


def test_masked_coil_fourier_with_everything_sampled_is_unitary() -> None:
    check_operator(MaskedCoilFourier(maps((5, 6)), torch.ones(1, 1, 1, 6)), (2, 2, 5, 6), unitary=True, bitwise=False)
    check_operator(MaskedCoilFourier(maps((5, 6)), torch.ones(1, 1, 1, 1)), (2, 2, 5, 6), unitary=True, bitwise=False)


@pytest.mark.parametrize("size", SIZES)
def test_masked_fourier(size: tuple[int, int]) -> None:
    check_operator(MaskedFourier(mask(2, 1, 1, size[1])), (2, 2, *size), bitwise=whole(size))
    check_operator(MaskedFourier(mask(2, 1, *size)), (2, 2, *size), bitwise=whole(size))
    check_operator(MaskedFourier(torch.ones(1, 1, *size)), (2, 2, *size), unitary=True, bitwise=whole(size))


def test_pixel_mask_on_images_and_on_kspace() -> None:
    check_operator(PixelMask(mask(2, 1, 5, 6)), (2, 3, 5, 6))
    check_operator(PixelMask(mask(2, 1, 1, 6)), (2, 3, 5, 6), dtype=torch.complex128)
    check_operator(PixelMask(hole_mask(7, 3)), (2, 1, 7, 7))


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (2, 4, 6)])
def test_dense(shape: tuple[int, ...]) -> None:
    check_operator(DenseOperator(random_like(shape, torch.float64)), (2, shape[-1]))
    check_operator(DenseOperator(random_like(shape, torch.complex128)), (2, shape[-1]), dtype=torch.complex128)


def test_dense_of_low_rank() -> None:
    matrix = random_like((6, 2), torch.float64, 1) @ random_like((2, 5), torch.float64, 2)
    check_operator(DenseOperator(matrix), (2, 5))


@pytest.mark.parametrize(("size", "factor"), [((16, 24), 4), ((15, 9), 3), ((8, 4), 4), ((6, 6), 1)])
def test_downsampling(size: tuple[int, int], factor: int) -> None:
    check_operator(CubicDownsample(*size, factor), (2, 3, *size), unitary=factor == 1, bitwise=whole(size))
    check_operator(BlockMean(factor), (2, 3, *size), unitary=factor == 1, bitwise=whole(size))


@pytest.mark.parametrize("border", ["symmetric", "circular", "zero"])
@pytest.mark.parametrize("size", [(7, 8), (3, 4)])
def test_blur(border: str, size: tuple[int, int]) -> None:
    check_operator(Blur(gaussian_kernel(0.6), border), (2, 3, *size))
    two = torch.cat([motion_kernel(2, 30, size=5), motion_kernel(3, -70, size=5)])
    check_operator(Blur(two, border), (2, 1, *size), iterations=2000)


def test_composition() -> None:
    image = BlockMean(2) @ PixelMask(mask(2, 1, 6, 8))
    check_operator(image, (2, 2, 6, 8))
    check_operator(CoilFourier(maps((3, 4))) @ image, (2, 2, 6, 8))
    check_operator(Compose(PixelMask(mask(2, 1, 1, 9)), CoilFourier(maps((7, 9)))), (2, 2, 7, 9), bitwise=False)


def test_operator_from_outside_the_library() -> None:
    @dataclass(frozen=True)
    class Difference(LinearOperator):
        """x_i - x_(i-1), periodically."""

        def forward(self, x: Tensor) -> Tensor:
            return x - x.roll(1, -1)

        def adjoint(self, y: Tensor) -> Tensor:
            return y - y.roll(-1, -1)

    check_operator(Difference(), (3, 9))


def test_operator_without_adjoint_is_refused() -> None:
    class Half(LinearOperator):
        def forward(self, x: Tensor) -> Tensor:
            return x

    with pytest.raises(TypeError, match="adjoint"):
        Half()  # type: ignore[abstract]


def test_wrong_input_is_named() -> None:
    good = maps((4, 6))
    with pytest.raises(ValueError, match=r"maps: found torch.float64"):
        CoilFourier(good.real)
    with pytest.raises(ValueError, match=r"mask: .* other values than 0 and 1"):
        MaskedCoilFourier(good, torch.full((1, 1, 1, 6), 0.5))
    with pytest.raises(ValueError, match=r"mask: found shape \(1, 1, 1, 5\)"):
        MaskedCoilFourier(good, torch.ones(1, 1, 1, 5))
    with pytest.raises(ValueError, match="x: found"):
        CoilFourier(good).forward(torch.zeros(1, 3, 4, 6))
    with pytest.raises(ValueError, match="mask: found"):
        PixelMask(torch.full((1, 1, 2, 2), 2.0))
    with pytest.raises(ValueError, match="broadcast"):
        PixelMask(torch.ones(1, 1, 2, 2)).forward(torch.zeros(1, 1, 1, 2))
    with pytest.raises(ValueError, match="weight: found"):
        PixelMask(torch.ones(1, 1, 2, 2)).prox(torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 2, 2), -1.0)
    with pytest.raises(ValueError, match="one value per sample"):
        BlockMean(2).prox(torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 1, 1), torch.ones(3))
    with pytest.raises(ValueError, match="size: found 10 with factor 4"):
        CubicDownsample(10, 8)
    with pytest.raises(ValueError, match="kernel: found"):
        Blur(torch.ones(2, 2))
    with pytest.raises(TypeError, match="only operators compose"):
        BlockMean(2) @ torch.ones(2)  # type: ignore[operator]
