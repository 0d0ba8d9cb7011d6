"""Figures of reconstructed slices: nearness to the truth, to the data, and how much the error bars hold."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skiagraph.evaluation.calibration import gaussian_coverage
from skiagraph.evaluation.fidelity import fit_scale, nmse, psnr, ssim
from skiagraph.physics.fourier import MaskedCoilFourier, to_real
from skiagraph.tasks.reconstruct.acquire import centre_of
from skiagraph.tasks.reconstruct.rivals.interface import Estimates
from skiagraph.tasks.reconstruct.scan import PreparedScan

__all__ = ["Scores", "all_scores", "chi_squared", "score"]

Scores = dict[str, NDArray[np.float64]]
"""Values by figure, one a slice; NaN where a figure does not apply."""


def score(images: Tensor, truth: Tensor, head: Tensor) -> Scores:
    """PSNR (dB), SSIM (2-D) and NMSE of magnitudes, after one real factor a slice fitted inside the head.

    Args:
        images: (S, H, W) complex.
        truth: (S, H, W) real; its largest value in each slice is the range.
        head: (S, H, W) bool.
    """
    found: dict[str, list[float]] = {"psnr_db": [], "ssim": [], "nmse": []}
    for image, target, inside in zip(*_arrays(images.abs(), truth, head), strict=True):
        fitted, peak = fit_scale(image, target, inside) * image, float(target.max())
        found["psnr_db"].append(psnr(fitted, target, peak))
        found["ssim"].append(ssim(fitted, target, peak))
        found["nmse"].append(nmse(fitted, target))
    return {name: np.array(values) for name, values in found.items()}


def chi_squared(images: Tensor, scan: PreparedScan) -> NDArray[np.float64]:
    """|M (T x - y)|^2 / (2 coils H |M| nu^2) of each slice: near 1 where the image explains the data up to their noise.

    NaN where the noise is 0.

    Args:
        images: (S, H, W) complex, in normalised units.
        scan: the scan.
    """
    residual = MaskedCoilFourier(scan.maps, scan.mask).forward(to_real(images)) - scan.kspace
    coils, rows = scan.kspace.shape[1:3]
    count = 2 * coils * rows * scan.mask.flatten(1).sum(1)
    squared = torch.view_as_real(residual).square().flatten(1).sum(1)
    level = torch.where(scan.noise > 0, scan.noise, math.nan)
    values: NDArray[np.float64] = (squared / (count * level**2)).double().cpu().numpy()
    return values


def all_scores(estimates: Estimates, scan: PreparedScan, truth: Tensor, head: Tensor) -> Scores:
    """Every figure of a method: those of `score`, PSNR of a single sample, chi-squared, coverage of 90 % intervals."""
    found = score(estimates.images, truth, head)
    nothing = np.full(len(scan), math.nan)
    found["chi_squared"] = chi_squared(estimates.images, scan)
    found["sample_psnr_db"] = found["coverage"] = nothing
    if estimates.samples is not None:
        found["sample_psnr_db"] = score(estimates.samples[:, 0], truth, head)["psnr_db"]
        found["coverage"] = _coverage(estimates, truth, head)
    return found


def _coverage(estimates: Estimates, truth: Tensor, head: Tensor) -> NDArray[np.float64]:
    assert estimates.samples is not None
    count = estimates.samples.shape[1]
    widths = estimates.spread * estimates.samples.abs().std(1)
    held = []
    for image, width, target, inside in zip(*_arrays(estimates.images.abs(), widths, truth, head), strict=True):
        factor = fit_scale(image, target, inside)
        held.append(gaussian_coverage(factor * image, factor * width, target, 0.9, inside, samples=count))
    return np.array(held)


def _arrays(*tensors: Tensor) -> list[NDArray[np.float64]]:
    """Arrays of the central part that all hold: reference images of scanners show less than the whole matrix."""
    view = (min(tensor.shape[-2] for tensor in tensors), min(tensor.shape[-1] for tensor in tensors))
    return [centre_of(tensor, view).cpu().numpy().astype(np.float64) for tensor in tensors]
