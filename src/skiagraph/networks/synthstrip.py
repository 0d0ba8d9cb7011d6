"""SynthStrip's network: signed distance to the brain's surface in any contrast (Hoopes et al., NeuroImage 2022)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["SIDE_MULTIPLE", "SynthStripNetwork"]

_ENCODER = (16, 32, 64, 64, 64, 64, 64)
_DECODER = (64, 64, 64, 64, 32, 16)
SIDE_MULTIPLE = 2 ** (len(_ENCODER) - 1)


class _Block(nn.Module):
    """One 3 x 3 x 3 convolution with a leaky ReLU of slope 0.2, or without for the last one."""

    def __init__(self, inputs: int, outputs: int, active: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return functional.leaky_relu(y, 0.2, inplace=not y.requires_grad) if self.active else y


class _Levels(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        before = (1, *_ENCODER[:-1])
        scale = width / _ENCODER[0]
        wide = [round(scale * channels) for channels in _ENCODER]
        down = [round(scale * channels) for channels in before]
        down[0] = 1
        self.encoder = nn.ModuleList(
            nn.ModuleList([_Block(inputs, outputs), _Block(outputs, outputs)])
            for inputs, outputs in zip(down, wide, strict=True)
        )
        self.decoder = nn.ModuleList()
        below = wide[-1]
        for level, channels in enumerate(_DECODER):
            outputs = round(scale * channels)
            blocks = nn.ModuleList([_Block(below + wide[-2 - level], outputs), _Block(outputs, outputs)])
            self.decoder.append(blocks)
            below = outputs
        self.decoder[-1].append(_Block(below, 1, active=False))  # type: ignore[operator]


class SynthStripNetwork(nn.Module):
    """A 3-D U-Net of seven levels: two convolutions each, max-pooling down, nearest neighbours up, skips joined.

    Args:
        width: channels of the first level, 16 in the published weights; smaller for tests.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.unet = _Levels(width)

    def forward(self, x: Tensor) -> Tensor:
        """Intensities (B, 1, D, H, W) in [0, 1] at 1 mm -> signed distance in mm, negative inside the brain.

        Every side is a multiple of `SIDE_MULTIPLE`.
        """
        if x.ndim != 5 or x.shape[1] != 1 or any(side % SIDE_MULTIPLE for side in x.shape[2:]):
            raise ValueError(
                f"x: found shape {tuple(x.shape)}; allowed is (B, 1, D, H, W), sides multiples of {SIDE_MULTIPLE}."
            )
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.unet.encoder):
            x = functional.max_pool3d(x, 2) if level else x
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x)
            skips.append(x)
        x = skips.pop()
        for blocks in self.unet.decoder:
            x = torch.cat([functional.interpolate(x, scale_factor=2, mode="nearest"), skips.pop()], 1)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x)
        return x

    def accept(self, state: Mapping[str, object]) -> None:
        """Load weights of exactly the published names and shapes; anything else is refused by name."""
        wanted = self.state_dict()
        missing, foreign = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
        if missing or foreign:
            raise ValueError(f"state: missing {missing[:3] or 'none'}, unknown {foreign[:3] or 'none'}; wanted are the "
                             f"{len(wanted)} names of SynthStrip's network.")  # fmt: skip
        clean: dict[str, Tensor] = {}
        for name, value in state.items():
            shape = tuple(wanted[name].shape)
            if not isinstance(value, Tensor) or tuple(value.shape) != shape or not value.is_floating_point():
                found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(f"state: {name} is {found}; allowed are floating-point weights of shape {shape}.")
            if not bool(torch.isfinite(value).all()):
                raise ValueError(f"state: {name} holds NaN or infinity; the file is damaged.")
            clean[name] = value.detach().float().contiguous()
        self.load_state_dict(clean)
