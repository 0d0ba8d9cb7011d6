"""An ordinary network from slices to lesion probabilities, in a folder with its record: segmenter.json, safetensors."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from skiagraph.errors import DataError, InputError

__all__ = ["Segmenter", "SegmenterRecord", "build_segmenter"]

_RECORD, _WEIGHTS = "segmenter.json", "model.safetensors"


@dataclass(frozen=True)
class SegmenterRecord:
    """What a segmenter is and how it came about.

    Args:
        name: of the model.
        supervision: "image labels" or "masks".
        size: (H, W) it was trained on.
        spacing_mm: of its pixels.
        channels: widths of the U-Net's levels.
        classes: label of "absent" first, then all that count as "present".
        rounds: training rounds; every one after the first on its own confident predictions.
        details: settings, counts, source, for a reader.
        weights_sha256: of the weights' file.
    """

    name: str
    supervision: str
    size: tuple[int, int]
    spacing_mm: float
    channels: tuple[int, ...]
    classes: tuple[str, ...]
    rounds: int
    details: dict[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""


def build_segmenter(channels: tuple[int, ...], dimensions: int = 2) -> nn.Module:
    """MONAI's U-Net with one input and one output channel, two residual units a level.

    Args:
        channels: of the levels, each half as fine as the one before.
        dimensions: 2 or 3.
    """
    from monai.networks.nets import UNet

    network: nn.Module = UNet(
        spatial_dims=dimensions,
        in_channels=1,
        out_channels=1,
        channels=channels,
        strides=(2,) * (len(channels) - 1),
        num_res_units=2,
        norm="INSTANCE",
    )
    return network


@dataclass(frozen=True, eq=False)
class Segmenter:
    """A trained network with its record.

    Args:
        network: from `build_segmenter`.
        record: see there.
    """

    network: nn.Module
    record: SegmenterRecord

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Probability of lesion (B, H, W) of images (B, 1, H, W) in [-1, 1]."""
        if images.dim() != 4 or tuple(images.shape[1:]) != (1, *self.record.size):
            raise InputError(f"images: found {tuple(images.shape)}; this model takes (B, 1, *{self.record.size})")
        chance: Tensor = self.network.eval()(images)[:, 0].sigmoid()
        return chance

    def save(self, folder: Path) -> None:
        """Write weights, then the record, each whole or not at all."""
        from safetensors.torch import save

        from skiagraph.data.files import write_whole

        content = save({name: value.contiguous() for name, value in self.network.state_dict().items()})
        write_whole(folder / _WEIGHTS, content)
        values = {**asdict(self.record), "weights_sha256": hashlib.sha256(content).hexdigest()}
        write_whole(folder / _RECORD, (json.dumps(values, indent=1, default=str) + "\n").encode())

    @classmethod
    def load(cls, folder: Path) -> Segmenter:
        """Read a folder that `save` wrote; weights that are not the record's are refused."""
        from safetensors.torch import load

        try:
            values = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
            for name in ("size", "channels", "classes"):
                values[name] = tuple(values[name])
            record = SegmenterRecord(**values)
            content = (folder / _WEIGHTS).read_bytes()
        except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise DataError(
                f"{folder}: not the folder of a segmenter ({error}); it holds {_RECORD}, {_WEIGHTS}"
            ) from None
        if hashlib.sha256(content).hexdigest() != record.weights_sha256:
            raise DataError(f"{folder / _WEIGHTS}: its SHA-256 is not the one in {_RECORD}; train or copy it again")
        network = build_segmenter(record.channels)
        network.load_state_dict(load(content))
        return cls(network.eval().requires_grad_(False), record)
