"""Simulated multi-coil acquisitions of real heads: the object is finer than the scan, and the coil maps are hidden."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.coil_fields import ring_of_loops, sensitivity_maps
from skiagraph.data.slicing import Head, SlicePose, plane_coordinates, slice_affine, slice_through
from skiagraph.errors import InputError

__all__ = [
    "Acquisition",
    "ScanSettings",
    "case_generator",
    "centred_fft2",
    "centred_ifft2",
    "head_mask",
    "simulate",
]


@dataclass(frozen=True)
class ScanSettings:
    """How a simulated slice is measured.

    Attributes:
        coils: receive loops, 1 to 64.
        matrix: (rows, columns) of the acquisition; columns are the phase-encoding direction.
        field_of_view_mm: (rows, columns) in mm.
        refinement: how many times finer the object's grid is than the acquisition's, per axis.
        noise_fraction: standard deviation of the noise of the real part and of the imaginary part of every k-space
            sample and coil (equally: of every image sample), as a fraction of the peak of the noise-free image.
        largest_phase: bound in radians of the random phase polynomial.
        weak_phase: standard deviation in radians of the smooth random phase on top of it.
        noise_samples: samples per coil of the noise-only scan.
        slice_thickness_mm: thickness noted in the geometry; the object is sampled in the middle plane.
    """

    coils: int = 8
    matrix: tuple[int, int] = (128, 128)
    field_of_view_mm: tuple[float, float] = (256.0, 256.0)
    refinement: int = 2
    noise_fraction: float = 0.005
    largest_phase: float = float(np.pi)
    weak_phase: float = 0.05
    noise_samples: int = 4096
    slice_thickness_mm: float = 2.0

    def __post_init__(self) -> None:
        if not 1 <= self.coils <= 64:
            raise InputError(f"coils is {self.coils}; 1 to 64 are allowed")
        if min(self.matrix) < 16 or any(side % 2 for side in self.matrix):
            raise InputError(f"matrix is {self.matrix}; even sides of at least 16 are allowed")
        if self.refinement < 1 or not self.noise_fraction >= 0:
            raise InputError(
                f"refinement is {self.refinement} and noise_fraction {self.noise_fraction}; "
                "at least 1 and at least 0 are allowed"
            )


@dataclass(frozen=True)
class Acquisition:
    """One simulated, fully sampled multi-coil slice with everything that was hidden in it.

    Attributes:
        kspace: (coils, rows, columns) complex64, noisy, centred, orthonormal convention.
        truth: (rows, columns) float32, root of the sum of squares over coils of the noise-free coil images.
        hidden_maps: (coils, rows, columns) complex64, the true coil fields: for evaluation only.
        mask: (rows, columns) bool, the head.
        noise_scan: (coils, samples) complex64, noise alone, for pre-whitening.
        noise_std: standard deviation of the real (and of the imaginary) part of the noise of each coil.
        coil_covariance: (coils, coils) complex128, unit diagonal.
        affine: (4, 4) from (row, column, slice) to world mm of the head's file.
        settings, pose, source, seed, case: what it was made from.
    """

    kspace: NDArray[np.complex64]
    truth: NDArray[np.float32]
    hidden_maps: NDArray[np.complex64]
    mask: NDArray[np.bool_]
    noise_scan: NDArray[np.complex64]
    noise_std: float
    coil_covariance: NDArray[np.complex128]
    affine: NDArray[np.float64]
    settings: ScanSettings
    pose: SlicePose
    source: str
    seed: int
    case: str

    def record(self) -> dict[str, Any]:
        """Return the parameters as JSON types, tagged as simulated k-space."""
        return {
            "provenance": "simulated k-space",
            "source": self.source,
            "seed": self.seed,
            "case": self.case,
            "settings": asdict(self.settings),
            "pose": asdict(self.pose),
            "noise_std": self.noise_std,
        }


def case_generator(seed: int, case: str, name: str) -> np.random.Generator:
    """Return the random stream `name` of one case: a function of (seed, case, name) alone, whatever else is drawn."""
    digest = hashlib.sha256(f"{int(seed)}\x00{case}\x00{name}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def centred_fft2(image: NDArray[Any]) -> NDArray[np.complex64]:
    """Return the centred orthonormal two-dimensional Fourier transform over the last two axes."""
    from scipy import fft

    shifted = fft.ifftshift(image, axes=(-2, -1))
    kspace: NDArray[np.complex64] = fft.fftshift(fft.fft2(shifted, norm="ortho"), axes=(-2, -1))
    return kspace


def centred_ifft2(kspace: NDArray[Any]) -> NDArray[np.complex64]:
    """Return the inverse of `centred_fft2`."""
    from scipy import fft

    shifted = fft.ifftshift(kspace, axes=(-2, -1))
    image: NDArray[np.complex64] = fft.fftshift(fft.ifft2(shifted, norm="ortho"), axes=(-2, -1))
    return image


def head_mask(magnitude: NDArray[np.floating[Any]], *, level: float = 0.08) -> NDArray[np.bool_]:
    """Return the head in a magnitude image: the largest piece above `level` times the 99th percentile, holes filled."""
    from scipy import ndimage

    bright = ndimage.binary_closing(np.pad(magnitude > level * np.percentile(magnitude, 99), 4), iterations=3)
    labels, count = ndimage.label(ndimage.binary_opening(bright))
    if count == 0:
        return np.zeros(magnitude.shape, dtype=bool)
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(largest)[4:-4, 4:-4]
    return filled


def _phase(generator: np.random.Generator, shape: tuple[int, int], settings: ScanSettings) -> NDArray[np.float64]:
    """Draw a phase map in radians: polynomial of degree <= 3 in normalised coordinates plus a weak smooth field."""
    from scipy import ndimage

    row = np.linspace(-1.0, 1.0, shape[0])[:, None]
    column = np.linspace(-1.0, 1.0, shape[1])[None, :]
    polynomial = np.zeros(shape)
    for degree in range(1, 4):
        for power in range(degree + 1):
            polynomial += generator.normal(0.0, 1.0 / degree) * row**power * column ** (degree - power)
    near = polynomial[shape[0] // 4 : -(shape[0] // 4), shape[1] // 6 : -(shape[1] // 6)]
    polynomial *= generator.uniform(0.3, 1.0) * settings.largest_phase / max(float(np.abs(near).max()), 1e-9)
    knots = generator.normal(0.0, settings.weak_phase, (12, 12))
    smooth = ndimage.zoom(knots, (shape[0] / 12, shape[1] / 12), order=3, mode="mirror", grid_mode=True)
    total: NDArray[np.float64] = polynomial + smooth + generator.uniform(-np.pi, np.pi)
    return total


def _coil_covariance(generator: np.random.Generator, coils: int) -> NDArray[np.complex128]:
    """Draw a covariance with unit diagonal, correlation 0.1 to 0.3 of neighbours on the ring, any cable phases."""
    distance = np.abs(np.arange(coils)[:, None] - np.arange(coils)[None, :])
    distance = np.minimum(distance, coils - distance)
    phases = np.exp(1j * generator.uniform(0, 2 * np.pi, coils))
    covariance: NDArray[np.complex128] = generator.uniform(0.1, 0.3) ** distance * np.outer(phases, phases.conj())
    return covariance


def _noise(generator: np.random.Generator, factor: NDArray[Any], count: int) -> NDArray[np.complex64]:
    """Draw (coils, count) complex normal samples, unit variance per part, coloured by the Cholesky `factor`."""
    white = generator.standard_normal((factor.shape[0], count, 2), dtype=np.float32).view(np.complex64)[..., 0]
    return factor.astype(np.complex64) @ white


def _hidden_maps(head: Head, pose: SlicePose, settings: ScanSettings, seed: int, case: str) -> NDArray[np.complex64]:
    """Draw the loops and return their fields on the fine grid, unnormalised."""
    fine = tuple(side * settings.refinement for side in settings.matrix)
    half_width, half_length = (pose.scale * half for half in head.half_size_mm)
    loops = ring_of_loops(case_generator(seed, case, "coils"), settings.coils, half_width, half_length)
    y_mm = plane_coordinates(fine[0], settings.field_of_view_mm[0])
    x_mm = plane_coordinates(fine[1], settings.field_of_view_mm[1])
    return sensitivity_maps(loops, x_mm, y_mm)


def _crop(kspace: NDArray[np.complex64], matrix: tuple[int, int]) -> NDArray[np.complex64]:
    """Cut the centre of k-space and scale it so that image intensities stay as they were."""
    rows, columns = kspace.shape[-2:]
    top, left = rows // 2 - matrix[0] // 2, columns // 2 - matrix[1] // 2
    scale = np.float32(np.sqrt(matrix[0] * matrix[1] / (rows * columns)))
    return kspace[..., top : top + matrix[0], left : left + matrix[1]] * scale


def simulate(
    head: Head,
    pose: SlicePose,
    *,
    seed: int,
    case: str,
    settings: ScanSettings | None = None,
    noise_case: str | None = None,
    noise_std: float | None = None,
) -> Acquisition:
    """Measure one slice of a head: y_c = crop F (C_c |I| exp(i phase)) + L g.

    F is the centred orthonormal transform on the fine grid, C_c the hidden Biot-Savart fields (mean root-sum-of-squares
    1 in the head), L the Cholesky factor of the coil covariance and g white noise. The phase, the coils and the noise
    have their own streams of (seed, case): changing the noise level leaves the object and the maps as they were.

    Args:
        head: the object.
        pose: plane and position.
        seed: seed of all streams.
        case: name of the case: cases have phases, coils and noise of their own.
        settings: how the slice is measured.
        noise_case: case of the noise draw alone, for slices that share their coils; default `case`.
        noise_std: noise per part and coil; default the settings' fraction of this slice's peak.
    """
    settings = settings or ScanSettings()
    rows, columns = settings.matrix
    step = settings.refinement
    magnitude = slice_through(head, pose, (rows * step, columns * step), settings.field_of_view_mm)
    mask = head_mask(magnitude[::step, ::step])
    if not mask.any():
        raise InputError(
            f"the plane at slice_mm={pose.slice_mm:.1f} of {head.source!r} holds no head (top: {head.top_mm:.1f})"
        )
    phase = _phase(case_generator(seed, case, "phase"), magnitude.shape, settings)
    maps = _hidden_maps(head, pose, settings, seed, case)
    coarse = maps[:, ::step, ::step]
    maps /= np.float32(np.sqrt((np.abs(coarse) ** 2).sum(axis=0))[mask].mean())
    clean = _crop(centred_fft2(maps * (magnitude * np.exp(1j * phase)).astype(np.complex64)), settings.matrix)
    truth = np.sqrt((np.abs(centred_ifft2(clean)) ** 2).sum(axis=0)).astype(np.float32)
    noise_std = settings.noise_fraction * float(truth.max()) if noise_std is None else noise_std
    covariance = _coil_covariance(case_generator(seed, case, "covariance"), settings.coils)
    factor = np.linalg.cholesky(covariance)
    samples = _noise(case_generator(seed, noise_case or case, "noise"), factor, rows * columns)
    alone = _noise(case_generator(seed, case, "noise scan"), factor, settings.noise_samples)
    return Acquisition(
        kspace=clean + np.float32(noise_std) * samples.reshape(clean.shape),
        truth=truth,
        hidden_maps=np.ascontiguousarray(maps[:, ::step, ::step]),
        mask=mask,
        noise_scan=np.float32(noise_std) * alone,
        noise_std=noise_std,
        coil_covariance=covariance,
        affine=slice_affine(head, pose, settings.matrix, settings.field_of_view_mm, settings.slice_thickness_mm),
        settings=settings,
        pose=pose,
        source=head.source,
        seed=seed,
        case=case,
    )
