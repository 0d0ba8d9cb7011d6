"""The simulated heads in the frame of the prior: every contrast, the truth without noise, tissues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skiagraph.data.files import atomic_path
from skiagraph.data.intensity import Scaling, percentile_scaling
from skiagraph.data.regrid import resample
from skiagraph.data.volume import read_nifti
from skiagraph.tasks.translate.frame import frame_of, framed, to_slices
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
        scaling: of each contrast.
    """

    name: str
    sources: dict[str, SourceStack]
    truth: dict[str, Tensor]
    tissues: Tensor
    scaling: dict[str, Scaling]


def read_head(folder: Path, contrasts: Sequence[str] = CONTRASTS) -> Head:
    """One folder of `simulate contrasts`; what was resampled is kept in it as framed.npz."""
    kept = folder / "framed.npz"
    if not kept.exists():
        with atomic_path(kept, suffix=".npz") as partial:
            np.savez_compressed(partial, **_framed(folder, contrasts))
    found = np.load(kept)
    mask = torch.from_numpy(found["mask"])
    sources, truth, scalings = {}, {}, {}
    for name in contrasts:
        sources[name] = SourceStack(torch.from_numpy(found[name]), mask, SPACING, f"{folder.name} {name}")
        truth[name] = torch.from_numpy(found[f"{name}.clean"])
        low, high = (float(end) for end in found[f"{name}.scaling"])
        scalings[name] = Scaling(low, high, "percentiles 0 to 99.5")
    return Head(folder.name, sources, truth, torch.from_numpy(found["tissues"]), scalings)


def _framed(folder: Path, contrasts: Sequence[str]) -> dict[str, NDArray[Any]]:
    mask = read_nifti(folder / "mask.nii.gz").array > 0.5
    first = read_nifti(folder / f"{contrasts[0]}.nii.gz")
    frame = frame_of(first, mask, SPACING, SIZE)
    made: dict[str, NDArray[Any]] = {}
    for name in contrasts:
        volume = read_nifti(folder / f"{name}.nii.gz")
        scaling = percentile_scaling(volume.array, mask, (0.0, 99.5))
        image, inside = framed(volume, mask, frame, scaling)
        clean, _ = framed(read_nifti(folder / f"{name}.clean.nii.gz"), mask, frame, scaling)
        made |= {name: _slices(image, np.float32(-1)), f"{name}.clean": _slices(clean, np.float32(-1))}
        made |= {f"{name}.scaling": np.array([scaling.low, scaling.high]), "mask": _slices(inside, False)}
    shares = []
    for tissue in ("csf", "grey", "white"):
        volume = read_nifti(folder / f"tissue-{tissue}.nii.gz")
        shares.append(resample(volume, frame.grid, order=1, outside=0.0).array)
    made["tissues"] = np.where(made["mask"], _slices(np.argmax(np.stack(shares), 0) + 1, 0), 0).astype(np.int64)
    return made


def _slices(volume: NDArray[Any], fill: Any) -> NDArray[Any]:
    """(X, Y, Z) as axial slices (Z, 1, 96, 80): the margin around the head is cut or padded."""
    return fitted(to_slices(volume), SIZE, fill)[:, None]


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
