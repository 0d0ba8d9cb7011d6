"""Small heads of ellipsoids in two contrasts, and target priors of random weights for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.splits import split_by_head
from skiagraph.data.volume import Volume, write_nifti
from skiagraph.tasks.measurement.network import build_unet
from skiagraph.tasks.translate.prior import TargetPrior
from skiagraph.tasks.translate.prior_record import describe_target_prior
from skiagraph.tasks.translate.settings import TranslatePriorSettings
from skiagraph.tasks.translate.target_data import find_cases, read_heads
from skiagraph.tasks.translate.train import target_network
from skiagraph.training.prior import Prior

__all__ = ["NETWORK", "head", "head_folder", "prior_folder", "prior_settings", "target_prior"]

NETWORK = {"channels": 8, "multipliers": [1, 2], "head_channels": 4, "groups": 4, "attention": 0}
_T1, _T2 = (0.0, 20.0, 60.0, 90.0), (0.0, 200.0, 90.0, 60.0)


def head(contrast: str = "T1", shape: tuple[int, int, int] = (14, 16, 6), spacing: float = 4.0) -> Volume:
    """Three shells around the middle, background exactly 0, brighter to one side."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    radius = np.sqrt(x**2 + y**2 + (0.6 * z) ** 2)
    label = np.digitize(-radius, (-0.85, -0.6, -0.35))
    values = np.asarray(_T1 if contrast == "T1" else _T2)[label] * (1 + 0.1 * x)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = (-20, -30, 10)
    return Volume(values.astype(np.float32), affine, contrast)


def head_folder(folder: Path, count: int = 2) -> Path:
    """Folder of HEAD/T1.nii.gz and HEAD/mask.nii.gz."""
    for number in range(count):
        volume = head("T1", (14, 16, 6 + number))
        place = folder / f"head-{number}"
        write_nifti(place / "T1.nii.gz", volume)
        mask: NDArray[np.uint8] = (volume.array > 0).astype(np.uint8)
        write_nifti(place / "mask.nii.gz", Volume(mask, volume.affine))  # type: ignore[arg-type]
    return folder


def prior_settings(place: Path, output: Path, **changes: Any) -> TranslatePriorSettings:
    """The smallest training."""
    values: dict[str, Any] = {
        "data": [place],
        "pattern": "*/T1.nii.gz",
        "spacing_mm": (4.0, 4.0, 4.0),
        "size": [16, 16],
        "network": NETWORK,
        "images": 8,
        "batch_size": 4,
        "warmup": 0,
        "threads": 1,
        "output": output,
    }
    return TranslatePriorSettings.model_validate(values | changes)


def target_prior(data: Path, **changes: Any) -> TargetPrior:
    """A prior with fresh weights; its output layer is filled, since a fresh network gives exactly 0."""
    import torch

    settings = prior_settings(data, data, **changes)
    config = target_network(settings)
    network = build_unet(config, 1).eval().requires_grad_(False)
    with torch.no_grad():
        weight = network.out[2].weight
        weight.copy_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)))
    cases = find_cases(settings)
    heads = read_heads(cases, tuple(cases), settings)
    split = split_by_head({case: case for case in cases}, test=[])
    return TargetPrior.of(Prior(network, describe_target_prior(settings, config, split, heads, 8, 8, {})))


def prior_folder(data: Path, folder: Path, **changes: Any) -> Path:
    """The same on disk."""
    target_prior(data, **changes).prior.save(folder)
    return folder
