"""Blocks with and without a brighter block in them, and a prior that knows the difference in closed form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skiagraph.data.volume import Volume, write_nifti
from skiagraph.diffusion import linear_table
from skiagraph.diffusion.difference import ConditionPair
from skiagraph.diffusion.oracle import GaussianDenoiser
from skiagraph.tasks.segment.labelled_prior import LabelledPrior
from skiagraph.tasks.segment.settings import DifferenceSettings

__all__ = ["QUICK", "SIZE", "head", "oracle", "write"]

SIZE = 16


def oracle(**changes: Any) -> LabelledPrior:
    """Pixels of one variance, brighter by 0.8 where present."""
    absent = torch.full((1, 1, 1), -0.2, dtype=torch.float64)
    denoiser = GaussianDenoiser(linear_table(), absent, variance=torch.full((1, 1, 1), 0.02).double())
    pair = ConditionPair(absent + 0.8, absent, "mean")
    values: dict[str, Any] = {"shape": (1, SIZE, SIZE), "spacing_mm": (3.0, 3.0), "sha256": "a" * 64, **changes}
    return LabelledPrior(denoiser, pair, "lesion", "normal", (1, 0), **values)


QUICK = DifferenceSettings(engine="difference", levels=[0.3], seeds=1, sign="evidence")


def head(seed: int, lesion: bool, shape: tuple[int, int, int] = (4, 20, 24)) -> NDArray[np.float32]:
    """A grey block in air, (D, H, W) in scanner units, with a brighter block in it."""
    random = np.random.default_rng(seed)
    values = np.zeros(shape, dtype=np.float32)
    values[:, 2:-2, 3:-3] = 100 + 2 * random.normal(size=(shape[0], shape[1] - 4, shape[2] - 6))
    if lesion:
        values[1:3, 6:11, 8:14] += 70
    return values


def write(folder: Path, name: str, values: NDArray[np.float32], spacing: float = 3.0) -> Path:
    """As NIfTI, so that `read_cases` gives these slices back."""
    folder.mkdir(exist_ok=True)
    array = np.ascontiguousarray(values[:, ::-1].transpose(2, 1, 0))
    return write_nifti(folder / f"{name}.nii.gz", Volume(array, np.diag([spacing, spacing, 4.0, 1.0]), "test"))
