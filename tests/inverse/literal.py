"""The released sampler and the losses, written down once more from the method page, in plain numpy.

Sections 3, 4 and 6.1, one item at a time, no library code: what the rules and the objectives are held against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Coils",
    "Images",
    "Noise",
    "Problem",
    "default_noisy",
    "denoised",
    "loss",
    "noise_time",
    "reference_noisy",
    "sample",
    "scale_levels",
]

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


@dataclass
class Noise:
    """Constants of section 4: nu, tau_nu, abar_nu, kappa, w_sure, and the number that C H W is divided by."""

    nu: float
    tau: float
    bar: float
    kappa: float
    weight: float
    rate: float


def noise_time(nu: float) -> tuple[float, float]:
    """tau_nu and abar_nu: the nearest of 10^6 values of rho, interpolated over time in [0, 999]."""
    bars = np.array(scale_levels(1))
    times = np.linspace(0, 999, 1_000_000)
    ratios = np.interp(times, np.arange(1000), np.sqrt((1 - bars) / bars))
    nearest = int(np.argmin(np.abs(ratios - nu)))
    return float(times[nearest]), float(1 / (1 + ratios[nearest] ** 2))


def _parts(value: Array) -> Array:
    return np.stack([value.real, value.imag]) if np.iscomplexobj(value) else value


def reference_noisy(
    network: Network,
    spaces: Sequence[Images | Coils],
    bar: float,
    tau: float,
    noise: Noise,
    data: Sequence[tuple[Array, Array, Array, Array]],
) -> list[float]:
    """Section 4, `reference`, of a batch of (s, mask, n, b): main_b + w_sure L_sure / rho^2."""
    rho, root = np.sqrt((1 - bar) / bar), np.sqrt(noise.bar)
    m = spaces[0].adjoint(data[0][0]).size / noise.rate
    first, misfit, divergence = [], 0.0, 0.0
    for space, (s, mask, _, b) in zip(spaces, data, strict=True):
        outputs = []
        for v in (space.adjoint(mask * s), space.adjoint(mask * (root * s + noise.kappa * b))):
            x1 = v / root - np.sqrt(1 / noise.bar - 1) * network(v, noise.tau)
            outputs.append(mask * space.forward(x1))
        first.append(outputs[0])
        misfit += float(np.sum(_parts(outputs[0] - s) ** 2))
        divergence += float(np.sum(_parts(b) * _parts(outputs[1] - outputs[0])))
    count = len(data)
    sure = misfit / (count * m) - noise.nu**2 + 2 * noise.nu**2 / (noise.kappa * m * count) * divergence
    found = []
    for space, (s, mask, n, _), y1 in zip(spaces, data, first, strict=True):
        if rho > noise.nu:
            u = space.adjoint(mask * np.sqrt(bar) * (s + np.sqrt(rho**2 - noise.nu**2) * n))
            x0_hat = u / np.sqrt(bar) - rho * network(u, tau)
            c = (rho**2 - noise.nu**2) / rho**2
            error = s - mask * space.forward(c * (x0_hat - u) + u)
        else:
            u = space.adjoint(mask * np.sqrt(bar) * (y1 + rho * n))
            error = y1 - mask * space.forward(u / np.sqrt(bar) - rho * network(u, tau))
        found.append(float(np.mean(_parts(error) ** 2) / rho**2 + noise.weight * sure / rho**2))
    return found


def default_noisy(
    network: Network,
    space: Images | Coils,
    bar: float,
    tau: float,
    noise: Noise,
    data: tuple[Array, Array, Array, Array],
    target: Array | None = None,
) -> float:
    """Section 4, `default`, of one item (s, mask, n, b), with the weight 1 / rho^2 on the squared error of x0_hat.

    `target` holds y1 fixed where the gradient must not pass through it.
    """
    s, mask, n, b = data
    rho = np.sqrt((1 - bar) / bar)
    m = float(np.sum(np.broadcast_to(mask, s.shape))) * (2 if np.iscomplexobj(s) else 1)

    y1, y2 = (denoised(network, space, noise, entry, mask) for entry in (s, s + noise.kappa * b))
    sure = np.sum(_parts(y1 - s) ** 2) / m - noise.nu**2
    sure += 2 * noise.nu**2 / (noise.kappa * m) * np.sum(_parts(b) * _parts(y2 - y1))
    held = y1 if target is None else target
    q = s + np.sqrt(rho**2 - noise.nu**2) * n if rho > noise.nu else held + rho * n
    u = space.adjoint(mask * np.sqrt(bar) * q)
    estimate = mask * space.forward(u / np.sqrt(bar) - rho * network(u, tau))
    c = (rho**2 - noise.nu**2) / rho**2
    error = s - (c * estimate + (1 - c) * mask * q) if rho > noise.nu else held - estimate
    return float(np.sum(_parts(error) ** 2) / (m * rho**2) + noise.weight * sure)


def denoised(network: Network, space: Images | Coils, noise: Noise, s: Array, mask: Array) -> Array:
    """y1 of section 4.1, `default`."""
    root = 1 / np.sqrt(1 + noise.nu**2)
    v = space.adjoint(mask * root * s)
    result: Array = mask * space.forward(v / root - noise.nu * network(v, noise.tau))
    return result
