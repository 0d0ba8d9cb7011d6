"""What a measurement is: linear operators with adjoints, and the masks that decide what is sampled."""

from __future__ import annotations

from skiagraph.physics.blur import Blur, gaussian_kernel, motion_kernel
from skiagraph.physics.coils import (
    check_normalised,
    combine,
    compress,
    compression_matrix,
    kept_energy,
    normalise_maps,
    pad_coils,
    present_coils,
    root_sum_of_squares,
)
from skiagraph.physics.fourier import (
    CoilFourier,
    MaskedCoilFourier,
    MaskedFourier,
    centred_fft2,
    centred_ifft2,
    to_complex,
    to_real,
)
from skiagraph.physics.operator import Compose, LinearOperator, conjugate_gradient, inner_product
from skiagraph.physics.resample import BlockMean, CubicDownsample, cubic_matrix, nearest_upsample
from skiagraph.physics.selection import DenseOperator, Identity, PixelMask

__all__ = [
    "BlockMean",
    "Blur",
    "CoilFourier",
    "Compose",
    "CubicDownsample",
    "DenseOperator",
    "Identity",
    "LinearOperator",
    "MaskedCoilFourier",
    "MaskedFourier",
    "PixelMask",
    "centred_fft2",
    "centred_ifft2",
    "check_normalised",
    "combine",
    "compress",
    "compression_matrix",
    "conjugate_gradient",
    "cubic_matrix",
    "gaussian_kernel",
    "inner_product",
    "kept_energy",
    "motion_kernel",
    "nearest_upsample",
    "normalise_maps",
    "pad_coils",
    "present_coils",
    "root_sum_of_squares",
    "to_complex",
    "to_real",
]
