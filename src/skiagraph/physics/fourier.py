"""Centred Fourier transforms and the Fourier operators of magnetic resonance imaging.

Images are real (B, 2, H, W) with real and imaginary part as channels; k-space is complex (B, coils, H, W) with the
phase encoding on the last axis and zero frequency at index size // 2, of odd and even sizes alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from skiagraph.physics.centred import (
    by_sample,
    centred_fft2,
    centred_ifft2,
    decode,
    encode,
    filtered,
    to_complex,
    to_real,
)
from skiagraph.physics.operator import LinearOperator, conjugate_gradient, per_sample

__all__ = [
    "CoilFourier",
    "MaskedCoilFourier",
    "MaskedFourier",
    "centred_fft2",
    "centred_ifft2",
    "check_mask",
    "to_complex",
    "to_real",
]

_PLANE = (-2, -1)


def check_mask(mask: Tensor, name: str = "mask") -> None:
    """Refuse a mask that is not real (B or 1, 1, H or 1, W or 1) with values 0 and 1."""
    if mask.ndim != 4 or mask.shape[1] != 1:
        raise ValueError(
            f"{name}: found shape {tuple(mask.shape)}; allowed is (B or 1, 1, H or 1, W), one for all coils."
        )
    if mask.is_complex() or not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError(
            f"{name}: found {mask.dtype} with other values than 0 and 1; allowed are real masks of 0 and 1."
        )


def _check_maps(maps: Tensor) -> None:
    if maps.ndim != 4 or not maps.is_complex():
        raise ValueError(
            f"maps: found {maps.dtype} of shape {tuple(maps.shape)}; allowed is complex (B or 1, coils, H, W)."
        )


def _check_plane(mask: Tensor, maps: Tensor) -> None:
    for axis in _PLANE:
        if mask.shape[axis] not in (1, maps.shape[axis]):
            raise ValueError(
                f"mask: found shape {tuple(mask.shape)}, which does not fit maps of shape {tuple(maps.shape)}; "
                "allowed are (B or 1, 1, H or 1, W or 1) of the same H and W."
            )


@dataclass(frozen=True, eq=False)
class CoilFourier(LinearOperator):
    """T: image -> k-space of every coil, y_c = F (C_c x), F the centred orthonormal transform.

    Where sum_c |C_c|^2 = 1, T^H T = I; T T^H is a projection, not the identity.

    Args:
        maps: (B or 1, coils, H, W) complex coil sensitivities.
    """

    maps: Tensor

    def __post_init__(self) -> None:
        _check_maps(self.maps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2, H, W) real -> (B, coils, H, W) complex."""
        return by_sample(encode, to_complex(x), self.maps, None)

    def adjoint(self, y: Tensor) -> Tensor:
        """sum_c conj(C_c) F^H y_c: (B, coils, H, W) complex -> (B, 2, H, W) real."""
        return to_real(by_sample(decode, y, self.conjugate, None))

    def normal(self, x: Tensor) -> Tensor:
        """sum_c |C_c|^2 x."""
        return self._power() * x

    def weighted_normal(self, x: Tensor, weights: Tensor) -> Tensor:
        """T^H W T x of complex images (B, H, W), for solvers with a precision of their own for every k-space value.

        Without shifts, and by 1-D transforms only along the axes on which the weights vary: one pair for columns.

        Args:
            x: (B, H, W) complex.
            weights: (B or 1, 1, H or 1, W or 1) real.
        """
        return by_sample(filtered, x, self.maps, self.conjugate, weights)

    def pinv(self, y: Tensor, *, iterations: int = 100, tolerance: float = 1e-6) -> Tensor:
        """T^H y / sum_c |C_c|^2, zero where all maps are zero (closed form; the other arguments are not needed)."""
        return self._divide(self.adjoint(y), self._power())

    def prox(
        self, x: Tensor, y: Tensor, weight: float | Tensor, *, iterations: int = 50, tolerance: float = 1e-6
    ) -> Tensor:
        """(T^H y + weight x) / (sum_c |C_c|^2 + weight), in closed form."""
        power, ratio = self._power(), per_sample(weight, x)
        return x + self._divide(self.adjoint(y) - power * x, power + ratio)

    @property
    def conjugate(self) -> Tensor:
        """conj(C) as numbers in memory, which multiply faster than a lazy conjugate; kept while maps are constant."""
        return torch.conj_physical(self.maps) if self.maps.requires_grad else self._kept_conjugate

    @cached_property
    def _kept_conjugate(self) -> Tensor:
        with torch.inference_mode(False):
            return torch.conj_physical(self.maps)

    def _power(self) -> Tensor:
        return (self.maps.real.square() + self.maps.imag.square()).sum(1, keepdim=True)

    @staticmethod
    def _divide(numerator: Tensor, denominator: Tensor) -> Tensor:
        positive = denominator > 0
        return torch.where(positive, numerator / torch.where(positive, denominator, 1.0), 0.0)


