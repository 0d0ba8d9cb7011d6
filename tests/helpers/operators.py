"""What every linear operator must satisfy; each operator test, of the library or of a plug-in, calls `check_operator`.

    check_operator(MyOperator(...), (2, 1, 16, 16))

The operator should be exact in float64; tensors it holds may be float32 where it casts them to its input.
"""

from __future__ import annotations

import torch
from torch import Tensor

from skiagraph.physics.operator import LinearOperator, inner_product

__all__ = [
    "check_adjoint",
    "check_autograd",
    "check_batch",
    "check_linear",
    "check_normal",
    "check_operator",
    "check_pinv",
    "check_precision",
    "check_prox",
    "check_unitary",
    "random_like",
]


def random_like(shape: tuple[int, ...] | torch.Size, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Standard normal numbers from a generator of their own."""
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def check_operator(
    operator: LinearOperator,
    shape: tuple[int, ...],
    *,
    dtype: torch.dtype = torch.float64,
    unitary: bool = False,
    bitwise: bool = True,
    iterations: int = 400,
    tolerance: float = 1e-9,
) -> None:
    """Run every check of this module.

    Args:
        operator: A.
        shape: of a state x, batch first; a batch of 2 or more tests that samples are independent.
        dtype: of the state; complex128 for operators on complex states.
        unitary: whether A^H A = I.
        bitwise: whether a batch must equal its samples one by one bit for bit, or only to rounding.
        iterations: conjugate-gradient steps that suffice for the operator at this size.
        tolerance: largest relative error of identities in float64.
    """
    x = random_like(shape, dtype, 1)
    before = x.clone()
    y = random_like(operator.forward(x).shape, operator.forward(x).dtype, 2)
    assert torch.equal(x, before), "forward changed its input"
    check_linear(operator, x, tolerance)
    check_adjoint(operator, x, y, tolerance)
    check_normal(operator, x, tolerance)
    check_autograd(operator, x, y, tolerance)
    check_pinv(operator, x, y, iterations, max(tolerance, 1e-6))
    check_prox(operator, x, y, iterations, max(tolerance, 1e-6))
    check_batch(operator, x, y, bitwise)
    check_precision(operator, x)
    if unitary:
        check_unitary(operator, x, tolerance)


def check_linear(operator: LinearOperator, x: Tensor, tolerance: float = 1e-9) -> None:
    """A (x + c z) = A x + c A z, and A 0 = 0."""
    z = random_like(x.shape, x.dtype, 3)
    left, right = operator.forward(x - 1.7 * z), operator.forward(x) - 1.7 * operator.forward(z)
    _near(left, right, tolerance, "linearity")
    assert not operator.forward(torch.zeros_like(x)).any(), "A 0 is not 0"


def check_adjoint(operator: LinearOperator, x: Tensor, y: Tensor, tolerance: float = 1e-9) -> None:
    """<A x, y> = <x, A^H y> for every sample."""
    forward, backward = operator.forward(x), operator.adjoint(y)
    assert backward.shape == x.shape, f"A^H y has shape {tuple(backward.shape)}, x {tuple(x.shape)}"
    scale = (inner_product(forward, forward) * inner_product(y, y)).sqrt()
    error = (inner_product(forward, y) - inner_product(x, backward)).abs()
    assert (error <= tolerance * scale).all(), f"<Ax, y> - <x, A^H y> is {(error / scale).max():.2e} of |Ax||y|"


def check_normal(operator: LinearOperator, x: Tensor, tolerance: float = 1e-9) -> None:
    """`normal` equals `adjoint` after `forward`."""
    _near(operator.normal(x), operator.adjoint(operator.forward(x)), tolerance, "normal operator")


def check_autograd(operator: LinearOperator, x: Tensor, y: Tensor, tolerance: float = 1e-9) -> None:
    """The gradient of <A x, y> is A^H y, that of <A^H y, x> is A x, that of x^H N x is 2 N x."""
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(inner_product(operator.forward(leaf), y).sum(), leaf)
    _near(gradient, operator.adjoint(y), tolerance, "gradient through forward")
    (gradient,) = torch.autograd.grad(inner_product(operator.normal(leaf), leaf).sum(), leaf)
    _near(gradient, 2 * operator.normal(x), tolerance, "gradient through normal")
    leaf = y.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(inner_product(operator.adjoint(leaf), x).sum(), leaf)
    _near(gradient, operator.forward(x), tolerance, "gradient through adjoint")


def check_pinv(operator: LinearOperator, x: Tensor, y: Tensor, iterations: int = 400, tolerance: float = 1e-6) -> None:
    """A^+ y solves the normal equations, A A^+ A x = A x, and A^+ A x is no longer than x."""
    measured = operator.forward(x)
    solution = operator.pinv(measured, iterations=iterations, tolerance=1e-12)
    _near(operator.forward(solution), measured, tolerance, "A A^+ A x = A x")
    assert (inner_product(solution, solution) <= inner_product(x, x) * (1 + tolerance)).all(), "A^+ is not the shortest"
    solution = operator.pinv(y, iterations=iterations, tolerance=1e-12)
    _near(operator.normal(solution), operator.adjoint(y), tolerance, "A^H A A^+ y = A^H y")


def check_prox(operator: LinearOperator, x: Tensor, y: Tensor, iterations: int = 400, tolerance: float = 1e-6) -> None:
    """The proximal map is stationary for one weight per sample; weight 0 is the exact projection."""
    weight = torch.linspace(0.1, 2.0, x.shape[0], dtype=torch.float64)
    z = operator.prox(x, y, weight, iterations=iterations, tolerance=1e-12)
    ratio = weight.reshape(-1, *[1] * (x.ndim - 1))
    pull = operator.adjoint(y) + ratio * x
    _near(operator.normal(z) + ratio * z, pull, tolerance, "stationarity of prox")
    measured = operator.forward(random_like(x.shape, x.dtype, 4))
    z = operator.prox(x, measured, 0.0, iterations=iterations, tolerance=1e-12)
    _near(operator.forward(z), measured, tolerance, "prox with weight 0")
    moved = operator.pinv(measured - operator.forward(x), iterations=iterations, tolerance=1e-12)
    _near(z - x, moved, 10 * tolerance, "prox with weight 0 moves by A^+ (y - A x)")


def check_batch(operator: LinearOperator, x: Tensor, y: Tensor, bitwise: bool = True) -> None:
    """A batch of n equals n batches of 1, and an operator repeated acts on repeated samples."""
    weight = torch.linspace(0.1, 2.0, x.shape[0], dtype=torch.float64)
    whole = [
        operator.forward(x),
        operator.adjoint(y),
        operator.normal(x),
        operator.pinv(y, iterations=5),
        operator.prox(x, y, weight, iterations=5),
    ]
    for index in range(x.shape[0]):
        one = slice(index, index + 1)
        single = operator.select(one)
        parts = [
            single.forward(x[one]),
            single.adjoint(y[one]),
            single.normal(x[one]),
            single.pinv(y[one], iterations=5),
            single.prox(x[one], y[one], weight[one], iterations=5),
        ]
        for name, all_of_them, part in zip(("forward", "adjoint", "normal", "pinv", "prox"), whole, parts, strict=True):
            _near(all_of_them[one], part, 0.0 if bitwise else 1e-12, f"sample {index} alone, {name}")
    twice = operator.repeated(2).forward(x.repeat_interleave(2, 0))
    _near(twice, whole[0].repeat_interleave(2, 0), 1e-12, "repeated samples")


def check_precision(operator: LinearOperator, x: Tensor, tolerance: float = 1e-5) -> None:
    """Single precision agrees with double, and its use changes nothing that follows; so does inference mode."""
    before = operator.forward(x)
    low = x.to(torch.complex64 if x.is_complex() else torch.float32)
    _near(operator.forward(low).to(before.dtype), before, tolerance, "single precision")
    assert operator.adjoint(operator.forward(low)).shape == x.shape
    with torch.inference_mode():
        operator.prox(low, operator.forward(low), 1.0)
    assert torch.equal(operator.forward(x), before), "a call in single precision changed the operator"
    leaf = low.clone().requires_grad_()
    inner_product(operator.prox(leaf, operator.forward(low), 1.0), low).sum().backward()
    assert leaf.grad is not None
    assert torch.isfinite(torch.view_as_real(leaf.grad) if leaf.is_complex() else leaf.grad).all()


def check_unitary(operator: LinearOperator, x: Tensor, tolerance: float = 1e-9) -> None:
    """A^H A x = x, so that |A x| = |x|."""
    _near(operator.adjoint(operator.forward(x)), x, tolerance, "A^H A = I")
    y = operator.forward(x)
    _near(inner_product(y, y), inner_product(x, x), tolerance, "|A x| = |x|")


def _near(found: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    assert found.shape == expected.shape, f"{what}: shapes {tuple(found.shape)} and {tuple(expected.shape)}"
    error = torch.linalg.vector_norm(found - expected)
    scale = torch.linalg.vector_norm(expected)
    assert error <= tolerance * scale, f"{what}: relative error {float(error / scale):.2e}, allowed {tolerance:.0e}"
