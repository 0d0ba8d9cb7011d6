"""Noise levels of measurements: one number for all samples of a batch, or one for each."""

from __future__ import annotations

import torch
from torch import Tensor

from skiagraph.inverse.data_consistency import check_measurement

__all__ = ["check_noise"]


def check_noise(measurement: Tensor, noise_std: float | Tensor) -> bool:
    """Refuse data and noise levels that no method can work with; return whether there is noise.

    Args:
        measurement: y, (B, ...).
        noise_std: number or (B,), >= 0 and finite, all of them zero or none of them.
    """
    levels = torch.as_tensor(noise_std, dtype=torch.float64)
    if levels.ndim > 1 or (levels.ndim == 1 and levels.shape[0] not in (1, measurement.shape[0])):
        raise ValueError(
            f"noise_std: found shape {tuple(levels.shape)}; allowed are a number or one level for each of the "
            f"{measurement.shape[0]} samples."
        )
    for level in levels.flatten().tolist():
        check_measurement(measurement[:0], level)
    check_measurement(measurement)
    positive = levels > 0
    if bool(positive.any()) and not bool(positive.all()):
        raise ValueError(f"noise_std: found {levels.tolist()}; allowed are levels all 0 or all > 0.")
    return bool(positive.all())
