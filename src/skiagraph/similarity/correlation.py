"""Local correlation of intensities and of gradient directions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skiagraph.similarity.descriptors import box_mean, pad_edges
from skiagraph.similarity.interface import check_images, check_mask

__all__ = ["LocalCorrelation", "NormalisedGradients"]


@dataclass(frozen=True)
class LocalCorrelation:
    """cov(u, v)^2 / (var(u) var(v)) over a window around each voxel; 0 where either image is locally constant.

    Locally constant is a variance below `flat` times the variance of the whole image. Invariant to u -> a u + b.

    Args:
        window: odd side of the window in voxels.
        flat: as above.
    """

    window: int = 9
    flat: float = 1e-5

    range = (0.0, 1.0)
    has_gradient = True

    def __post_init__(self) -> None:
        if self.window < 3 or self.window % 2 == 0:
            raise ValueError(f"window: found {self.window}; allowed are odd sides of at least 3.")
        if not 0 < self.flat < 1:
            raise ValueError(f"flat: found {self.flat}; allowed above 0 and below 1.")

    def channels(self, dimensions: int) -> int:
        """One."""
        return 1

    def __call__(self, reference: Tensor, search: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, 1, *S) in [0, 1]."""
        check_images(reference, search)
        chosen = check_mask(mask, reference)
        one, two = (image - _whole(image, image.ndim) for image in (reference, search))
        first, second = self._mean(one), self._mean(two)
        covariance = self._mean(one * two) - first * second
        a, b = self._mean(one.square()) - first.square(), self._mean(two.square()) - second.square()
        known = (a > self._least(one)) & (b > self._least(two))
        if chosen is not None:
            known = known & chosen
        return torch.where(known, covariance.square() / torch.where(known, a * b, 1.0), 0.0).clamp(max=1)

    def _mean(self, image: Tensor) -> Tensor:
        return box_mean(pad_edges(image, self.window // 2), self.window)

    def _least(self, centred: Tensor) -> Tensor:
        return self.flat * _whole(centred.detach().square(), centred.ndim)


def _whole(image: Tensor, axes: int) -> Tensor:
    return image.flatten(1).mean(1).reshape(-1, *[1] * (axes - 1))


@dataclass(frozen=True)
class NormalisedGradients:
    """<grad u, grad v>^2 / ((|grad u|^2 + eta_u^2) (|grad v|^2 + eta_v^2)): do edges run the same way?

    eta is `noise` times the root mean square gradient of each image, so that contrast and its sign do not matter.
    Haber and Modersitzki 2006 (MICCAI).

    Args:
        noise: gradients below this share of the typical one count little; > 0.
    """

    noise: float = 0.5

    range = (0.0, 1.0)
    has_gradient = True

    def __post_init__(self) -> None:
        if not self.noise > 0:
            raise ValueError(f"noise: found {self.noise}; allowed above 0.")

    def channels(self, dimensions: int) -> int:
        """One."""
        return 1

    def __call__(self, reference: Tensor, search: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, 1, *S) in [0, 1)."""
        check_images(reference, search, (2,))
        chosen = check_mask(mask, reference)
        one, two = _gradient(reference), _gradient(search)
        strength = [gradient.square().sum(1, keepdim=True) for gradient in (one, two)]
        norms = [value + self.noise**2 * _whole(value, value.ndim) for value in strength]
        product = norms[0] * norms[1]
        known = product > 0 if chosen is None else (product > 0) & chosen
        along = (one * two).sum(1, keepdim=True).square()
        return torch.where(known, along / torch.where(known, product, 1.0), 0.0)


def _gradient(image: Tensor) -> Tensor:
    """Central differences, (B, 1, *S) -> (B, axes, *S), the edge repeated."""
    padded = pad_edges(image, 1)
    parts = []
    for axis in range(image.ndim - 2):
        ahead, behind = ([slice(None)] * 2 + [slice(1, -1)] * (image.ndim - 2) for _ in range(2))
        ahead[axis + 2], behind[axis + 2] = slice(2, None), slice(None, -2)
        parts.append(0.5 * (padded[tuple(ahead)] - padded[tuple(behind)]))
    return torch.cat(parts, 1)
