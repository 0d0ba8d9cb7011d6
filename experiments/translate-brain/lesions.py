"""Does a lesion that the prior never saw survive? Balls of MS-like tissue in white matter, kept out of all training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from heads import Head
from scipy import ndimage
from torch import Tensor

from skiagraph.data.contrast import SEQUENCES, TISSUES
from skiagraph.tasks.translate.method import SourceStack

__all__ = ["Lesions", "contrast_kept", "insert"]

RADIUS_MM, RIM_MM = 5.0, 2.0
SEEDS = 4


@dataclass(frozen=True, eq=False)
class Lesions:
    """A source and a truth with lesions.

    Args:
        source: the stack with lesions in it.
        truth: (N, 1, H, W) target contrast with the same lesions.
        share: (L, N, 1, H, W), how much of each voxel each lesion fills.
    """

    source: SourceStack
    truth: Tensor
    share: Tensor


def _centres(head: Head, slices: range) -> list[tuple[int, ...]]:
    """Deepest places of white matter in the slices, at least 24 mm apart."""
    white = (head.tissues[slices.start : slices.stop, 0] == 3).numpy()
    depth = ndimage.distance_transform_edt(white, sampling=2.0)
    chosen: list[tuple[int, ...]] = []
    for place in np.argsort(depth, axis=None)[::-1]:
        centre = tuple(int(step) for step in np.unravel_index(place, depth.shape))
        inside = RADIUS_MM / 2 - 0.5 <= centre[0] <= len(slices) - RADIUS_MM / 2 - 0.5
        apart = all(np.linalg.norm(2.0 * (np.array(centre) - other)) >= 24 for other in chosen)
        if inside and apart:
            chosen.append(centre)
        if len(chosen) == SEEDS:
            break
    return chosen


def insert(head: Head, source: str, target: str, slices: range) -> Lesions:
    """Soft balls of radius 5 mm; signals are mixed, S <- S + a (S_lesion - S), in both contrasts."""
    part = slice(slices.start, slices.stop)
    grids = np.meshgrid(*(np.arange(side) for side in (len(slices), *head.tissues.shape[2:])), indexing="ij")
    shares = []
    for centre in _centres(head, slices):
        far = 2.0 * np.sqrt(sum((grid - step) ** 2 for grid, step in zip(grids, centre, strict=True)))
        shares.append(np.clip(0.5 - (far - RADIUS_MM) / RIM_MM, 0, 1))
    share = torch.from_numpy(np.stack(shares).astype(np.float32))[:, :, None]
    whole = share.amax(0)
    lesion = TISSUES["lesion"]

    def mixed(contrast: str, noisy: Tensor, clean: Tensor) -> Tensor:
        signal = float(SEQUENCES[contrast].signal(lesion.proton_density, lesion.t1_ms, lesion.t2_ms))
        scaling = head.scaling[contrast]
        level = 2 * (signal - scaling.low) / (scaling.high - scaling.low) - 1
        return (noisy + whole * (level - clean)).clamp(-1, 1)

    stack = head.sources[source]
    images = mixed(source, stack.images[part], head.truth[source][part])
    truth = mixed(target, head.truth[target][part], head.truth[target][part])
    return Lesions(SourceStack(images, stack.mask[part], stack.spacing_mm, f"{stack.name} with lesions"), truth, share)


def contrast_kept(result: Tensor, lesions: Lesions) -> list[float]:
    """Of each lesion: (core - rim around it) of the result over the same of the truth; 1 is kept, 0 is gone.

    Args:
        result: (N, 1, H, W) in [-1, 1].
        lesions: from `insert`.
    """
    every = lesions.share.amax(0)[:, 0].numpy()
    kept = []
    for share in lesions.share[:, :, 0].numpy():
        core = share > 0.9
        around = ndimage.binary_dilation(share > 0.01, iterations=2) & (every < 0.01)
        around &= lesions.source.mask[:, 0].numpy()
        values = [float(image[core].mean() - image[around].mean()) for image in (result[:, 0], lesions.truth[:, 0])]
        kept.append(values[0] / values[1])
    return kept
