"""Healthy counterfactuals: encode an image, decode it as if nothing were there, and look at the difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from skiagraph.diffusion import Schedule, Streams, expand_like
from skiagraph.errors import InputError
from skiagraph.tasks.segment.labelled_prior import LabelledPrior
from skiagraph.tasks.segment.maps import guide_logits
from skiagraph.tasks.segment.rivals.interface import RivalMap, checked_images
from skiagraph.tasks.segment.settings import DifferenceSettings
from skiagraph.training.classifier import Classifier

__all__ = ["AnoFPDM", "ClassifierFreeCounterfactual", "GuidedCounterfactual", "ddim_move", "spread_times"]

Estimate = Callable[[Tensor, Tensor], Tensor]


def spread_times(top: int, steps: int) -> Tensor:
    """`steps` + 1 original indices from 0 to `top`, evenly spread and rising."""
    if not 1 <= steps <= top:
        raise ValueError(f"steps: found {steps}; allowed 1 to top, {top}.")
    return torch.linspace(0, top, steps + 1, dtype=torch.float64).round()


def ddim_move(schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor, to: Tensor) -> Tensor:
    """alpha' x0 + sigma' eps with eps = (x - alpha x0) / sigma: one deterministic step, up or down."""
    (alpha, sigma), (alpha_to, sigma_to) = schedule(t), schedule(to)
    noise = (x - expand_like(alpha, x) * x0) / expand_like(sigma, x)
    return expand_like(alpha_to, x) * x0 + expand_like(sigma_to, x) * noise


def _walk(schedule: Schedule, x: Tensor, times: Tensor, estimate: Estimate) -> Tensor:
    for t, to in pairwise(times):
        x = ddim_move(schedule, x, estimate(x, t), t, to)
    return x


def _finished(schedule: Schedule, x: Tensor, times: Tensor, estimate: Estimate) -> Tensor:
    """Walk down and take the last estimate for the image."""
    x = _walk(schedule, x, times, estimate)
    return estimate(x, times[-1])


@dataclass(frozen=True, eq=False)
class GuidedCounterfactual:
    """Encode without a label, decode with the gradient of a noisy classifier towards "absent"; map |x - x-hat|.

    Wolleb et al., MICCAI 2022. Differs from the released code in that its 500 + 500 steps may be spread over fewer, and
    in that the prior is one with a null label.

    Args:
        prior: trained with label dropout.
        classifier: of noised images.
        top: original index up to which images are encoded.
        steps: of encoding, and of decoding.
        scale: of the gradient.
    """

    prior: LabelledPrior
    classifier: Classifier
    top: int = 500
    steps: int = 50
    scale: float = 100.0

    @torch.no_grad()
    def __call__(self, images: Tensor, streams: Streams) -> RivalMap:
        """Maps; two evaluations of the prior and one of the classifier (with gradient) a step."""
        x = checked_images(images)
        schedule, none = self.prior.denoiser.schedule, {"label": self.prior.label("null", len(x))}
        logits, labels = guide_logits(self.prior, DifferenceSettings(classifier_scale=1.0), self.classifier)
        if logits is None:
            raise InputError("classifier is missing; the guided counterfactual needs a noisy one")

        def plain(state: Tensor, t: Tensor) -> Tensor:
            return self.prior.denoiser(state, t, none).x0.clamp(-1, 1)

        def guided(state: Tensor, t: Tensor) -> Tensor:
            with torch.enable_grad():
                leaf = state.detach().requires_grad_(True)
                chance = logits(leaf, t.expand(len(leaf))).log_softmax(1)[:, labels[1]].sum()
                (gradient,) = torch.autograd.grad(chance, leaf)
            alpha, sigma = schedule(t)
            return plain(state, t) + expand_like(self.scale * sigma**2 / alpha, state) * gradient

        times = spread_times(self.top, self.steps)
        healthy = _finished(schedule, _walk(schedule, x, times, plain), times.flip(0), guided)
        return RivalMap((x - healthy).abs().sum(1), self.steps + 4.0 * (self.steps + 1))


@dataclass(frozen=True, eq=False)
class ClassifierFreeCounterfactual:
    """Encode with the null label, decode with classifier-free guidance towards "absent"; map |x - x-hat|.

    Sanchez et al., DGM4MICCAI 2022 (Diff-SCM): eps = eps_null + w (eps_absent - eps_null), each estimate divided by its
    0.99 quantile of |x0| where that is above 1.

    Args:
        prior: trained with label dropout.
        top: original index up to which images are encoded.
        steps: of encoding, and of decoding.
        weight: w.
    """

    prior: LabelledPrior
    top: int = 750
    steps: int = 75
    weight: float = 3.0

    @torch.no_grad()
    def __call__(self, images: Tensor, streams: Streams) -> RivalMap:
        """Maps; three evaluations a step."""
        x = checked_images(images)
        schedule, ask = self.prior.denoiser.schedule, self.prior.denoiser
        none, absent = ({"label": self.prior.label(name, len(x))} for name in ("null", "absent"))

        def free(state: Tensor, t: Tensor) -> Tensor:
            return _normalised(ask(state, t, none).x0)

        def healthy_estimate(state: Tensor, t: Tensor) -> Tensor:
            base = ask(state, t, none).x0
            return _normalised(base + self.weight * (ask(state, t, absent).x0 - base))

        times = spread_times(self.top, self.steps)
        healthy = _finished(schedule, _walk(schedule, x, times, free), times.flip(0), healthy_estimate)
        return RivalMap((x - healthy).abs().sum(1), 3.0 * self.steps + 2.0)


def _normalised(x0: Tensor) -> Tensor:
    top = torch.quantile(x0.abs().flatten(2), 0.99, dim=2).clamp(min=1.0)
    return (x0 / top[:, :, None, None]).clamp(-1, 1)


@dataclass(frozen=True, eq=False)
class AnoFPDM:
    """While encoding with the null label, compare the guided healthy estimate with the image; Che et al., WACV-W 2025.

    eps = (1 + w) eps_absent - w eps_null; t_e = argmax_t mean (D_g - D_null)^2; map = mean over t <= t_e of
    (D_g - x)^2, then a 5 x 5 median. Here the threshold is the one calibrated on normals, as for all rivals;
    `skiagraph.tasks.segment.calibrate.anofpdm_quantile` holds its own rule.

    Args:
        prior: trained with label dropout.
        top: original index up to which images are encoded.
        steps: of encoding (released: 600, every index).
        weight: w.
        median: pixels of the median filter.
    """

    prior: LabelledPrior
    top: int = 600
    steps: int = 60
    weight: float = 2.0
    median: int = 5

    @torch.no_grad()
    def __call__(self, images: Tensor, streams: Streams) -> RivalMap:
        """Maps; two evaluations a step."""
        from monai.networks.layers import MedianFilter

        x = checked_images(images)
        schedule, ask = self.prior.denoiser.schedule, self.prior.denoiser
        none, absent = ({"label": self.prior.label(name, len(x))} for name in ("null", "absent"))
        state, total = x, torch.zeros_like(x)
        best = torch.full((len(x),), -1.0)
        chosen = torch.zeros_like(x)
        times = spread_times(self.top, self.steps)
        for number, t in enumerate(times):
            base = ask(state, t, none).x0.clamp(-1, 1)
            healthy = ((1 + self.weight) * ask(state, t, absent).x0 - self.weight * base).clamp(-1, 1)
            total = total + (healthy - x) ** 2
            strength = ((healthy - base) ** 2).mean((1, 2, 3))
            newer = strength > best
            best = torch.where(newer, strength, best)
            chosen = torch.where(newer[:, None, None, None], total / (number + 1), chosen)
            if number + 1 < len(times):
                state = ddim_move(schedule, state, base, t, times[number + 1])
        smooth = MedianFilter(radius=self.median // 2, spatial_dims=2)(chosen)
        return RivalMap(smooth.sum(1), 2.0 * len(times))
