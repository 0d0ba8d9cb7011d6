"""Measurements that keep some values: a mask as an operator, and a dense matrix for small problems."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from skiagraph.physics.operator import LinearOperator, per_sample

__all__ = ["DenseOperator", "Identity", "PixelMask"]


@dataclass(frozen=True, eq=False)
class Identity(LinearOperator):
    """x -> x: the full measurement of an image is the image itself."""

    def forward(self, x: Tensor) -> Tensor:
        """x."""
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        """y."""
        return y

    def pinv(self, y: Tensor, *, iterations: int = 100, tolerance: float = 1e-6) -> Tensor:
        """y."""
        return y

    def prox(
        self, x: Tensor, y: Tensor, weight: float | Tensor, *, iterations: int = 50, tolerance: float = 1e-6
    ) -> Tensor:
        """(y + weight x) / (1 + weight)."""
        return x + (y - x) / (1 + per_sample(weight, x))


@dataclass(frozen=True, eq=False)
class PixelMask(LinearOperator):
    """x -> mask x: pixels, cells, a hole, or k-space samples; unmeasured values are 0.

    Args:
        mask: (B or 1, ...) real 0/1 that broadcasts against the state, e.g. (B, 1, H, W) or (B, 1, 1, W); the state may
            be real or complex.
    """

    mask: Tensor

    def __post_init__(self) -> None:
        if self.mask.is_complex() or self.mask.ndim < 2 or not bool(((self.mask == 0) | (self.mask == 1)).all()):
            raise ValueError(
                f"mask: found {self.mask.dtype} of shape {tuple(self.mask.shape)}; "
                "allowed are real masks (B or 1, ...) of 0 and 1 only."
            )

    def forward(self, x: Tensor) -> Tensor:
        """M x, of the shape and dtype of x."""
        y = _real_like(self.mask, x) * x
        if y.shape != x.shape:
            raise ValueError(
                f"x: found shape {tuple(x.shape)}; the mask's shape {tuple(self.mask.shape)} does not broadcast to it."
            )
        return y

    def adjoint(self, y: Tensor) -> Tensor:
        """M y."""
        return self.forward(y)

    def normal(self, x: Tensor) -> Tensor:
        """M x."""
        return self.forward(x)

    def pinv(self, y: Tensor, *, iterations: int = 100, tolerance: float = 1e-6) -> Tensor:
        """M y."""
        return self.forward(y)

    def prox(
        self, x: Tensor, y: Tensor, weight: float | Tensor, *, iterations: int = 50, tolerance: float = 1e-6
    ) -> Tensor:
        """(y + weight x) / (1 + weight) where measured, x elsewhere."""
        return x + self.forward(y - x) / (1 + per_sample(weight, x))


@dataclass(frozen=True, eq=False)
class DenseOperator(LinearOperator):
    """x -> matrix x on vectors (B, n), for closed-form tests and small problems.

    Args:
        matrix: (B or 1, m, n), or (m, n) for all samples; real or complex like the state.
    """

    matrix: Tensor

    def __post_init__(self) -> None:
        if self.matrix.ndim == 2:
            object.__setattr__(self, "matrix", self.matrix.unsqueeze(0))
        if self.matrix.ndim != 3:
            raise ValueError(f"matrix: found shape {tuple(self.matrix.shape)}; allowed (m, n) or (B or 1, m, n).")

    def forward(self, x: Tensor) -> Tensor:
        """(B, n) -> (B, m)."""
        return _apply(self.matrix, x)

    def adjoint(self, y: Tensor) -> Tensor:
        """(B, m) -> (B, n)."""
        return _apply(self.matrix.mH, y)

    def pinv(self, y: Tensor, *, iterations: int = 100, tolerance: float = 1e-6) -> Tensor:
        """V S^+ U^H y by singular values; those below n roundings of the largest count as 0."""
        u, s, vh = self._decomposition()
        inverse = torch.where(s > 0, 1 / torch.where(s > 0, s, 1.0), 0.0)
        return _apply(vh.mH, _real_like(inverse, y) * _apply(u.mH, y))

    def prox(
        self, x: Tensor, y: Tensor, weight: float | Tensor, *, iterations: int = 50, tolerance: float = 1e-6
    ) -> Tensor:
        """x + V S / (S^2 + weight) U^H (y - A x), in closed form."""
        u, s, vh = self._decomposition()
        total = s.square() + per_sample(weight, x)
        gain = torch.where(s > 0, s / torch.where(s > 0, total, 1.0), 0.0)
        return x + _apply(vh.mH, _real_like(gain, x) * _apply(u.mH, y - self.forward(x)))

    def _decomposition(self) -> tuple[Tensor, Tensor, Tensor]:
        """Singular values and vectors, kept while the matrix is constant."""
        return self._decompose() if self.matrix.requires_grad else self._kept_decomposition

    @cached_property
    def _kept_decomposition(self) -> tuple[Tensor, Tensor, Tensor]:
        with torch.inference_mode(False):
            return self._decompose()

    def _decompose(self) -> tuple[Tensor, Tensor, Tensor]:
        u, s, vh = torch.linalg.svd(self.matrix, full_matrices=False)
        least = max(self.matrix.shape[1:]) * torch.finfo(s.dtype).eps * s.amax(-1, keepdim=True)
        return u, torch.where(s > least, s, 0.0), vh


def _apply(matrix: Tensor, x: Tensor) -> Tensor:
    if matrix.is_complex() and not x.is_complex():
        raise ValueError(f"x: found {x.dtype}; a complex matrix acts on complex vectors.")
    return (matrix.to(x.dtype) @ x.unsqueeze(-1)).squeeze(-1)


def _real_like(value: Tensor, x: Tensor) -> Tensor:
    return value.to(x.real.dtype if x.is_complex() else x.dtype)
