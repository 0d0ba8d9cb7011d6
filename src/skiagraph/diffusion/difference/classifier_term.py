"""The classifier's share of a guided map, kept apart from the condition's."""

from __future__ import annotations

import torch
from torch import Tensor

from skiagraph.diffusion.difference.trajectory import Logits
from skiagraph.diffusion.schedule import Schedule, as_time, expand_like

__all__ = ["classifier_slope"]


def classifier_slope(
    logits: Logits, schedule: Schedule, x: Tensor, t: Tensor, *, present: int, absent: int, scale: float = 1.0
) -> Tensor:
    """s (sigma^2 / alpha) grad_x (z_c - z_0): what classifier guidance adds to D(e_1) - D(e_tau), in units of D.

    It is not multiplied by 1 - tau: for a Gaussian pair and its Bayes classifier it is s / (1 - tau) times the
    condition's share, which is why released guided maps are mostly saliency.

    Args:
        logits: noisy classifier, (x, times (B,)) -> (B, K).
        schedule: of x.
        x: (B, ...) noisy images.
        t: () or (B,) times.
        present, absent: labels c and 0 of the classifier.
        scale: s.
    """
    t = as_time(t)
    with torch.enable_grad():
        state = x.detach().requires_grad_()
        found = logits(state, t.to(x.device).expand(len(x)))
        for name, label in (("present", present), ("absent", absent)):
            if not 0 <= label < found.shape[1]:
                raise ValueError(
                    f"{name}: found {label} for a classifier of {found.shape[1]} classes; allowed its own."
                )
        (gradient,) = torch.autograd.grad((found[:, present] - found[:, absent]).sum(), state)
    alpha, sigma = schedule(t)
    return expand_like(scale * sigma**2 / alpha, x) * gradient.detach()
