"""What a reconstruction gives: posterior mean and standard deviation, baselines, figures where truth is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skiagraph.evaluation.calibration import gaussian_coverage
from skiagraph.evaluation.fidelity import fit_scale, nmse, psnr, ssim

__all__ = ["Reconstruction", "SliceFigures", "score_slices"]

METHOD = "skiagraph"


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Slices reconstructed by the prior and by baselines, in normalised units.

    Args:
        samples: (S, K, H, W) complex64 posterior samples.
        direct: (S, H, W) complex64, the posterior mean where the network gives it; None for the mean of the samples.
        spread: factor on the samples' standard deviation, calibrated on measured lines of the training scans.
        baselines: (S, H, W) complex64 by name.
        seconds: seconds per slice by method.
        evaluations: network evaluations per slice, all samples counted.
    """

    samples: Tensor
    direct: Tensor | None = None
    spread: float = 1.0
    baselines: Mapping[str, Tensor] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    evaluations: int = 0

    @property
    def mean(self) -> Tensor:
        """(S, H, W) complex64, posterior mean."""
        return self.samples.mean(1) if self.direct is None else self.direct

    @property
    def deviation(self) -> Tensor:
        """(S, H, W) float32, calibrated standard deviation of the magnitude; 0 with a single sample."""
        if self.samples.shape[1] < 2:
            return torch.zeros(self.samples.shape[0], *self.samples.shape[2:])
        return self.spread * self.samples.abs().std(1)

    def images(self) -> dict[str, Tensor]:
        """Magnitudes (S, H, W) of every method, the baselines first."""
        return {**{name: image.abs() for name, image in self.baselines.items()}, METHOD: self.mean.abs()}


@dataclass(frozen=True)
class SliceFigures:
    """Figures of every slice by method, and the coverage of the error bars.

    Magnitudes are compared after one real factor per slice and method, fitted by least squares inside the head; the
    data range is the largest value of the slice's truth. PSNR and NMSE are over the whole slice, SSIM is 2-D.
    """

    psnr: dict[str, NDArray[np.float64]]
    ssim: dict[str, NDArray[np.float64]]
    nmse: dict[str, NDArray[np.float64]]
    coverage: NDArray[np.float64]

    def table(self) -> list[dict[str, Any]]:
        """One row a method: means over slices."""
        return [
            {
                "method": name,
                "psnr_db": float(values.mean()),
                "ssim": float(self.ssim[name].mean()),
                "nmse": float(self.nmse[name].mean()),
            }
            for name, values in self.psnr.items()
        ]


def score_slices(result: Reconstruction, truth: Tensor, head: Tensor) -> SliceFigures:
    """Compare with the truth (S, H, W) in the unit of the reconstruction; `head` (S, H, W) bool is its inside."""
    target, inside = truth.numpy().astype(np.float64), head.numpy()
    figures: dict[str, dict[str, list[float]]] = {"psnr": {}, "ssim": {}, "nmse": {}}
    scales: dict[str, list[float]] = {}
    for name, images in result.images().items():
        rows = [np.asarray(image, dtype=np.float64) for image in images]
        factors = [fit_scale(row, t, m) for row, t, m in zip(rows, target, inside, strict=True)]
        scales[name] = factors
        fitted = [factor * row for factor, row in zip(factors, rows, strict=True)]
        pairs = list(zip(fitted, target, strict=True))
        figures["psnr"][name] = [psnr(image, t, float(t.max())) for image, t in pairs]
        figures["ssim"][name] = [ssim(image, t, float(t.max())) for image, t in pairs]
        figures["nmse"][name] = [nmse(image, t) for image, t in pairs]
    count = result.samples.shape[1]
    covered = [float("nan")] * len(target)
    if count > 1:
        centre, width = result.mean.abs().numpy(), result.deviation.numpy()
        covered = [
            gaussian_coverage(factor * centre[i], factor * width[i], target[i], 0.9, inside[i], samples=count)
            for i, factor in enumerate(scales[METHOD])
        ]
    arrays = {kind: {name: np.array(values) for name, values in rows.items()} for kind, rows in figures.items()}
    return SliceFigures(arrays["psnr"], arrays["ssim"], arrays["nmse"], np.array(covered))
