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
from skiagraph.evaluation.copies import CopyAudit, audit_copies, share_interval
from skiagraph.evaluation.distribution import (
    FeatureScale,
    KernelDistance,
    frechet_distance,
    gaussian_frechet,
    kernel_distance,
)
from skiagraph.evaluation.features import FEATURES, Features, fit_features
from skiagraph.evaluation.fidelity import fit_scale, nmse, psnr, ssim
from skiagraph.evaluation.intervals import Interval, mean_interval, paired_difference
from skiagraph.evaluation.neighbours import Neighbours, NeighbourScores, expected_coverage, nearest, neighbour_scores

__all__ = [
    "FEATURES",
    "CopyAudit",
    "FeatureScale",
    "Features",
    "Interval",
    "KernelDistance",
    "NeighbourScores",
    "Neighbours",
    "Reliability",
    "audit_copies",
    "error_by_deviation",
    "error_correlation",
    "expected_coverage",
    "fit_features",
    "fit_scale",
    "frechet_distance",
    "gaussian_coverage",
    "gaussian_frechet",
    "kernel_distance",
    "mean_interval",
    "nearest",
    "neighbour_scores",
    "nmse",
    "paired_difference",
    "psnr",
    "reliability",
    "sample_coverage",
    "share_interval",
    "spread_to_error",
    "ssim",
]
