"""An ordinary network from slices to lesion probabilities, in a folder with its record: segmenter.json, safetensors."""

from __future__ import annotations

import hashlib
import json
import math
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
        dimensions: 2 for a network of slices, 3 for one of stacks of neighbouring slices.
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
    dimensions: int = 2


def build_segmenter(channels: tuple[int, ...], dimensions: int = 2) -> nn.Module:
    """MONAI's DynUNet (the network of nnU-Net) with one input and one output channel, every level half as fine.

    Its last layer is a plain 1 x 1 convolution. (MONAI's `UNet` normalises the single output channel of each image, so
    that the spread of the logits is the same with and without a lesion: such a network can be sure of nothing.)

    Args:
        channels: of the levels, each half as fine as the one before.
        dimensions: 2; or 3, where slices stay as many at all levels, so that a stack may have any depth.
    """
    from monai.networks.nets import DynUNet

    coarser: Any = 2 if dimensions == 2 else (1, 2, 2)
    strides = [1 if dimensions == 2 else (1, 1, 1), *[coarser] * (len(channels) - 1)]
    network: nn.Module = DynUNet(
        spatial_dims=dimensions,
        in_channels=1,
        out_channels=1,
        kernel_size=[3 if dimensions == 2 else (3, 3, 3)] * len(channels),
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=list(channels),
        norm_name=("GROUP", {"num_groups": math.gcd(8, *channels), "affine": True}),
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
        """Probability of lesion (B, H, W) of images (B, 1, H, W) in [-1, 1]; in 3 dimensions, B neighbouring slices."""
        if images.dim() != 4 or tuple(images.shape[1:]) != (1, *self.record.size):
            raise InputError(f"images: found {tuple(images.shape)}; this model takes (B, 1, *{self.record.size})")
        network = self.network.eval()
        if self.record.dimensions == 3:
            stack: Tensor = network(images[:, 0][None, None])[0, 0].sigmoid()
            return stack
        chance: Tensor = network(images)[:, 0].sigmoid()
        return chance

    def save(self, folder: Path) -> None:
        """Write weights, then the record, each whole or not at all."""
        from safetensors.torch import save

        from skiagraph.data.files import write_whole
        from skiagraph.training.ema import named_state

        content = save({name: value.contiguous() for name, value in named_state(self.network).items()})
        write_whole(folder / _WEIGHTS, content)
        values = {**asdict(self.record), "weights_sha256": hashlib.sha256(content).hexdigest()}
        write_whole(folder / _RECORD, (json.dumps(values, indent=1, default=str) + "\n").encode())

    @classmethod
    def load(cls, folder: Path) -> Segmenter:
        """Read a folder that `save` wrote; weights that are not the record's are refused."""
        from safetensors.torch import load

        from skiagraph.training.ema import named_state

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
        network = build_segmenter(record.channels, record.dimensions)
        found, wanted = load(content), named_state(network)
        if found.keys() != wanted.keys():
            raise DataError(f"{folder}: its weights are not those of the network in {_RECORD}; train it again")
        network.load_state_dict(found, strict=False)  # the network names its layers twice; one name is kept
        return cls(network.eval().requires_grad_(False), record)
