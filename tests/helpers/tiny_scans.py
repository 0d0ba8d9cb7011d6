"""Small k-space scans of the generated phantom, and small networks to reconstruct them with."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import nn

from skiagraph.data.kspace import KSpace
from skiagraph.data.phantom import head_phantom
from skiagraph.data.simulation import ScanSettings, simulate
from skiagraph.data.slicing import Head, SlicePose, locate_head
from skiagraph.inverse.consistent import ConsistentNetwork
from skiagraph.tasks.reconstruct.network import build_network
from skiagraph.tasks.reconstruct.scan import PreparedScan
from skiagraph.tasks.reconstruct.settings import NetworkSettings
from skiagraph.tasks.reconstruct.simulated import SimulatedSlices, draw_mask, prepare_acquisitions

__all__ = ["NETWORK", "SCANNER", "column_mask", "filled_network", "phantom", "phantom_slices", "prepared", "scan"]

SCANNER = ScanSettings(coils=4, matrix=(32, 32))
NETWORK = NetworkSettings(channels=8, multipliers=(1,), cascades=1, linear_iterations=2, data_iterations=3)


@cache
def phantom() -> Head:
    """A coarse generated head."""
    return locate_head(head_phantom(0, spacing_mm=6.0))


def column_mask(centre: int = 14) -> np.ndarray:
    """Every second of 32 columns and the `centre` inner ones."""
    mask = np.arange(32) % 2 == 0
    mask[16 - centre // 2 : 16 + centre // 2] = True
    return mask


def scan(*, slices: int = 3, truth: bool = False, mask: np.ndarray | None = None) -> KSpace:
    """A scan of the phantom, 32 x 32 pixels of 8 mm, 4 coils, slices 2 mm apart, with its affine."""
    chosen = column_mask() if mask is None else mask
    acquired = [
        simulate(phantom(), SlicePose(10.0 + 2.0 * index), seed=3, case=f"{index}", settings=SCANNER)
        for index in range(slices)
    ]
    return KSpace(
        data=np.stack([item.kspace for item in acquired]) * chosen.astype(np.float32),
        mask=chosen,
        field_of_view_mm=SCANNER.field_of_view_mm,
        slice_spacing_mm=2.0,
        affine=acquired[0].affine,
        truth=np.stack([item.truth for item in acquired]) if truth else None,
        noise_scan=acquired[0].noise_scan,
        source="phantom",
    )


def phantom_slices(positions: tuple[float, ...] = (10.0, 20.0)) -> SimulatedSlices:
    """Prepared slices of the phantom, each with a random mask of its own."""
    acquired = [
        simulate(phantom(), SlicePose(position), seed=5, case=f"head/{number}", settings=SCANNER)
        for number, position in enumerate(positions)
    ]
    masks = [draw_mask("random", 32, 2.0, 12, 5, item.case) for item in acquired]
    return prepare_acquisitions(acquired, masks, 12)


def prepared(*, noise: tuple[float, ...] = (0.01, 0.03)) -> PreparedScan:
    """`phantom_slices` with the noise level that each is said to have."""
    return replace(phantom_slices().scan, noise=torch.tensor(noise))


def filled_network(seed: int = 0) -> ConsistentNetwork:
    """A tiny network with random weights everywhere, also where fresh ones are zero."""
    network = build_network(NETWORK, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for value in network.backbone.parameters():
            nn.init.normal_(value, std=0.1)
    return network.eval().requires_grad_(False)
