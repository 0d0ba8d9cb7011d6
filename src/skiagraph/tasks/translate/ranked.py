"""A source as a network of another modality can read it: stretched, ranked, and with its contrast's direction settled.

Which end of the scale is fluid differs between modalities. Brains are alike in that intensity goes one way from the rim
(fluid) inwards (white matter): where ranks fall with the distance from the edge, the scale is turned over. That this
guess is right is not needed, since the network learns from stand-in sources that are treated in the same way; it only
has to be the same for the same scan.
"""

from __future__ import annotations

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

__all__ = ["RANKED_CHANNELS", "ranked"]

RANKED_CHANNELS = 3
_FOREGROUND = 0.004
_QUANTILES = 65
_FEWEST = 16


def ranked(source: Tensor, together: bool = False) -> Tensor:
    """Values, ranks and foreground (B, 3, *S) of images (B, 1, *S) in [0, 1], background 0.

    Values are the foreground's 1.6 to 98.4 percentile as -1 ... 1, cut at 1.5; ranks its distribution as -1 ... 1; both
    turned over where ranks fall with the distance from the foreground's edge; 0 in the background.

    Args:
        source: each image is ranked by itself; one with fewer than 16 foreground voxels gives zeros.
        together: the images are slices of one scan: one direction for all.
    """
    mask = source > _FOREGROUND
    values, ranks = torch.zeros_like(source), torch.zeros_like(source)
    scores = source.new_zeros(len(source))
    for number, inside in enumerate(mask):
        found = source[number][inside]
        if found.numel() < _FEWEST:
            continue
        knots = torch.quantile(found, torch.linspace(0, 1, _QUANTILES).to(found))
        values[number][inside] = _stretched(found, knots)
        own = _share(found, knots)
        ranks[number][inside] = own
        depth = torch.from_numpy(distance_transform_edt(inside[0].cpu().numpy())).to(found)[inside[0]]
        scores[number] = (own * (depth - depth.mean())).sum()
    if together:
        scores = scores.sum().expand(len(source))
    sign = torch.where(scores < 0, -1.0, 1.0).to(source).reshape(-1, *[1] * (source.ndim - 1))
    return torch.cat([sign * values, sign * ranks, mask.to(source)], 1)


def _stretched(found: Tensor, knots: Tensor) -> Tensor:
    low, high = knots[1], knots[-2]
    return (2 * (found - low) / (high - low).clamp(min=1e-3) - 1).clamp(-1.5, 1.5)


def _share(found: Tensor, knots: Tensor) -> Tensor:
    """Rank of each value as -1 ... 1, by interpolation between quantiles; 0 where all are equal."""
    if float(knots[-1] - knots[0]) < 1e-6:
        return torch.zeros_like(found)
    above = torch.searchsorted(knots, found.contiguous()).clamp(1, _QUANTILES - 1)
    low, high = knots[above - 1], knots[above]
    part = ((found - low) / (high - low).clamp(min=1e-7)).clamp(0, 1)
    return 2 * (above - 1 + part) / (_QUANTILES - 1) - 1
