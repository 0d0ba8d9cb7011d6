"""What is used today, on the same prepared scans: zero-filled, CG-SENSE, L1-wavelet, total variation, BART; tuned.

Every baseline maps a `PreparedScan` to images (S, H, W) complex64 in its normalised units with the scan's own coil
maps, each slice on its own, and gives the same result every time. Strengths belong to intensities normalised as in
`PreparedScan`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from skiagraph.errors import InputError
from skiagraph.evaluation.fidelity import fit_scale, psnr
from skiagraph.physics.fourier import MaskedCoilFourier, to_complex
from skiagraph.physics.operator import conjugate_gradient
from skiagraph.tasks.reconstruct.scan import PreparedScan
from skiagraph.tasks.reconstruct.sparse import BartPics, L1Wavelet, TotalVariation, check_baseline

__all__ = [
    "BASELINES",
    "PLAIN_WAVELET",
    "BartPics",
    "Baseline",
    "CGSense",
    "L1Wavelet",
    "TotalVariation",
    "Tuned",
    "TunedBaseline",
    "ZeroFilled",
    "tune",
    "tuned_baseline",
    "tuned_strength",
]


class Baseline(Protocol):
    """A reconstruction without a learned prior."""

    @property
    def name(self) -> str:
        """Its name in tables, options and pictures."""
        ...

    def __call__(self, scan: PreparedScan) -> Tensor:
        """(S, H, W) complex64 images in the scan's normalised units, on its device."""
        ...


@dataclass(frozen=True)
class ZeroFilled:
    """T^H M y: unsampled lines stay zero, coils are combined with the maps."""

    name: ClassVar[str] = "zero-filled"

    def __call__(self, scan: PreparedScan) -> Tensor:
        """See `Baseline`."""
        return to_complex(MaskedCoilFourier(scan.maps, scan.mask).adjoint(scan.kspace))


@dataclass(frozen=True)
class CGSense:
    """argmin_x |M T x - y|^2 + strength |x|^2 by conjugate gradients from zero.

    Reference: Pruessmann et al., Magn. Reson. Med. 46, 2001.

    Args:
        strength: Tikhonov weight, >= 0; 0 leaves the regularisation to early stopping.
        iterations: conjugate-gradient steps, >= 1; always all of them.
    """

    strength: float = 0.01
    iterations: int = 30
    name: ClassVar[str] = "cg-sense"

    def __post_init__(self) -> None:
        check_baseline(self.name, self.iterations, self.strength)

    def __call__(self, scan: PreparedScan) -> Tensor:
        """See `Baseline`."""
        operator = MaskedCoilFourier(scan.maps, scan.mask)
        rhs = to_complex(operator.adjoint(scan.kspace))
        return conjugate_gradient(
            lambda x: operator.normal_complex(x) + self.strength * x, rhs, None, self.iterations, tolerance=0.0
        )


PLAIN_WAVELET = "l1-wavelet-plain"
"""sigpy's own program, `sigpy.mri.app.L1WaveletRecon`."""

BASELINES: Mapping[str, Callable[[float], Baseline]] = {
    ZeroFilled.name: lambda _: ZeroFilled(),
    CGSense.name: CGSense,
    L1Wavelet.name: L1Wavelet,
    PLAIN_WAVELET: lambda strength: L1Wavelet(strength, wavelet="db4", levels=None, spin=False),
    TotalVariation.name: TotalVariation,
    BartPics.name: BartPics,
}
"""Every baseline by name, as a function of its strength (zero-filled has none)."""

# Strengths with the best PSNR on 6 random slices of two training heads (8 coils, 128 x 128, random columns), refined by
# a parabola through the best three of a grid of 4 a decade: rows are effective accelerations, columns noise levels per
# real and imaginary part in normalised units. (Those of the plain wavelets: 4 slices, interpolated in logarithms.)
_ACCELERATIONS = (1.76, 2.73, 3.98, 5.33)
_NOISES = (0.004, 0.013, 0.04)
_STRENGTHS: Mapping[str, tuple[tuple[float, ...], ...]] = {
    CGSense.name: (
        (0.0011, 0.017, 0.27),
        (0.00097, 0.022, 0.26),
        (0.00013, 0.0096, 0.16),
        (0.00019, 0.0073, 0.09),
    ),
    L1Wavelet.name: (
        (0.0013, 0.0074, 0.034),
        (0.00092, 0.0044, 0.023),
        (0.0015, 0.0022, 0.017),
        (0.0017, 0.0022, 0.012),
    ),
    PLAIN_WAVELET: (
        (0.0009, 0.0062, 0.038),
        (0.001, 0.0047, 0.034),
        (0.0008, 0.0032, 0.019),
        (0.0014, 0.0035, 0.014),
    ),
    TotalVariation.name: (
        (0.00057, 0.0031, 0.013),
        (0.001, 0.0021, 0.01),
        (0.0022, 0.0029, 0.0082),
        (0.0029, 0.0035, 0.0072),
    ),
}
_STRENGTHS_OF = {BartPics.name: L1Wavelet.name}  # the same problem


