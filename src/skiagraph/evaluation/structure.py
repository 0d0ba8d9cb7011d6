"""How well one image shows the structures of another: MS-SSIM, gradient similarity, mutual information, slice changes.

Everything refers to a foreground and to a range that the caller states; nothing is stretched per image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skiagraph.evaluation.arrays import check_range, real_array, same_shape, selected

__all__ = ["gradient_deviation", "multiscale_ssim", "normalised_information", "slice_change"]

_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW = 11


def multiscale_ssim(
    image: ArrayLike, truth: ArrayLike, data_range: float, mask: ArrayLike | None = None, scales: int | None = None
) -> float:
    """Multi-scale structural similarity of one 2-D image (Wang et al. 2003), computed by MONAI; 1 is best.

    Both images are set to the truth's smallest value outside the mask and cut to the mask's box with half a window
    around it, so that the background counts at the border only. Small images have fewer scales, whose weights are made
    to sum to 1: figures with different numbers of scales cannot be compared.

    Args:
        image: (H, W) real.
        truth: (H, W) real.
        data_range: span of intensities, > 0.
        mask: broadcastable to (H, W).
        scales: 1 to 5; None for as many as the box allows, each needing twice the side of the one before, from 11.
    """
    import torch
    from monai.metrics import MultiScaleSSIMMetric

    first, second, chosen = _compared(image, truth, mask)
    if second.ndim != 2 or min(second.shape) < _WINDOW:
        raise ValueError(f"truth: found shape {second.shape}; allowed is one image (H, W), both at least {_WINDOW}.")
    box = _box(chosen, _WINDOW // 2, 2 * _WINDOW)
    possible = max(n for n in range(1, 6) if min(np.asarray(first[box].shape)) > (_WINDOW - 1) * 2 ** (n - 1))
    count = possible if scales is None else scales
    if not 1 <= count <= possible:
        raise ValueError(f"scales: found {scales}; allowed for a box of {first[box].shape} are 1 to {possible}.")
    weights = np.asarray(_SCALES[:count]) / sum(_SCALES[:count])
    metric = MultiScaleSSIMMetric(2, check_range(data_range), kernel_size=_WINDOW, weights=tuple(weights.tolist()))
    blank = float(second.min())
    pair = [torch.from_numpy(np.where(chosen, part, blank)[box])[None, None] for part in (first, second)]
    found: torch.Tensor = metric(pair[0], pair[1])
    return float(found.mean())


def gradient_deviation(image: ArrayLike, truth: ArrayLike, data_range: float, mask: ArrayLike | None = None) -> float:
    """Gradient magnitude similarity deviation of one 2-D image; 0 is best (Xue et al., IEEE TIP 23, 2014).

    Standard deviation over the mask of (2 g h + c) / (g^2 + h^2 + c), g and h the Prewitt gradient magnitudes of both
    images after means of 2 x 2 pixels, c = 170 for a range of 255.

    Args:
        image: (H, W) real, both sides at least 6.
        truth: (H, W) real.
        data_range: span of intensities, > 0.
        mask: broadcastable to (H, W); a block counts where more than half of it is chosen.
    """
    from scipy.ndimage import prewitt

    first, second, chosen = _compared(image, truth, mask)
    if second.ndim != 2 or min(second.shape) < 6:
        raise ValueError(f"truth: found shape {second.shape}; allowed is one image (H, W), both at least 6.")
    constant = 170 / 255**2 * check_range(data_range) ** 2
    magnitudes = []
    for part in (first, second):
        small = _halved(part)
        magnitudes.append(np.hypot(prewitt(small, 0, mode="nearest"), prewitt(small, 1, mode="nearest")) / 3)
    one, other = magnitudes
    similar = (2 * one * other + constant) / (one**2 + other**2 + constant)
    inside = _halved(chosen.astype(np.float64)) > 0.5
    if not inside.any():
        raise ValueError("mask: found no block of 2 x 2 pixels that is mostly chosen; choose more, or leave it out.")
    return float(similar[inside].std())


def normalised_information(image: ArrayLike, truth: ArrayLike, mask: ArrayLike | None = None, bins: int = 64) -> float:
    """(H(A) + H(B)) / H(A, B) in [1, 2] of the chosen voxels, by scikit-image; 1 where they know nothing of each other.

    Args:
        image: any shape, not constant.
        truth: same shape, not constant.
        mask: broadcastable to the shape.
        bins: of each histogram, over each image's own range.
    """
    from skimage.metrics import normalized_mutual_information

    first, second, chosen = _compared(image, truth, mask)
    for name, part in (("image", first), ("truth", second)):
        if part[chosen].min() == part[chosen].max():
            raise ValueError(f"{name}: found one value everywhere; information needs an image that is not constant.")
    return float(normalized_mutual_information(first[chosen], second[chosen], bins=bins))


def slice_change(volume: ArrayLike, mask: ArrayLike | None = None, axis: int = 0) -> float:
    """mean |x[z + 1] - x[z]| over voxels chosen in both slices: set it beside the truth's own.

    Args:
        volume: with at least two slices along `axis`.
        mask: broadcastable to the shape.
        axis: from slice to slice.
    """
    array = real_array(volume, "volume")
    chosen = np.moveaxis(selected(mask, array.shape), axis, 0)
    moved = np.moveaxis(array, axis, 0)
    if len(moved) < 2:
        raise ValueError(f"volume: found {len(moved)} slice along axis {axis}; a change needs two.")
    both = chosen[1:] & chosen[:-1]
    if not both.any():
        raise ValueError("mask: found no voxel chosen in two neighbouring slices.")
    return float(np.abs(np.diff(moved, axis=0))[both].mean())


def _compared(
    image: ArrayLike, truth: ArrayLike, mask: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    first, second = real_array(image, "image"), real_array(truth, "truth")
    same_shape(first, second, ("image", "truth"))
    return first, second, selected(mask, second.shape)


def _box(chosen: NDArray[np.bool_], margin: int, least: int) -> tuple[slice, ...]:
    """The mask's box with a margin, at least so long where the image allows it."""
    box = []
    for axis, size in enumerate(chosen.shape):
        along = np.flatnonzero(chosen.any(axis=1 - axis))
        low, high = max(int(along[0]) - margin, 0), min(int(along[-1]) + 1 + margin, size)
        low = max(0, min(low, high - least))
        box.append(slice(low, min(size, max(high, low + least))))
    return tuple(box)


def _halved(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of 2 x 2 pixels; an odd last row or column is left out."""
    height, width = (side // 2 for side in image.shape)
    blocks = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
    return np.asarray(blocks.mean(axis=(1, 3)))