@dataclass(frozen=True, eq=False)
class MaskedCoilFourier(LinearOperator):
    """M T: image -> sampled k-space of every coil, zero where not sampled.

    Args:
        maps: (B or 1, coils, H, W) complex coil sensitivities.
        mask: (B or 1, 1, H or 1, W or 1) real 0/1; (B, 1, 1, W) samples whole columns.
    """

    maps: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        _check_maps(self.maps)
        check_mask(self.mask)
        _check_plane(self.mask, self.maps)

    @cached_property
    def full(self) -> CoilFourier:
        """T, without the mask."""
        return CoilFourier(self.maps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2, H, W) real -> (B, coils, H, W) complex."""
        return by_sample(encode, to_complex(x), self.maps, self.mask)

    def adjoint(self, y: Tensor) -> Tensor:
        """T^H M y: (B, coils, H, W) complex -> (B, 2, H, W) real."""
        return to_real(by_sample(decode, y, self.full.conjugate, self.mask))

    def normal(self, x: Tensor) -> Tensor:
        """T^H M T x; for column masks by one pair of 1-D transforms along the last axis, without shifts."""
        return to_real(self.normal_complex(to_complex(x)))

    def normal_complex(self, x: Tensor) -> Tensor:
        """`normal` on complex images (B, H, W), for solvers that keep a complex state."""
        return self.full.weighted_normal(x, self.mask)

    def pinv(self, y: Tensor, *, iterations: int = 100, tolerance: float = 1e-6) -> Tensor:
        """The shortest least-squares solution by conjugate gradients (CG-SENSE without regularisation)."""
        rhs = to_complex(self.adjoint(y))
        return to_real(conjugate_gradient(self.normal_complex, rhs, None, iterations, tolerance))

    def prox(
        self, x: Tensor, y: Tensor, weight: float | Tensor, *, iterations: int = 50, tolerance: float = 1e-6
    ) -> Tensor:
        """See `LinearOperator.prox`; the iterate is kept complex."""
        rhs = to_complex(self.adjoint(y - self.forward(x)))
        ratio = per_sample(weight, rhs)
        step = conjugate_gradient(lambda z: self.normal_complex(z) + ratio * z, rhs, None, iterations, tolerance)
        return x + to_real(step)


@dataclass(frozen=True, eq=False)
class MaskedFourier(LinearOperator):
    """M F: image -> sampled k-space of a single coil.

    Args:
        mask: (B or 1, 1, H or 1, W or 1) real 0/1.
    """

    mask: Tensor

    def __post_init__(self) -> None:
        check_mask(self.mask)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2, H, W) real -> (B, 1, H, W) complex."""
        return by_sample(encode, to_complex(x), None, self.mask)

    def adjoint(self, y: Tensor) -> Tensor:
        """F^H M y: (B, 1, H, W) complex -> (B, 2, H, W) real."""
        return to_real(by_sample(decode, y, None, self.mask))

    def normal(self, x: Tensor) -> Tensor:
        """F^H M F x, by transforms along the axes on which the mask varies."""
        return to_real(by_sample(filtered, to_complex(x), None, None, self.mask))

    def pinv(self, y: Tensor, *, iterations: int = 100, tolerance: float = 1e-6) -> Tensor:
        """F^H M y: the pseudo-inverse is the adjoint."""
        return self.adjoint(y)

    def prox(
        self, x: Tensor, y: Tensor, weight: float | Tensor, *, iterations: int = 50, tolerance: float = 1e-6
    ) -> Tensor:
        """x + F^H M (y - F x) / (1 + weight), in closed form."""
        return x + self.adjoint(y - self.forward(x)) / (1 + per_sample(weight, x))
