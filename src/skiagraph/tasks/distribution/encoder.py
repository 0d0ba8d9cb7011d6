"""Features from a prior of one's own: what the middle of its U-Net makes of an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from skiagraph.errors import InputError
from skiagraph.networks.unet import UNet
from skiagraph.training.prior import Prior
from skiagraph.training.record import PriorRecord

__all__ = ["MiddleFeatures"]


@dataclass(frozen=True, eq=False)
class MiddleFeatures:
    """Mean over the image of each channel in the middle of a prior's U-Net, told that there is hardly any noise.

    Features of the network that drew the images judge it kindly; take a prior of other data or of the clean oracle.

    Args:
        network: the U-Net.
        record: of its prior folder.
    """

    network: UNet
    record_of: PriorRecord

    @classmethod
    def load(cls, folder: Path) -> MiddleFeatures:
        """Read a prior folder; only unconditional U-Nets of images are taken."""
        prior = Prior.load(folder)
        network, record = prior.network, prior.record
        if not isinstance(network, UNet) or record.classes or record.concatenated or len(record.size) != 2:
            raise InputError(f"encoder: {folder} holds no unconditional 2-D U-Net; leave it out or give another prior")
        return cls(network, record)

    @property
    def name(self) -> str:
        """unet-middle of the prior."""
        return f"unet-middle-{self.record_of.name}"

    def __call__(self, images: ArrayLike) -> NDArray[np.float64]:
        """Features (N, channels of the middle) of images (N, C, H, W) of the prior's channels."""
        array = np.asarray(images, dtype=np.float32)
        wanted = self.network.config.in_channels
        if array.ndim != 4 or array.shape[1] != wanted:
            raise InputError(f"encoder: images have shape {array.shape}; {self.name} takes {wanted} channels")
        found: list[Tensor] = []
        hook = self.network.middle_block.register_forward_hook(lambda _, __, out: found.append(out.mean((2, 3))))
        try:
            with torch.no_grad():
                for at in range(0, len(array), 64):
                    part = torch.from_numpy(array[at : at + 64])
                    self.network(part, torch.zeros(len(part)))
        finally:
            hook.remove()
        return torch.cat(found).double().numpy()

    def record(self) -> dict[str, Any]:
        """Name, numbers, hash of the weights."""
        width = self.network.config.widths[-1]
        return {"name": self.name, "features": width, "weights_sha256": self.record_of.weights_sha256}
