"""Intensities brought to [0, 1] and back, and the slow shading of a coil taken out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.volume import Volume
from skiagraph.errors import DataError, InputError

__all__ = ["Scaling", "correct_bias", "foreground_scaling", "percentile_scaling", "window_scaling"]

FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Scaling:
    """u = (v - low) / (high - low), cut to [0, 1], and its inverse.

    Attributes:
        low, high: intensities that become 0 and 1.
        kind: how they were found, for records.
    """

    low: float
    high: float
    kind: str

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise DataError(f"scaling: low is {self.low} and high {self.high}; finite low < high are needed")

    def apply(self, values: FloatArray, *, clip: bool = True) -> NDArray[np.float32]:
        """Scaled values, float32."""
        scaled = (np.asarray(values, dtype=np.float32) - self.low) / (self.high - self.low)
        return (np.clip(scaled, 0.0, 1.0) if clip else scaled).astype(np.float32)

    def inverse(self, scaled: FloatArray) -> NDArray[np.float32]:
        """v = low + u (high - low); values that were cut come back as low or high."""
        return (self.low + np.asarray(scaled, dtype=np.float32) * (self.high - self.low)).astype(np.float32)

    def record(self) -> dict[str, float | str]:
        """For `run.json` and back: `Scaling(**record)`."""
        return {"low": self.low, "high": self.high, "kind": self.kind}


def percentile_scaling(
    values: FloatArray, mask: NDArray[np.bool_] | None = None, percentiles: tuple[float, float] = (0.0, 99.5)
) -> Scaling:
    """Scaling by percentiles of the mask's voxels, robust against a few bright vessels.

    Args:
        values: any shape.
        mask: of the same shape, true on the foreground; None for all voxels.
        percentiles: that become 0 and 1.
    """
    low_share, high_share = percentiles
    if not 0 <= low_share < high_share <= 100:
        raise InputError(f"percentiles is {percentiles}; two rising numbers from 0 to 100 are needed")
    if mask is not None and mask.shape != values.shape:
        raise InputError(f"mask has shape {mask.shape}, the image {values.shape}; they must be equal")
    chosen = values if mask is None else values[mask]
    if chosen.size == 0:
        raise DataError("the mask is empty: no voxel is left to scale by")
    if not np.isfinite(chosen).all():
        raise DataError(f"{int((~np.isfinite(chosen)).sum())} voxels are NaN or infinite; none may be")
    low, high = (float(value) for value in np.percentile(chosen, percentiles))
    if low == high:
        raise DataError(f"percentiles {percentiles} are both {low:g}: the image is (nearly) constant, nothing to scale")
    return Scaling(low, high, f"percentiles {low_share:g} to {high_share:g}")


def foreground_scaling(values: FloatArray, headroom: float = 1.8) -> Scaling:
    """Scaling from 0 to so many times the median of the foreground, which is what lies above Otsu's threshold.

    A median hardly moves when a lesion is there; a high percentile does, and all tissue would then tell of the lesion.

    Args:
        values: a whole volume of non-negative intensities with dark air, any shape.
        headroom: what becomes 1, in medians of the foreground.
    """
    from skimage.filters import threshold_otsu

    array = np.asarray(values, dtype=np.float32)
    if not np.isfinite(array).all():
        raise DataError(f"{int((~np.isfinite(array)).sum())} voxels are NaN or infinite; none may be")
    if float(array.min()) == float(array.max()):
        raise DataError(f"every voxel is {float(array.min()):g}: the image is constant, nothing to scale by")
    median = float(np.median(array[array > threshold_otsu(array.ravel())]))
    return Scaling(0.0, headroom * median, f"{headroom:g} medians of the foreground")


def window_scaling(low: float, high: float) -> Scaling:
    """A fixed window, as for CT: Hounsfield units mean the same in every scan."""
    return Scaling(low, high, "window")


def correct_bias(
    volume: Volume, mask: NDArray[np.bool_], *, shrink: int = 4, iterations: tuple[int, ...] = (50, 50, 30)
) -> tuple[Volume, NDArray[np.float32]]:
    """The volume divided by the smooth field that N4 finds within the mask, and that field (Tustison et al. 2010).

    The field's geometric mean over the mask is 1, so that the brightness stays. Needs SimpleITK.

    Args:
        volume: non-negative intensities.
        mask: (X, Y, Z), true where tissue is.
        shrink: the field is estimated on every so manieth voxel.
        iterations: per level of resolution, coarsest first.
    """
    try:
        import SimpleITK
    except ImportError as error:
        raise DataError("bias correction (N4) needs SimpleITK: pip install 'skiagraph[translate]'") from error
    if mask.shape != volume.array.shape:
        raise InputError(f"mask has shape {mask.shape}, the volume {volume.array.shape}; they must be equal")
    if not mask.any():
        raise DataError("the mask is empty: N4 has nothing to estimate the field from")
    positive = np.maximum(np.asarray(volume.array, dtype=np.float32), 1e-3 * float(np.percentile(volume.array, 99)))
    image, inside = (SimpleITK.GetImageFromArray(part) for part in (positive, mask.astype(np.uint8)))
    for part in (image, inside):
        part.SetSpacing(tuple(float(step) for step in volume.spacing_mm[::-1]))
    factors = [max(1, min(shrink, side // 8)) for side in volume.array.shape[::-1]]
    corrector = SimpleITK.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations(list(iterations))
    corrector.SetNumberOfThreads(1)
    corrector.Execute(SimpleITK.Shrink(image, factors), SimpleITK.Shrink(inside, factors))
    logarithm = SimpleITK.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(image)).astype(np.float32)
    field = np.exp(logarithm - logarithm[mask].mean()).astype(np.float32)
    return Volume(volume.array / field, volume.affine, volume.source), field
