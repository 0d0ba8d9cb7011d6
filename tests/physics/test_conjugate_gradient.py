"""The solver: exact in n steps, no division by zero, samples on their own, gradients through it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from helpers.operators import random_like
from skiagraph.physics.coils import normalise_maps
from skiagraph.physics.fourier import MaskedCoilFourier, to_complex, to_real
from skiagraph.physics.operator import conjugate_gradient, inner_product


def spd(batch: int, size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Symmetric positive definite matrices (batch, size, size)."""
    factor = random_like((batch, size, size), dtype, 1)
    return factor @ factor.mH + torch.eye(size, dtype=dtype)


def product(matrix: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: (matrix @ x.unsqueeze(-1)).squeeze(-1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_n_steps_solve_n_unknowns(dtype: torch.dtype) -> None:
    matrix, rhs = spd(3, 6, dtype), random_like((3, 6), dtype, 2)
    solution = torch.linalg.solve(matrix, rhs.unsqueeze(-1)).squeeze(-1)
    for start in (None, random_like((3, 6), dtype, 3)):
        found = conjugate_gradient(product(matrix), rhs, start, iterations=8)
        torch.testing.assert_close(found, solution, rtol=1e-8, atol=1e-10)


def test_solved_samples_stay_put_without_dividing_by_zero() -> None:
    matrix, rhs = spd(3, 4), random_like((3, 4), torch.float64, 2)
    rhs[1] = 0
    start = torch.linalg.solve(matrix, rhs.unsqueeze(-1)).squeeze(-1)
    start[2] += 1
    rhs.requires_grad_()
    found = conjugate_gradient(product(matrix), rhs, start, iterations=20)
    assert torch.equal(found[:2].detach(), start[:2])
    found.square().sum().backward()
    assert rhs.grad is not None
    assert torch.isfinite(rhs.grad).all()


def test_every_sample_stops_on_its_own() -> None:
    matrix = torch.stack([torch.eye(5, dtype=torch.float64), spd(1, 5)[0]])
    rhs = random_like((2, 5), torch.float64, 2)
    calls: list[int] = []

    def normal(x: Tensor) -> Tensor:
        calls.append(len(x))
        return (matrix[: len(x)] @ x.unsqueeze(-1)).squeeze(-1)

    alone = conjugate_gradient(normal, rhs[:1], None, 50, 1e-6)
    assert len(calls) == 1, "the identity is solved in one step"
    both = conjugate_gradient(normal, rhs, None, 50, 1e-6)
    assert torch.equal(both[:1], alone)
    calls.clear()
    conjugate_gradient(normal, rhs, None, 50, 0.0)
    assert len(calls) == 50, "tolerance 0 means a fixed number of iterations"


def test_singular_systems_reach_the_shortest_solution_and_stay_there() -> None:
    maps = normalise_maps(random_like((2, 4, 16, 16), torch.complex64))
    mask = (torch.arange(16) % 4 == 0).float().reshape(1, 1, 1, 16)
    operator = MaskedCoilFourier(maps, mask)
    y = operator.forward(random_like((2, 2, 16, 16), torch.float32, 3))
    exact = MaskedCoilFourier(maps.to(torch.complex128), mask).pinv(
        y.to(torch.complex128), iterations=500, tolerance=1e-12
    )
    for iterations in (200, 1000):
        found = operator.pinv(y, iterations=iterations, tolerance=0.0)
        assert (found - exact).norm() < 1e-4 * exact.norm()


def test_gradients_equal_finite_differences() -> None:
    maps = normalise_maps(random_like((2, 2, 4, 6), torch.complex128))
    mask = (random_like((2, 1, 1, 6), torch.float64, 4) > 0).double()
    rhs = random_like((2, 2, 4, 6), torch.float64, 5).requires_grad_()
    weight = torch.tensor([0.3, 1.0], dtype=torch.float64, requires_grad=True)

    def solve(rhs: Tensor, weight: Tensor, maps: Tensor) -> Tensor:
        operator = MaskedCoilFourier(maps, mask)
        ratio = weight[:, None, None, None]
        return conjugate_gradient(lambda z: operator.normal(z) + ratio * z, rhs, None, iterations=3)

    assert torch.autograd.gradcheck(solve, (rhs, weight, maps.requires_grad_()), fast_mode=True)


def test_prox_passes_gradients_to_state_data_and_weight() -> None:
    operator = MaskedCoilFourier(normalise_maps(random_like((1, 2, 4, 4), torch.complex128)), torch.ones(1, 1, 1, 4))
    x = random_like((2, 2, 4, 4), torch.float64).requires_grad_()
    y = random_like((2, 2, 4, 4), torch.complex128).requires_grad_()
    weight = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    operator.prox(x, y, weight, iterations=4, tolerance=0.0).square().sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert weight.grad is not None
    assert (weight.grad != 0).all()


def test_complex_and_real_states_agree() -> None:
    operator = MaskedCoilFourier(
        normalise_maps(random_like((1, 3, 8, 8), torch.complex128)),
        (torch.arange(8) % 2 == 0).double().reshape(1, 1, 1, 8),
    )
    rhs = random_like((2, 2, 8, 8), torch.float64)
    real = conjugate_gradient(lambda z: operator.normal(z) + 0.1 * z, rhs, None, 5)
    image = conjugate_gradient(lambda z: operator.normal_complex(z) + 0.1 * z, to_complex(rhs), None, 5)
    torch.testing.assert_close(real, to_real(image))


def test_inner_product_is_real_and_per_sample() -> None:
    a, b = random_like((3, 4, 5), torch.complex128, 1), random_like((3, 4, 5), torch.complex128, 2)
    torch.testing.assert_close(inner_product(a, b), (a.conj() * b).flatten(1).sum(1).real)
    torch.testing.assert_close(inner_product(a.conj(), b), (a * b).flatten(1).sum(1).real)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="iterations: found -1"):
        conjugate_gradient(lambda x: x, torch.ones(1, 2), None, -1)
    with pytest.raises(ValueError, match="tolerance: found 1"):
        conjugate_gradient(lambda x: x, torch.ones(1, 2), None, 1, 1.0)
