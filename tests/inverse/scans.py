"""Small multi-coil scans and networks without convolutions, so that a batch must equal its items bit for bit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.consistent import ConsistentNetwork
from skiagraph.physics.fourier import CoilFourier

__all__ = ["Mixing", "Silent", "columns", "image", "maps", "network", "scan"]


class Silent(nn.Module):
    """A fresh network: zero output, of 2 channels for every 4 it reads."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x (B, 4 p^2, H, W) -> (B, 2 p^2, H, W)."""
        return torch.zeros_like(x[:, : x.shape[1] // 2])


class Mixing(nn.Module):
    """A backbone with something to say, from every pixel's neighbours, the anchors and the time.

    Args:
        outputs: 2 for re and im, 3 with the map of trust.
    """

    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.outputs = outputs
        self.gain = nn.Parameter(torch.tensor([0.7, -0.4, 0.3]))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x (B, 4 p^2, H, W), time (B,) -> (B, outputs p^2, H, W)."""
        mixed = self.gain[0] * x + self.gain[1] * x.roll(1, -1) + self.gain[2] * x.roll(1, -2)
        out = torch.tanh(mixed + 0.02 * time[:, None, None, None])
        return out[:, : self.outputs * x.shape[1] // 4] + 0.1 * out[:, -self.outputs * x.shape[1] // 4 :]


def network(backbone: nn.Module | None = None, *, patch: int = 2, data_iterations: int = 5) -> ConsistentNetwork:
    """A `ConsistentNetwork` around a backbone."""
    return ConsistentNetwork(Mixing() if backbone is None else backbone, patch=patch, data_iterations=data_iterations)


def maps(batch: int = 3, coils: int = 4, size: tuple[int, int] = (12, 16), seed: int = 0) -> Tensor:
    """Smooth coil maps (B, coils, H, W) with sum |C|^2 = 1: a Gaussian at every one of `coils` places of a circle."""
    row = torch.linspace(-1, 1, size[0])[:, None]
    column = torch.linspace(-1, 1, size[1])[None]
    angle = 2 * torch.pi * (torch.arange(coils) / coils + 0.1 * seed + 0.05 * torch.arange(batch)[:, None])
    angle = angle[..., None, None]
    profile = torch.exp(-((row - angle.sin()) ** 2 + (column - angle.cos()) ** 2) / 1.5)
    fields = torch.polar(profile, angle + 0.5 * row)
    return fields / fields.abs().square().sum(1, keepdim=True).sqrt()


def image(batch: int = 3, size: tuple[int, int] = (12, 16), seed: int = 0) -> Tensor:
    """Random images (B, 2, H, W), smoothed a little."""
    x = 0.3 * Streams(range(seed, seed + batch)).normal(2, *size)
    return (x + x.roll(1, -1) + x.roll(1, -2)) / 2


def columns(batch: int = 3, width: int = 16, seed: int = 0) -> Tensor:
    """Masks (B, 1, 1, W): four central columns and half of the others."""
    mask = (Streams(range(seed, seed + batch)).uniform(width) < 0.5).float()
    mask[:, width // 2 - 2 : width // 2 + 2] = 1
    return mask[:, None, None]


def scan(batch: int = 3, coils: int = 4, size: tuple[int, int] = (12, 16), noise: float = 0.0) -> dict[str, Tensor]:
    """A batch for `MeasurementObjective`: k-space (zero off the mask), mask, maps and noise level."""
    fields, mask = maps(batch, coils, size), columns(batch, size[1])
    kspace = CoilFourier(fields).forward(image(batch, size))
    kspace = kspace + noise * Streams(range(50, 50 + batch)).normal_like(kspace)
    level = torch.full((batch,), noise)
    return {"kspace": mask * kspace, "mask": mask, "maps": fields, "noise": level}
