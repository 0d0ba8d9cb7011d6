"""The simulated heads in the frame of the prior: every contrast, the truth without noise, tissues."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skiagraph.data.intensity import Scaling, percentile_scaling
from skiagraph.data.regrid import resample
from skiagraph.data.volume import Volume, read_nifti
from skiagraph.tasks.translate.frame import Frame, frame_of, framed, to_slices
from skiagraph.tasks.translate.method import SourceStack
from skiagraph.tasks.translate.target_data import fitted

__all__ = ["SIZE", "SPACING", "Head", "paired", "read_head", "training_labels", "training_slices"]

SPACING = (2.0, 2.0, 2.0)
SIZE = (96, 80)
CONTRASTS = ("T1", "T2", "PD", "FLAIR")
LEAST_FOREGROUND = 0.02


@dataclass(frozen=True, eq=False)
class Head:
    """One head in the prior's frame; slices (N, 1, H, W).

    Args:
        name: of the sample.
        sources: contrast to its stack, with noise and shading, in [-1, 1] by its own percentiles.
        truth: contrast without noise and shading, scaled as the noisy image.
        tissues: int64, 0 background, 1 fluid, 2 grey, 3 white matter.
        frame, scaling: how it came there; scaling by contrast.
        parameters: tissue to proton density, T1 and T2 in ms of this head.
    """

    name: str
    sources: dict[str, SourceStack]
    truth: dict[str, Tensor]
    tissues: Tensor
    frame: Frame
    scaling: dict[str, Scaling]
    parameters: dict[str, dict[str, float]]


def read_head(folder: Path, contrasts: Sequence[str] = CONTRASTS) -> Head:
    """One folder of `simulate contrasts`."""
    mask = read_nifti(folder / "mask.nii.gz").array > 0.5
    sources, truth, scalings = {}, {}, {}
    frame = None
    for name in contrasts:
        volume = read_nifti(folder / f"{name}.nii.gz")
        frame = frame_of(volume, mask, SPACING, SIZE) if frame is None else frame
        scaling = percentile_scaling(volume.array, mask, (0.0, 99.5))
        image, inside = framed(volume, mask, frame, scaling)
        clean, _ = framed(read_nifti(folder / f"{name}.clean.nii.gz"), mask, frame, scaling)
        within = _slices(inside, False)
        sources[name] = SourceStack(_slices(image, np.float32(-1)), within, SPACING, f"{folder.name} {name}")
        truth[name] = _slices(clean, np.float32(-1))
        scalings[name] = scaling
    assert frame is not None
    shares = []
    for tissue in ("csf", "grey", "white"):
        volume = read_nifti(folder / f"tissue-{tissue}.nii.gz")
        shares.append(resample(Volume(volume.array, volume.affine), frame.grid, order=1, outside=0.0).array)
    labels = np.argmax(np.stack(shares), 0) + 1
    tissues = torch.where(within, _slices(labels, 0), 0)
    stated = json.loads((folder / "contrasts.json").read_text())
    return Head(folder.name, sources, truth, tissues, frame, scalings, stated["parameters"])


def _slices(volume: NDArray[Any], fill: Any) -> Tensor:
    """(X, Y, Z) as axial slices (Z, 1, 96, 80): the margin around the head is cut or padded."""
    return torch.from_numpy(fitted(to_slices(volume), SIZE, fill))[:, None]


def _usable(head: Head) -> Tensor:
    """Slices with enough foreground to learn from."""
    mask = next(iter(head.sources.values())).mask
    return (mask.flatten(1).float().mean(1) >= LEAST_FOREGROUND).nonzero()[:, 0]


def training_slices(heads: Sequence[Head], contrast: str) -> Tensor:
    """All usable slices (M, 1, H, W) of a contrast at the prior's size."""
    parts = []
    for head in heads:
        parts.append(head.sources[contrast].images[_usable(head)])
    return torch.cat(parts)


def training_labels(heads: Sequence[Head]) -> Tensor:
    """Tissues of the same slices."""
    return torch.cat([head.tissues[_usable(head)] for head in heads])


def paired(heads: Sequence[Head], source: str, target: str) -> tuple[Tensor, Tensor]:
    """Slices of two contrasts of the same heads, in the same order."""
    return training_slices(heads, source), training_slices(heads, target)
