"""What every measurement operator offers: forward, adjoint, normal operator, pseudo-inverse and proximal map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Self, cast

import torch
from torch import Tensor

__all__ = ["Compose", "LinearOperator", "conjugate_gradient", "inner_product", "per_sample"]


def inner_product(a: Tensor, b: Tensor) -> Tensor:
    """Real inner product Re <a, b> of each sample.

    Args:
        a: (B, ...) real or complex.
        b: same shape and kind.

    Returns:
        (B,) real.
    """
    if a.is_complex():
        a, b = torch.view_as_real(a.resolve_conj()), torch.view_as_real(b.resolve_conj())
    return (a * b).flatten(1).sum(1)


def per_sample(value: float | Tensor, like: Tensor, name: str = "weight") -> Tensor:
    """Bring a scalar or one value per sample into a shape that broadcasts against `like`.

    Args:
        value: number, () or (B,) tensor, >= 0 and finite.
        like: (B, ...) real or complex.
        name: name of the argument in error messages.

    Returns:
        () or (B, 1, ...) real tensor on the device and in the real precision of `like`.
    """
    real = like.real.dtype if like.is_complex() else like.dtype
    tensor = torch.as_tensor(value, device=like.device, dtype=real)
    if tensor.ndim > 1 or (tensor.ndim == 1 and tensor.shape[0] not in (1, like.shape[0])):
        raise ValueError(
            f"{name}: found shape {tuple(tensor.shape)}; "
            f"allowed are a number or one value per sample, ({like.shape[0]},)."
        )
    if not bool((torch.isfinite(tensor) & (tensor >= 0)).all()):
        raise ValueError(f"{name}: found {tensor.tolist()}; every value must be finite and >= 0.")
    return tensor.reshape(-1, *[1] * (like.ndim - 1)) if tensor.ndim else tensor


def conjugate_gradient(
    normal: Callable[[Tensor], Tensor],
    rhs: Tensor,
    start: Tensor | None = None,
    iterations: int = 10,
    tolerance: float = 0.0,
) -> Tensor:
    """Solve N x = rhs for every sample on its own, N symmetric and positive (semi-)definite.

    With `tolerance` 0 the number of iterations is fixed and the device is never asked for a value, so the call can be
    recorded, compiled and differentiated through by autograd (to `rhs`, `start` and whatever `normal` depends on).
    A sample stays where it is once its residual falls to `tolerance` |rhs| (at least 4 roundings of |rhs|), or where
    its search direction is in the null space of N to rounding: there is no division by zero, and what happens to one
    sample never depends on its neighbours in the batch. From `start` 0, with rhs in the range of N, the limit is
    N^+ rhs.

    Args:
        normal: x -> N x, shape kept; acts on each sample alone.
        rhs: (B, ...) real or complex.
        start: (B, ...) first iterate; None for zero.
        iterations: largest number of applications of `normal` (one more when `start` is given), >= 0.
        tolerance: relative residual |N x - rhs| / |rhs| at which a sample stops; 0 for a fixed number of iterations.

    Returns:
        (B, ...), the iterate.

    Reference:
        Hestenes and Stiefel, J. Res. NBS 49, 1952.
    """
    if iterations < 0:
        raise ValueError(f"iterations: found {iterations}; it must be >= 0.")
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance: found {tolerance}; it must be in [0, 1), 0 for a fixed number of iterations.")
    x = torch.zeros_like(rhs) if start is None else start
    residual = rhs if start is None else rhs - normal(start)
    direction, energy = residual, inner_product(residual, residual)
    rounding = torch.finfo(energy.dtype).eps
    floor = max(tolerance, 4 * rounding) ** 2 * inner_product(rhs, rhs).detach()
    largest = torch.zeros_like(floor)
    for _ in range(iterations):
        if tolerance > 0 and not bool((energy > floor).any()):
            break
        image = normal(direction)
        curvature = inner_product(direction, image)
        moving, largest = _moving(direction, curvature, energy > floor, largest, rounding)
        length = _ratio(energy, curvature, moving)
        x = x + _expand(length, x) * direction
        residual = residual - _expand(length, x) * image
        previous, energy = energy, inner_product(residual, residual)
        direction = residual + _expand(_ratio(energy, previous, moving), x) * direction
    return x


@torch.no_grad()
def _moving(
    direction: Tensor, curvature: Tensor, unsolved: Tensor, largest: Tensor, rounding: float
) -> tuple[Tensor, Tensor]:
    """Samples that take a step (B,), and the largest Rayleigh quotient each has seen (B,)."""
    length = inner_product(direction, direction)
    largest = torch.maximum(largest, _ratio(curvature, length, length > 0))
    return unsolved & (curvature > rounding * largest * length), largest


def _ratio(numerator: Tensor, denominator: Tensor, allowed: Tensor) -> Tensor:
    """numerator / denominator where allowed, else 0, with finite gradients everywhere."""
    safe = torch.where(allowed, denominator, torch.ones_like(denominator))
    return torch.where(allowed, numerator / safe, torch.zeros_like(numerator))


def _expand(value: Tensor, like: Tensor) -> Tensor:
    return value.reshape(-1, *[1] * (like.ndim - 1))


class LinearOperator(ABC):
    """A linear map A from states x (B, ...) to measurements y (B, ...), the same kind of map for every sample.

    Subclasses are frozen dataclasses and implement `forward` and `adjoint`; the rest follows by conjugate gradients and
    is replaced where a closed form exists. Inner products are real: complex numbers count as pairs of real ones. Tensor
    fields have the batch on axis 0, with size 1 where all samples share one value. No operator mixes samples: a batch
    equals its samples one by one, to rounding, and bit for bit where a sample holds whole processor vectors of numbers.
    """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """A x."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """A^H y, with <A x, y> = <x, A^H y>."""

    def normal(self, x: Tensor) -> Tensor:
        """A^H A x."""
        return self.adjoint(self.forward(x))

    def pinv(self, y: Tensor, *, iterations: int = 100, tolerance: float = 1e-6) -> Tensor:
        """A^+ y, the shortest of all least-squares solutions, by conjugate gradients on A^H A x = A^H y."""
        return conjugate_gradient(self.normal, self.adjoint(y), None, iterations, tolerance)

    def prox(
        self, x: Tensor, y: Tensor, weight: float | Tensor, *, iterations: int = 50, tolerance: float = 1e-6
    ) -> Tensor:
        """argmin_z |A z - y|^2 + weight |z - x|^2; weight 0 is the limit x + A^+ (y - A x), the exact projection.

        Args:
            x: (B, ...) state.
            y: (B, ...) measurement.
            weight: number or (B,), >= 0; noise variance of y over prior variance of x.
            iterations: largest number of conjugate-gradient steps where there is no closed form.
            tolerance: relative residual at which a sample stops; 0 for a fixed number of steps.
        """
        ratio = per_sample(weight, x)
        rhs = self.adjoint(y - self.forward(x))
        return x + conjugate_gradient(lambda z: self.normal(z) + ratio * z, rhs, None, iterations, tolerance)

    def __matmul__(self, inner: LinearOperator) -> Compose:
        """A @ B: x -> A (B x)."""
        if not isinstance(inner, LinearOperator):
            raise TypeError(f"operator @ {type(inner).__name__}: only operators compose; apply one with .forward(x).")
        return Compose(self, inner)

    def select(self, index: Tensor | slice | list[int]) -> Self:
        """The operator of some samples: per-sample fields are indexed on axis 0, shared ones kept."""
        return self._with(lambda field: field if field.shape[0] == 1 else field[index])

    def repeated(self, times: int) -> Self:
        """The operator of a batch in which every sample stands `times` times in a row."""
        if times < 1:
            raise ValueError(f"times: found {times}; it must be >= 1.")
        return self._with(lambda field: field if field.shape[0] == 1 else field.repeat_interleave(times, 0))

    def to(self, device: torch.device | str) -> Self:
        """The same operator with its tensors on another device."""
        return self._with(lambda field: field.to(device))

    def _with(self, change: Callable[[Tensor], Tensor]) -> Self:
        if not is_dataclass(self):
            raise TypeError(f"{type(self).__name__}: declare it @dataclass(frozen=True) to select, repeat or move it.")
        changes: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                changes[field.name] = change(value)
            elif isinstance(value, LinearOperator):
                changes[field.name] = value._with(change)
        return cast("Self", replace(self, **changes))


@dataclass(frozen=True, eq=False)
class Compose(LinearOperator):
    """The product of two operators, x -> outer (inner x).

    Args:
        outer: applied last.
        inner: applied first.
    """

    outer: LinearOperator
    inner: LinearOperator

    def forward(self, x: Tensor) -> Tensor:
        """outer inner x."""
        return self.outer.forward(self.inner.forward(x))

    def adjoint(self, y: Tensor) -> Tensor:
        """inner^H outer^H y."""
        return self.inner.adjoint(self.outer.adjoint(y))

    def normal(self, x: Tensor) -> Tensor:
        """inner^H (outer^H outer) inner x."""
        return self.inner.adjoint(self.outer.normal(self.inner.forward(x)))