def tuned_strength(name: str, acceleration: float, noise: float) -> float:
    """Strength of a baseline for an effective acceleration and a noise level, interpolated in logarithms.

    The acceleration is taken to the nearest end of the table outside it; the noise is extrapolated, from 0.001 to 0.2.

    Args:
        name: a key of `BASELINES`; 0 for zero-filled.
        acceleration: columns over sampled columns, >= 1.
        noise: standard deviation per real and imaginary part in normalised units, >= 0.
    """
    _known(name)
    if not (acceleration >= 1 and noise >= 0):
        raise ValueError(f"acceleration, noise: found {acceleration} and {noise}; they must be >= 1 and >= 0.")
    if name == ZeroFilled.name:
        return 0.0
    table = np.log(_STRENGTHS[_STRENGTHS_OF.get(name, name)])
    rate, level = math.log(acceleration), math.log(min(max(noise, 0.001), 0.2))
    by_noise = [float(np.interp(rate, np.log(_ACCELERATIONS), column)) for column in table.T]
    nodes = np.log(_NOISES)
    upper = 1 if level < nodes[1] else 2
    share = (level - nodes[upper - 1]) / (nodes[upper] - nodes[upper - 1])
    return float(np.exp(by_noise[upper - 1] + share * (by_noise[upper] - by_noise[upper - 1])))


def _known(name: str) -> None:
    if name not in BASELINES:
        raise InputError(f"baseline: found {name!r}; allowed are {', '.join(BASELINES)}.")


@dataclass(frozen=True)
class TunedBaseline:
    """A baseline that takes its strength for every slice from the slice's noise level and acceleration.

    Args:
        name: a key of `BASELINES`.
        acceleration: effective acceleration of all slices; None for that of each slice's mask.
    """

    name: str
    acceleration: float | None = None

    def __post_init__(self) -> None:
        _known(self.name)

    def __call__(self, scan: PreparedScan) -> Tensor:
        """See `Baseline`."""
        return torch.cat([self.of(scan.select([item]))(scan.select([item])) for item in range(len(scan))])

    def of(self, scan: PreparedScan) -> Baseline:
        """The baseline for a scan of one slice."""
        acceleration = self.acceleration or 1 / float(scan.mask.mean())
        return BASELINES[self.name](tuned_strength(self.name, acceleration, float(scan.noise[0])))


def tuned_baseline(name: str, acceleration: float | None = None) -> TunedBaseline:
    """A baseline by name, with strengths from the table; see `TunedBaseline`."""
    return TunedBaseline(name, acceleration)


@dataclass(frozen=True)
class Tuned:
    """The outcome of `tune`.

    Args:
        name: name of the baseline.
        strength: the strength with the best score.
        strengths: all that were tried, increasing.
        psnr_db: mean PSNR over slices, one for each.
    """

    name: str
    strength: float
    strengths: tuple[float, ...]
    psnr_db: tuple[float, ...]

    @property
    def at_edge(self) -> bool:
        """Whether the best strength is the smallest or largest tried: a wider range may do better."""
        return self.strength in (self.strengths[0], self.strengths[-1])


def tune(
    baseline: Callable[[float], Baseline],
    strengths: Sequence[float],
    scan: PreparedScan,
    truth: ArrayLike | Tensor,
    head: ArrayLike | Tensor | None = None,
) -> Tuned:
    """Try every strength and keep the one with the best mean PSNR. Use training slices only, never those you report.

    PSNR is of magnitudes over the whole slice, after one real factor per slice fitted by least squares, with the
    largest value of the slice's truth as range.

    Args:
        baseline: strength -> baseline, e.g. the class `L1Wavelet`.
        strengths: at least two different values.
        scan: S training slices.
        truth: (S, H, W) real, any positive unit.
        head: (S, H, W), where the factor is fitted; None for everywhere.
    """
    tried = sorted(set(strengths))
    if len(tried) < 2:
        raise ValueError(f"strengths: found {list(strengths)}; give at least two different values.")
    targets = np.asarray(truth, dtype=np.float64)
    if targets.shape[0] != len(scan):
        raise ValueError(f"truth: found {targets.shape[0]} slices; the scan has {len(scan)}.")
    inside = [None] * len(scan) if head is None else list(np.asarray(head))
    scores = []
    for strength in tried:
        images = baseline(strength)(scan).abs().cpu().numpy().astype(np.float64)
        scores.append(float(np.mean([_score(*item) for item in zip(images, targets, inside, strict=True)])))
    best = tried[int(np.argmax(scores))]
    return Tuned(baseline(best).name, best, tuple(tried), tuple(scores))


def _score(image: ArrayLike, target: ArrayLike, head: ArrayLike | None) -> float:
    factor = fit_scale(image, target, head)
    return psnr(factor * np.asarray(image), target, float(np.max(target)))
