"""An ordinary prior of complex images: real and imaginary part as channels, EDM's preconditioning and weight."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from skiagraph.diffusion.denoiser import NetworkDenoiser, NetworkTime
from skiagraph.diffusion.objective import EDMWeight, LogNormalTimes, ObjectiveResult, denoising_loss
from skiagraph.diffusion.schedule import EDM, Schedule
from skiagraph.inverse.variation import Draws, mirror
from skiagraph.physics.fourier import CoilFourier, to_complex, to_real
from skiagraph.tasks.reconstruct.scan import PreparedScan

__all__ = ["TIME", "ImageItems", "ImageObjective", "combined_images", "image_schedule"]

TIME = NetworkTime("log_rho", 64.0)


def image_schedule() -> EDM:
    """The schedule of training: noise from well below a scanner's to well above the image."""
    return EDM(0.002, 20.0)


def combined_images(scan: PreparedScan, rows: int = 64) -> Tensor:
    """T^H y of fully sampled scans, (S, H, W) complex64, in normalised units; the noise of the scans stays in them."""
    parts = [scan.select(slice(first, first + rows)) for first in range(0, len(scan), rows)]
    return torch.cat([to_complex(CoilFourier(part.maps).adjoint(part.kspace)) for part in parts])


@dataclass(frozen=True, eq=False)
class ImageItems:
    """Complex images (N, H, W) as training data."""

    images: Tensor

    def __len__(self) -> int:
        return self.images.shape[0]

    def batch(self, indices: Tensor) -> Tensor:
        """(B, H, W) complex."""
        return self.images[indices]


@dataclass(frozen=True)
class ImageObjective:
    """The denoising objective of EDM on complex images, log sigma ~ N(mean, deviation^2), clipped to the schedule.

    Args:
        sigma_data: standard deviation of a real part.
        log_rho: mean and standard deviation of log sigma.
        rows: rows of the image that an item shows, a random window; None for all.
        flips: mirror items along either axis and turn their phase.
    """

    sigma_data: float = 0.25
    log_rho: tuple[float, float] = (math.log(0.12), 1.4)
    rows: int | None = None
    flips: bool = True
    schedule: Schedule = field(default_factory=image_schedule)

    def __call__(self, network: nn.Module, batch: Tensor, streams: Draws) -> ObjectiveResult:
        """Loss of each image (B, H, W) complex; draws only from `streams`."""
        images = self._varied(batch, streams)
        t = LogNormalTimes(*self.log_rho)(self.schedule, streams)  # type: ignore[arg-type]
        x0 = to_real(images)
        denoiser = NetworkDenoiser(network, self.schedule, "edm", TIME, sigma_data=self.sigma_data)
        noise = streams.normal_like(x0)
        loss = denoising_loss(denoiser, x0, t, noise, weight=EDMWeight(self.sigma_data))
        return ObjectiveResult(loss, self.schedule.log_snr(t).to(loss.device))

    def _varied(self, images: Tensor, streams: Draws) -> Tensor:
        if self.flips:
            coins = streams.uniform(3).to(images.device)
            for axis, coin in ((-1, coins[:, 0]), (-2, coins[:, 1])):
                images = torch.where((coin < 0.5)[:, None, None], mirror(images, axis), images)
            angle = 2 * math.pi * coins[:, 2]
            images = images * torch.polar(torch.ones_like(angle), angle)[:, None, None]
        if self.rows is None or self.rows >= images.shape[-2]:
            return images
        first = (streams.uniform(1)[:, 0] * (images.shape[-2] - self.rows + 1)).long().to(images.device)
        index = (first[:, None] + torch.arange(self.rows, device=images.device))[:, :, None]
        return images.gather(1, index.expand(-1, -1, images.shape[-1]))
