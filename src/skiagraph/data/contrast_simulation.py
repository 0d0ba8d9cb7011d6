"""The same brain in several contrasts, from one T1-weighted image: signals mixed by tissue, texture, shading, noise.

Real or averaged anatomy with computed signal: a "simulated contrast", never to be called a scan.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.contrast import SEQUENCES, T1_WEIGHTED, TISSUES
from skiagraph.data.simulation import case_generator
from skiagraph.errors import DataError, InputError

__all__ = ["ContrastOptions", "SimulatedContrasts", "residual_texture", "shading", "simulate_contrasts"]

FloatArray = NDArray[np.floating[Any]]
PURE = ("csf", "grey", "white")


@dataclass(frozen=True)
class ContrastOptions:
    """How contrasts are made; all but the sequences are choices, not measurements.

    Attributes:
        contrasts: names of `SEQUENCES`.
        noise_percent: standard deviation of the noise of each part of the complex image, in percent of the signal of
            the sequence's reference tissue.
        bias_percent: range of the shading over the brain: 20 is 0.90 to 1.10.
        time_jitter, density_jitter: relative spread of T1 and T2, and of proton density, per tissue and head.
        residual_limit: largest residual of the T1 image that is taken over as anatomy.
        residual_smoothing_mm: its smoothing, which takes the noise out.
        texture_percent: each contrast's own smooth texture, without which contrasts are functions of each other.
        texture_mm: its width.
    """

    contrasts: tuple[str, ...] = ("T1", "PD", "T2", "FLAIR")
    noise_percent: float = 3.0
    bias_percent: float = 20.0
    time_jitter: float = 0.05
    density_jitter: float = 0.02
    residual_limit: float = 0.25
    residual_smoothing_mm: float = 0.7
    texture_percent: float = 1.5
    texture_mm: float = 2.0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.contrasts) - set(SEQUENCES))
        if unknown or not self.contrasts:
            raise InputError(f"contrasts: {', '.join(unknown) or 'none given'}; allowed are {', '.join(SEQUENCES)}")
        if not 0 <= self.noise_percent <= 100 or not 0 <= self.bias_percent < 200 or not 0 <= self.texture_percent < 50:
            raise InputError(
                f"noise_percent is {self.noise_percent}, bias_percent {self.bias_percent}, texture_percent "
                f"{self.texture_percent}; allowed are 0 to 100, 0 to below 200 and 0 to below 50"
            )


@dataclass(frozen=True)
class SimulatedContrasts:
    """One brain in several contrasts, with everything that was hidden in them.

    Attributes:
        images: name -> (X, Y, Z) float32, with shading and noise; in units of the proton density's scale.
        clean: name -> (X, Y, Z) float32, without both: the truth of the contrast.
        bias: name -> (X, Y, Z) float32, the shading.
        fractions: (3, X, Y, Z) float32, shares of fluid, grey and white matter.
        parameters: tissue -> proton density, T1 and T2 in ms of this head.
        noise_std: name -> standard deviation of each part of the complex noise.
        options, seed, case: what it was made from.
    """

    images: dict[str, NDArray[np.float32]]
    clean: dict[str, NDArray[np.float32]]
    bias: dict[str, NDArray[np.float32]]
    fractions: NDArray[np.float32]
    parameters: dict[str, tuple[float, float, float]]
    noise_std: dict[str, float]
    options: ContrastOptions
    seed: int
    case: str = field(default="")


def residual_texture(
    image: FloatArray,
    fractions: FloatArray,
    mask: NDArray[np.bool_],
    spacing_mm: tuple[float, ...],
    options: ContrastOptions,
) -> NDArray[np.float32]:
    """q = (I - fit) / fit, cut and smoothed: anatomy that three tissues cannot tell, such as deep grey matter.

    The fit is the least-squares mixture I = sum_k f_k m_k over the mask; smoothing is normalised within the mask.
    """
    from scipy import ndimage

    columns = fractions[:, mask].T.astype(np.float64)
    means, *_ = np.linalg.lstsq(columns, np.asarray(image[mask], dtype=np.float64), rcond=None)
    fit = columns @ means
    residual = np.zeros(mask.shape, dtype=np.float32)
    limit = options.residual_limit
    residual[mask] = np.clip((image[mask] - fit) / np.maximum(fit, 0.05 * fit.max()), -limit, limit)
    width = [options.residual_smoothing_mm / step for step in spacing_mm]
    weight = ndimage.gaussian_filter(mask.astype(np.float32), width)
    smooth = ndimage.gaussian_filter(residual, width) / np.maximum(weight, 1e-3)
    return np.asarray(smooth * mask, dtype=np.float32)


def shading(
    mask: NDArray[np.bool_], percent: float, shared: np.random.Generator, own: np.random.Generator
) -> NDArray[np.float32]:
    """exp(polynomial of degree 3 in the voxel's position), from 1 - percent / 200 to 1 + percent / 200 over the mask.

    Args:
        mask: (X, Y, Z), the brain.
        percent: range of the shading.
        shared: stream of the part that all contrasts have (the same coil).
        own: stream of a part a quarter as large.
    """
    lines = [np.linspace(-1, 1, side) if side > 1 else np.zeros(1) for side in mask.shape]
    powers = [(i, j, k) for i in range(4) for j in range(4 - i) for k in range(4 - i - j) if i + j + k]
    field = np.zeros(mask.shape)
    for weights in (shared.normal(size=len(powers)), 0.25 * own.normal(size=len(powers))):
        for (i, j, k), weight in zip(powers, weights, strict=True):
            field += weight * (lines[0] ** i)[:, None, None] * (lines[1] ** j)[None, :, None] * lines[2] ** k
    field -= field[mask].mean()
    field = np.exp(0.2 * field / max(float(field[mask].std()), 1e-12))
    low, high = float(field[mask].min()), float(field[mask].max())
    if percent == 0 or high == low:
        return np.ones(mask.shape, dtype=np.float32)
    scaled = 1 - percent / 200 + (field - low) / (high - low) * percent / 100
    return np.asarray(np.clip(scaled, 0.05, None), dtype=np.float32)


def _jittered(options: ContrastOptions, generator: np.random.Generator) -> dict[str, tuple[float, float, float]]:
    found = {}
    for name in PURE:
        tissue = TISSUES[name]
        draws = np.exp(
            np.array([options.density_jitter, options.time_jitter, options.time_jitter]) * generator.normal(size=3)
        )
        values = np.array([tissue.proton_density, tissue.t1_ms, tissue.t2_ms]) * draws
        found[name] = (float(values[0]), float(values[1]), float(values[2]))
    return found


def _mixed_signal(
    name: str, fractions: FloatArray, texture: FloatArray, parameters: dict[str, tuple[float, float, float]]
) -> NDArray[np.float64]:
    """sum_k f_k s_k over the mask's voxels, s_k with times shifted by the texture; signals are mixed, not parameters.

    Brighter on T1 means shorter T1: d ln T1 = -q / |d ln S / d ln T1| of the T1 sequence, d ln T2 = half of it and
    d ln PD a quarter.
    """
    total = np.zeros(texture.shape)
    for share, tissue in zip(fractions, PURE, strict=True):
        density, t1, t2 = parameters[tissue]
        change = -texture / np.abs(T1_WEIGHTED.t1_exponent(t1))
        signal = SEQUENCES[name].signal(density * np.exp(0.25 * change), t1 * np.exp(change), t2 * np.exp(0.5 * change))
        total += share * signal
    return total


def _own_texture(
    mask: NDArray[np.bool_], spacing_mm: tuple[float, ...], options: ContrastOptions, generator: np.random.Generator
) -> NDArray[np.float64]:
    """1 + share times a smooth Gaussian field of unit variance, at the mask's voxels."""
    from scipy import ndimage

    noise = generator.normal(size=mask.shape).astype(np.float32)
    smooth = ndimage.gaussian_filter(noise, [options.texture_mm / step for step in spacing_mm], mode="wrap")
    inside = smooth[mask]
    standard = (inside - inside.mean()) / max(float(inside.std()), 1e-12)
    return np.asarray(1 + options.texture_percent / 100 * standard, dtype=np.float64)


def simulate_contrasts(
    image: FloatArray,
    fractions: FloatArray,
    mask: NDArray[np.bool_],
    spacing_mm: tuple[float, ...],
    options: ContrastOptions | None = None,
    *,
    seed: int = 0,
    case: str = "",
) -> SimulatedContrasts:
    """Compute the contrasts of one brain.

    Args:
        image: (X, Y, Z) T1-weighted, corrected for shading, any unit.
        fractions: (3, X, Y, Z), see `fractions_from_intensity`.
        mask: (X, Y, Z), the brain; nothing but noise is shown outside.
        spacing_mm: of the voxels.
        options: see there.
        seed: of every draw, with `case`.
        case: name of the head: each head, contrast and kind of draw has a stream of its own.
    """
    options = ContrastOptions() if options is None else options
    if image.shape != mask.shape or fractions.shape != (3, *mask.shape):
        raise InputError(
            f"image has shape {image.shape}, fractions {fractions.shape}, mask {mask.shape}; they must agree"
        )
    if not mask.any():
        raise DataError("the mask is empty: there is no brain to simulate")
    parameters = _jittered(options, case_generator(seed, case, "tissue"))
    texture = residual_texture(image, fractions, mask, spacing_mm, options)[mask]
    images, clean, bias, noise_std = {}, {}, {}, {}
    for name in options.contrasts:
        signal = np.zeros(mask.shape, dtype=np.float32)
        own = _own_texture(mask, spacing_mm, options, case_generator(seed, case, f"{name} texture"))
        signal[mask] = _mixed_signal(name, fractions[:, mask], texture, parameters) * own
        shared = case_generator(seed, case, "shading")
        clean[name] = signal
        bias[name] = shading(mask, options.bias_percent, shared, case_generator(seed, case, f"{name} shading"))
        reference = float(SEQUENCES[name].signal(*parameters[SEQUENCES[name].reference]))
        noise_std[name] = options.noise_percent / 100 * reference
        parts = noise_std[name] * case_generator(seed, case, f"{name} noise").normal(size=(2, *mask.shape))
        images[name] = np.hypot(signal * bias[name] + parts[0], parts[1]).astype(np.float32)
    return SimulatedContrasts(
        images, clean, bias, np.asarray(fractions, dtype=np.float32), parameters, noise_std, options, seed, case
    )
