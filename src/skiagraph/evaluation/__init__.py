"""Measures of how good a result is, and how sure one may be of them; everything takes and gives numpy arrays."""

from __future__ import annotations

from skiagraph.evaluation.calibration import (
    Reliability,
    error_by_deviation,
    error_correlation,
    gaussian_coverage,
    reliability,
    sample_coverage,
    spread_to_error,
)
from skiagraph.evaluation.fidelity import fit_scale, nmse, psnr, ssim
from skiagraph.evaluation.intervals import Interval, mean_interval, paired_difference

__all__ = [
    "Interval",
    "Reliability",
    "error_by_deviation",
    "error_correlation",
    "fit_scale",
    "gaussian_coverage",
    "mean_interval",
    "nmse",
    "paired_difference",
    "psnr",
    "reliability",
    "sample_coverage",
    "spread_to_error",
    "ssim",
]
