"""Lower resolution: block means and antialiased cubic downsampling, with true adjoints and pseudo-inverses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from skiagraph.physics.operator import LinearOperator, per_sample

__all__ = ["BlockMean", "CubicDownsample", "cubic_matrix", "nearest_upsample"]


def nearest_upsample(y: Tensor, factor: int = 4) -> Tensor:
    """Repeat every pixel factor x factor times: (B, C, H, W) -> (B, C, factor H, factor W).

    The released code uses this as the transpose of cubic downsampling R. It is neither the adjoint nor the
    pseudo-inverse, but R times it has its eigenvalues in [0.642, 1] per axis (128 pixels, factor 4), so that
    z - lam U (R z - y) still contracts for 0 < lam < 2. `CubicDownsample.adjoint` is the true one.
    """
    return y.repeat_interleave(factor, -2).repeat_interleave(factor, -1)


def cubic_matrix(size: int, factor: int = 4) -> Tensor:
    """Antialiased cubic downsampling of one axis as a matrix R, (size / factor, size) float64.

    R_ij is proportional to k((j - c_i) / factor), c_i = factor i + (factor - 1) / 2, k the cubic kernel with a = -0.5,
    cut to 4 factor taps; rows sum to 1; taps outside are reflected with the edge pixel repeated. Away from the borders
    this is what `torch.nn.functional.interpolate(mode="bicubic", antialias=True)` computes; at borders that function
    renormalises instead.

    Args:
        size: number of pixels, a multiple of `factor`.
        factor: >= 1.

    Reference:
        Keys, IEEE Trans. ASSP 29, 1981 (the kernel).
    """
    return _cubic_matrix(size, factor).clone()


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _cubic_matrix(size: int, factor: int) -> Tensor:
    if factor < 1 or size < factor or size % factor:
        raise ValueError(f"size: found {size} with factor {factor}; allowed are positive multiples of the factor.")
    centre = factor * torch.arange(size // factor, dtype=torch.float64) + (factor - 1) / 2
    tap = centre.floor()[:, None] + torch.arange(1 - 2 * factor, 2 * factor + 1, dtype=torch.float64)
    weight = _keys_kernel((tap - centre[:, None]) / factor)
    weight = weight / weight.sum(1, keepdim=True)
    inside = tap.long() % (2 * size)
    inside = torch.where(inside < size, inside, 2 * size - 1 - inside)
    return torch.zeros(len(centre), size, dtype=torch.float64).scatter_add_(1, inside, weight)


def _keys_kernel(x: Tensor, a: float = -0.5) -> Tensor:
    x = x.abs()
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _cubic_factors(size: int, factor: int) -> tuple[Tensor, Tensor, Tensor]:
    """Singular value decomposition R = U diag(s) V^T."""
    u, s, vh = torch.linalg.svd(_cubic_matrix(size, factor), full_matrices=False)
    return u, s, vh.T


def _along(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows x columns^T on the last two axes."""
    return rows.to(x) @ x @ columns.to(x).T


def _check_image(x: Tensor, size: tuple[int, int], name: str) -> None:
    if x.ndim < 3 or tuple(x.shape[-2:]) != size:
        raise ValueError(f"{name}: found shape {tuple(x.shape)}; allowed is (B, ..., {size[0]}, {size[1]}).")


@dataclass(frozen=True)
class CubicDownsample(LinearOperator):
    """x -> R_h x R_w^T for every channel, R the antialiased cubic downsampling of `cubic_matrix`.

    Args:
        height: H of the image, a multiple of the factor.
        width: W of the image, a multiple of the factor.
        factor: 4 in the released super-resolution task.
    """

    height: int
    width: int
    factor: int = 4

    def __post_init__(self) -> None:
        _cubic_matrix(self.height, self.factor)
        _cubic_matrix(self.width, self.factor)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ..., H, W) -> (B, ..., H / factor, W / factor)."""
        _check_image(x, (self.height, self.width), "x")
        return _along(x, _cubic_matrix(self.height, self.factor), _cubic_matrix(self.width, self.factor))

    def adjoint(self, y: Tensor) -> Tensor:
        """R_h^T y R_w: the true adjoint."""
        _check_image(y, (self.height // self.factor, self.width // self.factor), "y")
        return _along(y, _cubic_matrix(self.height, self.factor).T, _cubic_matrix(self.width, self.factor).T)

    def pinv(self, y: Tensor, *, iterations: int = 100, tolerance: float = 1e-6) -> Tensor:
        """R_h^+ y R_w^+^T, by singular values (closed form)."""
        return self._filtered(y, torch.zeros((), dtype=y.dtype, device=y.device))

    def prox(
        self, x: Tensor, y: Tensor, weight: float | Tensor, *, iterations: int = 50, tolerance: float = 1e-6
    ) -> Tensor:
        """x + H^T (H H^T + weight)^-1 (y - H x), by singular values of the two axes (closed form)."""
        return x + self._filtered(y - self.forward(x), per_sample(weight, x))

    def _filtered(self, y: Tensor, weight: Tensor) -> Tensor:
        left, s, v = _cubic_factors(self.height, self.factor)
        right, t, w = _cubic_factors(self.width, self.factor)
        gain = (s[:, None] * t).to(y)
        return _along(_along(y, left.T, right.T) * gain / (gain.square() + weight), v, w)


@dataclass(frozen=True)
class BlockMean(LinearOperator):
    """Means of blocks of factor x factor pixels.

    H H^T = I / factor^2, so the pseudo-inverse repeats each value and the proximal map has a closed form.

    Args:
        factor: block size, >= 1; H and W must be multiples of it.
    """

    factor: int

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise ValueError(f"factor: found {self.factor}; it must be >= 1.")

    def forward(self, x: Tensor) -> Tensor:
        """(B, ..., H, W) -> (B, ..., H / factor, W / factor)."""
        height, width = x.shape[-2:]
        if x.ndim < 3 or height % self.factor or width % self.factor:
            raise ValueError(f"x: found shape {tuple(x.shape)}; H and W must be multiples of {self.factor}.")
        shape = (*x.shape[:-2], height // self.factor, self.factor, width // self.factor, self.factor)
        return x.reshape(shape).mean((-3, -1))

    def adjoint(self, y: Tensor) -> Tensor:
        """Repeat and divide by factor^2."""
        return nearest_upsample(y, self.factor) / self.factor**2

    def pinv(self, y: Tensor, *, iterations: int = 100, tolerance: float = 1e-6) -> Tensor:
        """Repeat each value."""
        return nearest_upsample(y, self.factor)

    def prox(
        self, x: Tensor, y: Tensor, weight: float | Tensor, *, iterations: int = 50, tolerance: float = 1e-6
    ) -> Tensor:
        """x + H^T (y - H x) / (1 / factor^2 + weight)."""
        return x + self.adjoint(y - self.forward(x)) / (1 / math.pow(self.factor, 2) + per_sample(weight, x))
