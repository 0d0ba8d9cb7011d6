"""Class activation maps of a classifier of clean images: Grad-CAM and Grad-CAM++ (MONAI), Layer-CAM, Score-CAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from skiagraph.diffusion import Streams
from skiagraph.errors import InputError
from skiagraph.tasks.segment.rivals.interface import RivalMap, checked_images
from skiagraph.training.classifier import Classifier

__all__ = ["ActivationMap"]

Kind = Literal["grad-cam", "grad-cam++", "layer-cam", "score-cam"]


@dataclass(frozen=True, eq=False)
class ActivationMap:
    """Where a classifier looks when it says "present".

    Grad-CAM (Selvaraju et al. 2017) weights activations by mean gradients, Grad-CAM++ (Chattopadhay et al. 2018) by
    pixel-wise weights; both from MONAI, without its scaling of every image to [0, 1], which would hide that an image
    holds nothing. Layer-CAM (Jiang et al. 2021) weights every pixel by its own positive gradient. Score-CAM (Wang et
    al. 2020) weights each channel by the probability of the image seen through it.

    Args:
        classifier: of clean images, on its own network as module.
        present: name of the class.
        kind: which map.
        layer: name of the module whose activations are taken.
    """

    classifier: Classifier
    present: str
    kind: Kind = "grad-cam"
    layer: str = "layer3"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind: found {self.kind!r}; allowed {', '.join(get_args(Kind))}.")
        if self.classifier.kind != "clean":
            raise InputError("classifier: activation maps need one of clean images (`skiagraph train classifier`)")
        if self.present not in self.classifier.classes:
            known = ", ".join(self.classifier.classes)
            raise InputError(f"present: found {self.present!r}; the classifier knows {known}")
        if self.layer not in dict(self.classifier.network.named_modules()):
            raise InputError(f"layer: found {self.layer!r}; the network has no module of this name")

    @property
    def _label(self) -> int:
        return self.classifier.classes.index(self.present)

    def __call__(self, images: Tensor, streams: Streams) -> RivalMap:
        """Maps at the images' size, bilinear from the layer's."""
        x = checked_images(images)
        with torch.enable_grad():
            if self.kind in ("grad-cam", "grad-cam++"):
                return RivalMap(self._monai(x), 3.0)
            activations, gradients = self._probed(x)
        if self.kind == "layer-cam":
            return RivalMap(_resized(functional.relu((functional.relu(gradients) * activations).sum(1)), x), 3.0)
        return RivalMap(self._scored(x, activations), 1.0 + activations.shape[1])

    def _monai(self, x: Tensor) -> Tensor:
        """On a copy of the network, which keeps the hooks that MONAI leaves; image by image, as Grad-CAM++ needs it."""
        from copy import deepcopy

        from monai.visualize import GradCAM, GradCAMpp

        network = deepcopy(self.classifier.network).requires_grad_(True)
        kind = GradCAM if self.kind == "grad-cam" else GradCAMpp
        asked = kind(network, self.layer, postprocessing=lambda maps: maps)
        found = [asked(one[None].detach().clone().requires_grad_(True), class_idx=self._label) for one in x]
        return functional.relu(torch.cat([torch.as_tensor(maps) for maps in found]).detach().float()[:, 0])

    def _probed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Activations of the layer and the gradient of the logit by them."""
        kept: list[Tensor] = []
        module = dict(self.classifier.network.named_modules())[self.layer]

        def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            kept.append(output.detach().requires_grad_(True))
            return kept[-1]

        handle = module.register_forward_hook(keep)
        try:
            logits = self.classifier(x)
        finally:
            handle.remove()
        (gradients,) = torch.autograd.grad(logits[:, self._label].sum(), kept[0])
        return kept[0].detach(), gradients

    @torch.no_grad()
    def _scored(self, x: Tensor, activations: Tensor) -> Tensor:
        """Channels, each scaled to [0, 1] as a window, weighted by what the window adds to the probability."""
        total = torch.zeros(len(x), *activations.shape[2:])
        nothing = self.classifier(torch.full_like(x, -1.0)).softmax(1)[:, self._label]
        for channel in activations.unbind(1):
            low, high = channel.amin((1, 2), keepdim=True), channel.amax((1, 2), keepdim=True)
            window = _resized((channel - low) / (high - low).clamp(min=1e-8), x)[:, None]
            seen = self.classifier((x + 1) * window - 1).softmax(1)[:, self._label]
            total += (seen - nothing)[:, None, None] * channel
        return _resized(functional.relu(total), x)


def _resized(maps: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(maps[:, None], like.shape[2:], mode="bilinear", align_corners=False)[:, 0]
