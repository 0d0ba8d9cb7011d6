"""MIND and its self-similarity context: how a patch resembles its neighbours, whatever the modality.

Heinrich et al. 2012 (Medical Image Analysis 16, 1423) and 2013 (MICCAI, self-similarity context).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from skiagraph.similarity.descriptors import DescriptorSimilarity, box_mean, pad_edges

__all__ = ["MIND"]


@dataclass(frozen=True)
class MIND(DescriptorSimilarity):
    """d_o = exp(-(D_o - min_o D_o) / V), D_o the mean over a patch of (u(x + o1) - u(x + o2))^2, V = mean_o D_o.

    V is limited to [1e-3, 1e3] times its mean over the image. A constant image has d = 1. Exactly invariant to
    u -> a u + b with a != 0 (also negative).

    Args:
        context: True: o runs over pairs of face neighbours that are not opposite, 4 in 2-D and 12 in 3-D (MIND-SSC);
            False: over the voxel with each of its face neighbours, 4 and 6.
        patch: odd side of the patch.
    """

    context: bool = True
    patch: int = 3

    def __post_init__(self) -> None:
        if self.patch < 1 or self.patch % 2 == 0:
            raise ValueError(f"patch: found {self.patch}; allowed are odd sides.")

    def channels(self, dimensions: int) -> int:
        """4 in 2-D; 12 (with context) or 6 in 3-D."""
        return len(self._pairs(dimensions))

    def describe(self, image: Tensor) -> Tensor:
        """(B, 1, *S) -> (B, C, *S) in (0, 1], the largest channel 1 everywhere."""
        dimensions, reach = image.ndim - 2, 1 + self.patch // 2
        padded = pad_edges(image, reach)
        distances = []
        for one, two in self._pairs(dimensions):
            difference = _moved(padded, one) - _moved(padded, two)
            distances.append(box_mean(difference.square(), self.patch))
        distance = torch.cat(distances, 1)
        variance = distance.mean(1, keepdim=True)
        mean = variance.flatten(1).mean(1).reshape(-1, *[1] * (image.ndim - 1))
        variance = torch.minimum(torch.maximum(variance, 1e-3 * mean), 1e3 * mean)
        known = variance > 0
        excess = distance - distance.amin(1, keepdim=True)
        return torch.exp(-torch.where(known, excess / torch.where(known, variance, 1.0), 0.0))

    def _pairs(self, dimensions: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        zero = (0,) * dimensions
        faces = [
            tuple(sign if other == axis else 0 for other in range(dimensions))
            for axis in range(dimensions)
            for sign in (-1, 1)
        ]
        if not self.context:
            return [(zero, face) for face in faces]
        return [
            (one, two)
            for one, two in itertools.combinations(faces, 2)
            if any(a + b for a, b in zip(one, two, strict=True))  # opposite faces add up to nothing
        ]


def _moved(padded: Tensor, offset: tuple[int, ...]) -> Tensor:
    """u(x + o) on the padded grid without its outermost voxels."""
    inner = tuple(slice(1 + step, size - 1 + step) for step, size in zip(offset, padded.shape[2:], strict=True))
    return padded[(slice(None), slice(None), *inner)]
