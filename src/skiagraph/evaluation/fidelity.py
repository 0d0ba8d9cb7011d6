"""How near a reconstruction is to the truth: scale fit, PSNR, SSIM and normalised squared error.

No function rescales, clips or takes magnitudes on its own: what is compared is what was passed, and the intensity range
is always an argument, because scores with different ranges cannot be compared.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skiagraph.evaluation.arrays import check_range, real_array, same_shape, selected

__all__ = ["fit_scale", "nmse", "psnr", "ssim"]


def fit_scale(image: ArrayLike, truth: ArrayLike, mask: ArrayLike | None = None) -> float:
    """The real factor that brings `image` nearest to `truth`, argmin_g |g image - truth|^2 = <image, truth>/|image|^2.

    Use it where a method's intensity scale is arbitrary (coil maps are known up to a factor), and say that it was used.

    Args:
        image: real, any shape.
        truth: real, same shape.
        mask: broadcastable to the shape; only elements where it is not zero count.
    """
    image, truth, chosen = _compared(image, truth, mask)
    energy = float((image[chosen] ** 2).sum())
    if energy == 0:
        raise ValueError("image: found zero everywhere that counts; no factor brings it near the truth.")
    return float((image[chosen] * truth[chosen]).sum() / energy)


def psnr(image: ArrayLike, truth: ArrayLike, data_range: float, mask: ArrayLike | None = None) -> float:
    """Peak signal-to-noise ratio in decibels, 10 log10(data_range^2 / mean squared error); infinite for equal arrays.

    Args:
        image: real, any shape.
        truth: real, same shape.
        data_range: span of intensities, > 0; for magnitude images the maximum of the truth.
        mask: broadcastable to the shape; only elements where it is not zero count.
    """
    image, truth, chosen = _compared(image, truth, mask)
    peak = check_range(data_range)
    error = float(((image - truth)[chosen] ** 2).mean())
    return float("inf") if error == 0 else float(10 * np.log10(peak**2 / error))


def nmse(image: ArrayLike, truth: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Normalised squared error |image - truth|^2 / |truth|^2; 0 is best, and 1 is the score of an empty image.

    Args:
        image: real, any shape.
        truth: real, same shape, not zero everywhere that counts.
        mask: broadcastable to the shape; only elements where it is not zero count.
    """
    image, truth, chosen = _compared(image, truth, mask)
    energy = float((truth[chosen] ** 2).sum())
    if energy == 0:
        raise ValueError("truth: found zero everywhere that counts; a normalised error is undefined.")
    return float(((image - truth)[chosen] ** 2).sum() / energy)


def ssim(image: ArrayLike, truth: ArrayLike, data_range: float, mask: ArrayLike | None = None) -> float:
    """Mean structural similarity of one 2-D image: Gaussian window of standard deviation 1.5 pixels, K1 0.01, K2 0.03.

    Every window lies inside the image, so the outermost 5 pixels are not centres of windows and never count.
    Reference: Wang et al., IEEE TIP 13, 2004; computed by scikit-image.
    Differs from row-wise variants, which score each image row as a signal of its own, and from the 7 x 7 uniform window
    of the fastMRI leaderboard: values are not comparable to either.

    Args:
        image: (H, W) real, both at least 11.
        truth: (H, W) real.
        data_range: span of intensities, > 0; for magnitude images the maximum of the truth.
        mask: broadcastable to (H, W); only windows centred where it is not zero count.
    """
    from skimage.metrics import structural_similarity

    image, truth, chosen = _compared(image, truth, mask)
    if truth.ndim != 2 or min(truth.shape) < 11:
        raise ValueError(f"truth: found shape {truth.shape}; allowed is one image (H, W), both at least 11 pixels.")
    peak = check_range(data_range)
    _, scores = structural_similarity(
        image, truth, data_range=peak, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    inside = np.zeros(truth.shape, dtype=bool)
    inside[5:-5, 5:-5] = True
    if not (chosen & inside).any():
        raise ValueError("mask: found no selected pixel at least 5 pixels from the border, where SSIM has no windows.")
    return float(scores[chosen & inside].mean())


def _compared(
    image: ArrayLike, truth: ArrayLike, mask: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Both as checked arrays of one shape, and where they count."""
    image, truth = real_array(image, "image"), real_array(truth, "truth")
    same_shape(image, truth, ("image", "truth"))
    return image, truth, selected(mask, truth.shape)
