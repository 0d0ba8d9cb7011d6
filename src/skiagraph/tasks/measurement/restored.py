"""Restored images with their samples, error bars, data residual and figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skiagraph.evaluation.fidelity import psnr, ssim
from skiagraph.tasks.measurement.problems import Measured

__all__ = ["Restored", "magnitude_of"]

LEAST_SSIM = 11


@dataclass(frozen=True, eq=False)
class Restored:
    """Posterior samples of N items.

    Args:
        samples: (N, K, C, H, W) normalised.
        data: what they were restored from.
        complex_images: the channels are real and imaginary part.
    """

    samples: Tensor
    data: Measured
    complex_images: bool

    @property
    def mean(self) -> Tensor:
        """(N, C, H, W) posterior mean."""
        return self.samples.mean(1)

    @property
    def deviation(self) -> Tensor | None:
        """(N, C or 1, H, W) standard deviation over the samples (of magnitudes, for k-space); None for one sample."""
        if self.samples.shape[1] < 2:
            return None
        return magnitude_of(self.samples, self.complex_images).std(1)

    def residual(self) -> Tensor:
        """(N,) mean square of H x - y over the measured entries, over the noise's variance (1 is ideal); NaN at 0."""
        found = self.data.image_operator.forward(self.mean) - self.data.measurement
        squared = torch.view_as_real(found).square() if found.is_complex() else found.square()
        kept = getattr(self.data.operator, "mask", torch.ones(1, 1, 1, 1))
        share = kept.expand(found.shape if kept.shape[0] == len(found) else (1, *found.shape[1:])).float().flatten(1)
        count = share.mean(1) * squared[0].numel()
        noise = self.data.noise.square()
        ratio = squared.flatten(1).sum(1) / count / noise
        return torch.where(noise > 0, ratio, torch.nan)

    def scores(self) -> list[dict[str, float | str]]:
        """PSNR and SSIM of the degraded input and of the mean, one row an item; empty without truth."""
        truth = self.data.truth
        if truth is None:
            return []
        shown = [magnitude_of(image, self.complex_images) for image in (truth, self.data.degraded(), self.mean)]
        rows: list[dict[str, float | str]] = []
        for index, name in enumerate(self.data.names):
            right, before, after = (value[index].numpy().astype(np.float64) for value in shown)
            span = float(right.max()) if self.complex_images else 2.0
            row: dict[str, float | str] = {"name": name}
            for label, image in (("input", before), ("restored", after)):
                row[f"{label}_psnr_db"] = psnr(image, right, span)
                if min(right.shape[1:]) >= LEAST_SSIM:
                    channels = [ssim(one, two, span) for one, two in zip(image, right, strict=True)]
                    row[f"{label}_ssim"] = float(np.mean(channels))
            rows.append(row)
        return rows


def magnitude_of(images: Tensor, complex_images: bool) -> Tensor:
    """Magnitudes (..., 1, H, W) of complex images, others as they are."""
    return images.square().sum(-3, keepdim=True).sqrt() if complex_images else images
