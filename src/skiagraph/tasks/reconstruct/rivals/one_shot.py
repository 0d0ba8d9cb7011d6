"""Networks that give one image at once, as rivals: SSDU, and Ambient's denoiser at the noise of the scanner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from skiagraph.inverse.ambient import AmbientNetwork
from skiagraph.inverse.unrolled import UnrolledNetwork
from skiagraph.physics.fourier import MaskedCoilFourier, to_complex
from skiagraph.tasks.reconstruct.rivals.interface import Estimates, TrainedOn, mirrored
from skiagraph.tasks.reconstruct.scan import PreparedScan
from skiagraph.tasks.reconstruct.shifts import over_shifts

__all__ = ["OneShot", "ambient_once", "unrolled_once"]

LEAST_NOISE = 0.004


@dataclass(frozen=True, eq=False)
class OneShot:
    """A network's image of a scan, averaged over the four mirror images of the scan where wanted.

    Args:
        name: its name in the table.
        image: PreparedScan -> (S, H, W) complex64.
        passes: images through the network for one slice, mirror images not counted.
        mirrors: average over mirror images.
        shifts: shifts of the scan to average over.
        rows: slices in one call.
        precision: number format of the network.
    """

    name: str
    image: Callable[[PreparedScan], Tensor]
    passes: int = 1
    mirrors: bool = True
    shifts: int = 1
    rows: int = 8
    precision: torch.dtype = torch.float32
    trained_on: ClassVar[TrainedOn] = "undersampled scans"

    @property
    def evaluations(self) -> int:
        """Passes, times 4 for mirror images, times the shifts."""
        return self.passes * (4 if self.mirrors else 1) * self.shifts

    @torch.no_grad()
    def __call__(self, scan: PreparedScan, names: Sequence[str]) -> Estimates:
        """See `Rival`."""
        images = []
        for first in range(0, len(scan), self.rows):
            part = scan.select(slice(first, first + self.rows))
            with torch.autocast(scan.kspace.device.type, torch.bfloat16, enabled=self.precision == torch.bfloat16):
                images.append(over_shifts(self._image, part, self.shifts))
        return Estimates(torch.cat(images))

    def _image(self, scan: PreparedScan) -> Tensor:
        return mirrored(self.image, scan) if self.mirrors else self.image(scan)


def unrolled_once(network: UnrolledNetwork) -> Callable[[PreparedScan], Tensor]:
    """SSDU: all acquired lines go in."""
    return lambda scan: to_complex(network(scan.kspace, scan.mask, scan.maps))


def ambient_once(network: AmbientNetwork) -> Callable[[PreparedScan], Tensor]:
    """E[x | M T x + noise] by one call: the scan's own mask and noise take the place of the diffusion's."""

    def image(scan: PreparedScan) -> Tensor:
        u = MaskedCoilFourier(scan.maps, scan.mask).adjoint(scan.kspace)
        return to_complex(network(u, scan.noise.clamp(min=LEAST_NOISE), scan.mask, scan.maps))

    return image
