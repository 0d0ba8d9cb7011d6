"""A U-Net that reads small patches of pixels as channels: at the same cost it sees several times as far."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from skiagraph.networks.unet import UNet, UNetConfig

__all__ = ["PatchedUNet"]


class PatchedUNet(nn.Module):
    """A two-dimensional U-Net between a pixel unshuffle and a pixel shuffle; sizes that p does not divide are padded.

    A fresh network gives exactly 0.

    Args:
        in_channels, out_channels: channels of the images in and out.
        channels: channels of the first level.
        multipliers: width factor of each level.
        residual_blocks: residual blocks a level.
        patch: p, side of the patches.
        dropout: probability in [0, 1) inside the residual blocks.
    """

    def __init__(
        self,
        in_channels: int = 2,
        out_channels: int = 2,
        *,
        channels: int = 40,
        multipliers: Sequence[float] = (1, 2, 3),
        residual_blocks: int = 1,
        patch: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if patch < 1:
            raise ValueError(f"patch: found {patch}; allowed at least 1.")
        self.patch = patch
        self.unet = UNet(
            UNetConfig(
                in_channels=in_channels * patch**2,
                out_channels=out_channels * patch**2,
                channels=channels,
                multipliers=tuple(float(value) for value in multipliers),
                residual_blocks=residual_blocks,
                dropout=dropout,
                groups=8,
                heads=1,
            )
        )

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, in_channels, H, W) of any size and times () or (B,) -> (B, out_channels, H, W)."""
        height, width = x.shape[-2:]
        bottom, right = -height % self.patch, -width % self.patch
        if bottom or right:
            x = functional.pad(x, (0, right, 0, bottom))
        out = self.unet(functional.pixel_unshuffle(x, self.patch), time)
        return functional.pixel_shuffle(out, self.patch)[..., :height, :width]
