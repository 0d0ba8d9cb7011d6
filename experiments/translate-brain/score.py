"""Figures of a translated stack against the truth: of every slice, and of every slab of ten slices."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from skiagraph.evaluation.fidelity import psnr, ssim
from skiagraph.evaluation.structure import gradient_deviation, multiscale_ssim, normalised_information, slice_change
from skiagraph.evaluation.tissues import label_agreement
from skiagraph.tasks.translate.segmenter import TISSUE_NAMES, TissueSegmenter

__all__ = ["PER_SLAB", "PER_SLICE", "SLAB", "score"]

SLAB = 10
PER_SLICE = ("psnr", "psnr_line", "ssim", "ms_ssim", "gmsd")
PER_SLAB = ("nmi", "dice", "hd95_mm", "volume_error", "slice_change")
_CLASSES = {name: number + 1 for number, name in enumerate(TISSUE_NAMES)}


def score(result: Tensor, truth: Tensor, mask: Tensor, tissues: Tensor, segmenter: TissueSegmenter) -> dict[str, Any]:
    """All figures; intensities in [0, 1] of the target's own scaling, range 1, inside the brain.

    psnr_line is the PSNR after one gain and one offset for all slices, those that fit the truth best: what is left when
    brightness and contrast, which differ between heads of one modality, do not count.

    Args:
        result, truth: (N, 1, H, W) in [-1, 1].
        mask: the brain.
        tissues: labels 0 to 3.
        segmenter: of the target contrast.
    """
    pictures = [((part + 1) / 2)[:, 0].double().numpy() for part in (result, truth)]
    chosen, labels = mask[:, 0].numpy(), tissues[:, 0].numpy()
    found = segmenter(result, mask)[:, 0].numpy()
    slices: dict[str, list[float]] = {name: [] for name in PER_SLICE}
    gain, offset = np.polyfit(pictures[0][chosen], pictures[1][chosen], 1)
    for one, other, inside in zip(*pictures, chosen, strict=True):
        slices["psnr"].append(psnr(one, other, 1.0, inside))
        slices["psnr_line"].append(psnr(gain * one + offset, other, 1.0, inside))
        slices["ssim"].append(ssim(one, other, 1.0, inside))
        slices["ms_ssim"].append(multiscale_ssim(one, other, 1.0, inside, scales=3))
        slices["gmsd"].append(gradient_deviation(one, other, 1.0, inside))
    slabs: dict[str, list[float]] = {name: [] for name in (*PER_SLAB, *(f"dice_{name}" for name in _CLASSES))}
    for start in range(0, len(result), SLAB):
        part = slice(start, start + SLAB)
        slabs["nmi"].append(normalised_information(pictures[0][part], pictures[1][part], chosen[part]))
        slabs["slice_change"].append(slice_change(pictures[0][part], chosen[part]))
        agreed = label_agreement(found[part], labels[part], _CLASSES, (2.0, 2.0, 2.0))
        for name, values in agreed.items():
            slabs[f"dice_{name}"].append(values.dice)
        slabs["dice"].append(float(np.mean([values.dice for values in agreed.values()])))
        slabs["hd95_mm"].append(float(np.nanmean([values.hd95_mm for values in agreed.values()])))
        slabs["volume_error"].append(float(np.mean([abs(values.volume_error) for values in agreed.values()])))
    return {"slices": slices, "slabs": slabs}
