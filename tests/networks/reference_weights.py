"""Finds reference checkpoints with their stored outputs, which are not part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

__all__ = ["reference"]


def reference(name: str) -> tuple[Path, dict[str, Tensor]]:
    """Path of a checkpoint and its arrays; skips, saying why, where they are absent.

    They are looked for in the folder that SKIAGRAPH_FIXTURES names, else in `../shared/fixtures` beside the repository.
    """
    default = Path(__file__).parents[2].parent / "shared" / "fixtures"
    folder = Path(os.environ.get("SKIAGRAPH_FIXTURES", default)) / "guided_diffusion_unet"
    weights, arrays = folder / f"{name}.pt", folder / f"{name}_io.npz"
    if not (weights.is_file() and arrays.is_file()):
        pytest.skip(f"reference weights {weights} are absent; set SKIAGRAPH_FIXTURES to the folder that holds them")
    with np.load(arrays) as stored:
        return weights, {key: torch.from_numpy(stored[key]) for key in stored.files}
