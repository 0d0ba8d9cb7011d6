"""Baselines that believe images to be sparse: L1-wavelet and total variation through sigpy, and BART's L1-wavelet."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skiagraph.tasks.reconstruct.bart import pics
from skiagraph.tasks.reconstruct.scan import PreparedScan

__all__ = ["BartPics", "L1Wavelet", "TotalVariation", "check_baseline"]


def check_baseline(name: str, iterations: int, strength: float) -> None:
    """Refuse numbers that no baseline can work with; `name` is the baseline's."""
    if iterations < 1:
        raise ValueError(f"iterations of {name}: found {iterations}; it must be >= 1.")
    if not 0 <= strength < math.inf:
        raise ValueError(f"strength of {name}: found {strength}; it must be finite and >= 0.")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings of foreign numerical packages about their own code away from the caller."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


Solver = Callable[[NDArray[np.complex64], NDArray[np.complex64], NDArray[np.float32]], NDArray[np.complex64]]


def _slice_by_slice(solve: Solver, scan: PreparedScan) -> Tensor:
    """Solve with numpy arrays k-space (coils, H, W), maps (coils, H, W) and mask (H, W) -> image (H, W)."""
    images = []
    for kspace, maps, mask in zip(scan.kspace.cpu(), scan.maps.cpu(), scan.mask.cpu(), strict=True):
        sampled = mask.float().expand(1, *maps.shape[1:])[0].contiguous().numpy()
        image = solve(kspace.to(torch.complex64).numpy() * sampled, maps.to(torch.complex64).numpy(), sampled)
        images.append(torch.from_numpy(np.ascontiguousarray(image, dtype=np.complex64)))
    return torch.stack(images).to(scan.kspace.device)


@dataclass(frozen=True)
class L1Wavelet:
    """argmin_x 1/2 |M T x - y|^2 + strength |W x|_1 by FISTA of sigpy, with cycle spinning.

    Differs from `sigpy.mri.app.L1WaveletRecon` in that the wavelet grid is shifted anew in every iteration (by a fixed
    sequence), which removes block artefacts and is worth decibels, and in the wavelet. With `spin` False, "db4" and
    `levels` None it is that program. References: Lustig et al., Magn. Reson. Med. 58, 2007; Coifman and Donoho 1995.

    Args:
        strength: weight of the l1 norm, >= 0.
        iterations: FISTA steps, >= 1.
        wavelet: name of an orthogonal wavelet of PyWavelets.
        levels: depth of the decomposition; None for the deepest possible.
        spin: shift the grid in every iteration.
    """

    strength: float = 0.002
    iterations: int = 100
    wavelet: str = "db2"
    levels: int | None = 4
    spin: bool = True
    name: ClassVar[str] = "l1-wavelet"

    def __post_init__(self) -> None:
        check_baseline(self.name, self.iterations, self.strength)

    def __call__(self, scan: PreparedScan) -> Tensor:
        """See `Baseline`."""
        return _slice_by_slice(self._solve, scan)

    def _solve(
        self, kspace: NDArray[np.complex64], maps: NDArray[np.complex64], mask: NDArray[np.float32]
    ) -> NDArray[np.complex64]:
        with _quiet():
            from sigpy.app import LinearLeastSquares
            from sigpy.mri.linop import Sense

            sense = Sense(maps, weights=mask)
            image: NDArray[np.complex64] = LinearLeastSquares(
                sense, kspace, proxg=self._shrink(mask.shape), alpha=1.0, max_iter=self.iterations, show_pbar=False
            ).run()
        return image

    def _shrink(self, shape: tuple[int, ...]) -> Any:
        """Soft threshold of wavelet coefficients, on a grid that moves with every call."""
        from sigpy.linop import Wavelet
        from sigpy.prox import L1Reg, Prox, UnitaryTransform

        transform = Wavelet(shape, wave_name=self.wavelet, level=self.levels)
        still = UnitaryTransform(L1Reg(transform.oshape, self.strength), transform)
        if not self.spin:
            return still
        shifts = np.random.default_rng(0)

        class Spinning(Prox):  # type: ignore[misc]
            def _prox(self, alpha: float, image: NDArray[np.complex64]) -> NDArray[np.complex64]:
                down, right = (int(shift) for shift in shifts.integers(0, shape))
                return np.roll(still(alpha, np.roll(image, (down, right), (0, 1))), (-down, -right), (0, 1))

        return Spinning(shape)


@dataclass(frozen=True)
class TotalVariation:
    """argmin_x 1/2 |M T x - y|^2 + strength |grad x|_1 through `sigpy.mri.app.TotalVariationRecon`, by ADMM.

    sigpy's own default, a primal-dual method with one step size, is far from the minimum after hundreds of steps here;
    ADMM reaches it to a few thousandths in 20. Differences are periodic, and of complex numbers, without a split into
    magnitude and phase. Reference: Block et al., Magn. Reson. Med. 57, 2007.

    Args:
        strength: weight of the sum of |differences| along rows and columns, >= 0.
        iterations: ADMM steps, >= 1.
        penalty: augmentation weight of ADMM, > 0: changes speed, not the minimum.
        inner_iterations: conjugate-gradient steps of each image update, warm-started.
    """

    strength: float = 0.002
    iterations: int = 20
    penalty: float = 0.01
    inner_iterations: int = 5
    name: ClassVar[str] = "total-variation"

    def __post_init__(self) -> None:
        check_baseline(self.name, min(self.iterations, self.inner_iterations), self.strength)
        if not 0 < self.penalty < math.inf:
            raise ValueError(f"penalty of {self.name}: found {self.penalty}; it must be finite and > 0.")

    def __call__(self, scan: PreparedScan) -> Tensor:
        """See `Baseline`."""
        return _slice_by_slice(self._solve, scan)

    def _solve(
        self, kspace: NDArray[np.complex64], maps: NDArray[np.complex64], mask: NDArray[np.float32]
    ) -> NDArray[np.complex64]:
        with _quiet():
            from sigpy.mri.app import TotalVariationRecon

            image: NDArray[np.complex64] = TotalVariationRecon(
                kspace,
                maps,
                self.strength,
                weights=mask,
                solver="ADMM",
                rho=self.penalty,
                max_cg_iter=self.inner_iterations,
                max_iter=self.iterations,
                show_pbar=False,
            ).run()
        return image


@dataclass(frozen=True)
class BartPics:
    """argmin_x 1/2 |M T x - y|^2 + strength |W x|_1 by the program `bart pics`, where it is installed.

    FISTA with Daubechies-2 wavelets and cycle spinning; the same problem as `L1Wavelet` in another implementation.
    Reference: BART, https://mrirecon.github.io/bart.

    Args:
        strength: weight of the l1 norm, >= 0.
        iterations: FISTA steps, >= 1.
    """

    strength: float = 0.002
    iterations: int = 100
    name: ClassVar[str] = "bart-pics"

    def __post_init__(self) -> None:
        check_baseline(self.name, self.iterations, self.strength)

    def __call__(self, scan: PreparedScan) -> Tensor:
        """See `Baseline`; raises `InputError` where there is no `bart` on the path."""
        return _slice_by_slice(
            lambda kspace, maps, mask: pics(kspace, maps, mask, self.strength, self.iterations), scan
        )
