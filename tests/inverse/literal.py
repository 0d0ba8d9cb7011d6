"""The released sampler and the released loss, written down once more from the method page, in plain numpy.

Sections 3 and 6.1, one item at a time, no batch, no library code: what `ReferenceMeasurementScore` and `reference_loss`
are held against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Coils", "Images", "Problem", "loss", "sample", "scale_levels"]

Array = NDArray[np.generic]
Network = Callable[[Array, float], Array]


def scale_levels(stride: int) -> list[float]:
    """abar of every stride-th level of the linear table from 1e-4 to 2e-2 over 1000 steps."""
    kept = np.cumprod(1 - np.linspace(1e-4, 2e-2, 1000, dtype=np.float64))
    return [float(value) for value in kept[::stride]]


@dataclass
class Images:
    """T = identity; the network sees (C, H, W)."""

    def forward(self, x: Array) -> Array:
        return x

    def adjoint(self, z: Array) -> Array:
        return z


@dataclass
class Coils:
    """T for coil maps (coils, H, W): the network sees re and im, (2, H, W); k-space is (coils, H, W)."""

    maps: Array

    def forward(self, x: Array) -> Array:
        coils = np.fft.ifftshift(self.maps * (x[0] + 1j * x[1]), axes=(1, 2))
        return np.fft.fftshift(np.fft.fft2(coils, norm="ortho"), axes=(1, 2))

    def adjoint(self, z: Array) -> Array:
        coils = np.fft.ifft2(np.fft.ifftshift(z, axes=(1, 2)), norm="ortho")
        image = (self.maps.conj() * np.fft.fftshift(coils, axes=(1, 2))).sum(0)
        return np.stack([image.real, image.imag])


@dataclass
class Problem:
    """An inverse problem; `inside` says where its data step stands: in the mask loop (MRI) or after it (images)."""

    inside: bool
    lam: float
    measurement: Array
    forward: Callable[[Array], Array]
    transpose: Callable[[Array], Array]


def sample(
    network: Network,
    space: Images | Coils,
    levels: Sequence[float],
    stride: int,
    gaussians: Iterator[Array],
    masks: Iterator[Array],
    *,
    views: int,
    eta: float,
    problem: Problem | None = None,
    clip: bool = False,
) -> Array:
    """The state z after the last level: section 6.1, steps 1 to 6."""
    z = next(gaussians)
    z_hat = np.zeros_like(z)
    for t in range(len(levels) - 1, -1, -1):
        bar = levels[t]
        bar_above = levels[t + 1] if t + 1 < len(levels) else 0.0
        bar_below = levels[t - 1] if t > 0 else 1.0
        rho = np.sqrt((1 - bar) / bar)
        acc, cov = np.zeros_like(z), np.zeros(z.shape)
        for _ in range(views):
            mask = next(masks)
            u = space.adjoint(mask * z)
            e0 = network(u, float(stride * t))
            s_hat = mask * space.forward(u / np.sqrt(bar) - rho * e0)
            if problem is not None and problem.inside:
                residual = problem.forward(s_hat) - problem.measurement
                s_hat = mask * (s_hat - problem.lam * problem.transpose(residual))
            acc, cov = acc + s_hat, cov + mask
            vs = eta * np.sqrt((1 - bar) / (1 - bar_above) * (1 - bar_above / bar))
            noise = next(gaussians)
            again = np.sqrt(bar) * s_hat + np.sqrt(max(1 - bar - vs**2, 0)) * space.forward(e0)
            if t > 0:
                again = again + vs * noise
            z = np.where(s_hat != 0, again, z)
        average = acc / np.maximum(cov, 1)
        z_hat = np.where(average != 0, average, z_hat)
        out = z_hat
        if problem is not None and not problem.inside:
            out = z_hat - problem.lam * problem.transpose(problem.forward(z_hat) - problem.measurement)
        out_c = np.clip(out, -1, 1) if clip else out
        noise = next(gaussians)
        if problem is None:
            e_z = (z / np.sqrt(bar) - out_c) / rho
            vs = eta * np.sqrt((1 - bar_below) / (1 - bar) * (1 - bar / bar_below))
            z = np.sqrt(bar_below) * out_c + np.sqrt(max(1 - bar_below - vs**2, 0)) * e_z
            if t > 0:
                z = z + vs * noise
        else:
            e_z = (z / np.sqrt(bar) - out) / rho
            mixed = eta * noise + np.sqrt(1 - eta**2) * e_z
            z = np.sqrt(bar_below) * out_c + np.sqrt(1 - bar_below) * mixed if t > 0 else out_c
    return z


def loss(
    network: Network, space: Images | Coils, bar: float, tau: float, measurement: Array, mask: Array, noise: Array
) -> float:
    """Section 3, `reference`, of one item: mean over all real entries of (s - M T x0_hat)^2 / rho^2."""
    rho = np.sqrt((1 - bar) / bar)
    noisy = np.sqrt(bar) * (measurement + rho * noise)
    u = space.adjoint(mask * noisy)
    x0_hat = u / np.sqrt(bar) - rho * network(u, tau)
    difference = (measurement - mask * space.forward(x0_hat)) / rho
    parts = [difference.real, difference.imag] if np.iscomplexobj(difference) else [difference]
    return float(np.mean([np.mean(part**2) for part in parts]))
