"""The released map: two deterministic walks from one noisy image, and the sum of the differences of their states.

Hu, Chen, Ho and Shi 2023 (arXiv 2306.03878), algorithm 1, in the order and number format of the released code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import Condition, Denoiser
from skiagraph.diffusion.difference.pair import ConditionPair
from skiagraph.diffusion.schedule import DiscreteTable

__all__ = ["Logits", "TrajectoryMap", "TrajectoryPlan", "guided_step", "trajectory_map"]

Logits = Callable[[Tensor, Tensor], Tensor]
"""(x_t (B, ...), times (B,)) -> logits (B, K)."""


@dataclass(frozen=True, kw_only=True)
class TrajectoryPlan:
    """The literals of the released function, and its two kinds of map.

    Args:
        level: Q, index at which noise is added.
        steps: R, denoising steps of each walk.
        tau: share of "present" in the second walk's condition.
        absolute: add |x - x'| (the released CHAOS map) in place of x - x' (BraTS).
        clamp: keep x0-hat in [-1, 1] before guidance.
        first_call: "below": the network is first asked at Q - 1, as released; "at": at Q, the level that was added.
        scale: s, classifier scale (CG-CDM); 0 for CDM.
        present, absent: labels that guide the two walks.
    """

    level: int = 400
    steps: int = 10
    tau: float = 0.95
    absolute: bool = False
    clamp: bool = True
    first_call: str = "below"
    scale: float = 0.0
    present: int = 1
    absent: int = 0

    def __post_init__(self) -> None:
        if self.first_call not in ("below", "at"):
            raise ValueError(f"first_call: found {self.first_call!r}; allowed 'below', 'at'.")
        if self.steps < 1:
            raise ValueError(f"steps: found {self.steps}; allowed at least 1.")
        if not 0 <= self.tau < 1:
            raise ValueError(f"tau: found {self.tau}; allowed 0 <= tau < 1 (at 1 both walks are the same).")

    def indices(self, length: int) -> tuple[int, ...]:
        """Indices of the network's calls on a table of `length` levels."""
        if not 0 <= self.level < length:
            raise ValueError(f"level: found {self.level}; allowed 0 to {length - 1}, the levels of the table.")
        first = self.level - (self.first_call == "below")
        if first - self.steps + 1 < 0:
            raise ValueError(f"steps: found {self.steps} below level {self.level}; the table ends at 0. Lower steps.")
        return tuple(range(first, first - self.steps, -1))


@dataclass(frozen=True, eq=False)
class TrajectoryMap:
    """What the two walks gave.

    Args:
        maps: (B, 1, H, W), sum over channels; not divided by 1 - tau.
        by_step: the same after each step, one (B, 1, H, W) a step, not summed over steps.
        indices: times that the network was told, in order.
        calls: evaluations of the network for each image.
        classifier_calls: evaluations of the classifier, with gradient, for each image.
    """

    maps: Tensor
    by_step: tuple[Tensor, ...]
    indices: tuple[int, ...]
    calls: int
    classifier_calls: int


def trajectory_map(
    denoiser: Denoiser,
    pair: ConditionPair,
    images: Tensor,
    noise: Tensor,
    plan: TrajectoryPlan,
    logits: Logits | None = None,
) -> TrajectoryMap:
    """a = sum_k (x - x') of two DDIM walks from x_Q = alpha_Q x_0 + sigma_Q n, told e_1 and e_tau.

    Passes and batch shape are those of the released code. Differs from it in that the embedding is passed in, where it
    clones the network, in that every image counts as positive, and in that no unused noise is drawn.

    Args:
        denoiser: on a `DiscreteTable`.
        pair: f(c) and f(0).
        images: (B, C, H, W) clean, in the range of training.
        noise: standard normal of their shape.
        plan: literals.
        logits: of a noisy classifier; needed where plan.scale is not 0, else left uncalled.
    """
    table = denoiser.schedule
    if not isinstance(table, DiscreteTable):
        raise TypeError(f"denoiser: found a {type(table).__name__}; the released map walks the levels of a table.")
    if noise.shape != images.shape:
        raise ValueError(f"noise: found shape {tuple(noise.shape)}; must equal that of images, {tuple(images.shape)}.")
    if plan.scale != 0 and logits is None:
        raise ValueError(f"logits: missing; scale {plan.scale} guides by a noisy classifier.")
    indices = plan.indices(len(table))
    level = images.new_tensor(table.alpha_bar[plan.level], dtype=torch.float64)
    signal, rest = level.sqrt().to(images.dtype), (1 - level).sqrt().to(images.dtype)
    one = other = signal * images + rest * noise
    guide = None if plan.scale == 0 else logits
    told = [pair.told(pair.mixed(tau), len(images)) for tau in (1.0, plan.tau)]
    parts = []
    for index in indices:
        one = guided_step(denoiser, one, index, told[0], plan, guide, plan.present)
        other = guided_step(denoiser, other, index, told[1], plan, guide, plan.absent)
        moved = (one - other).abs() if plan.absolute else one - other
        parts.append(moved)
    total = torch.zeros_like(images)
    for part in parts:
        total = total + part
    steps = tuple(part.sum(1, keepdim=True) for part in parts)
    guided = 0 if guide is None else 2 * plan.steps
    return TrajectoryMap(total.sum(1, keepdim=True), steps, indices, 2 * plan.steps, guided)


def guided_step(
    denoiser: Denoiser,
    x: Tensor,
    index: int,
    cond: Condition,
    plan: TrajectoryPlan,
    logits: Logits | None = None,
    label: int = 0,
) -> Tensor:
    """One DDIM step with eta = 0 from `index` to the level below, in the released order and number format.

    x0 = clamp(D(x)); where guided, eps' = (x / alpha - x0) / rho - sigma g and x0 = x / alpha - rho eps', not clamped
    again; x_{t-1} = alpha_{t-1} x0 + sigma_{t-1} eps. Square roots of the level below are taken of the rounded abar.

    Args:
        denoiser: on a `DiscreteTable`.
        x: (B, ...) state at `index`.
        index: 0 ... T - 1.
        cond: what the denoiser is told.
        plan: says whether to clamp, and the classifier's scale.
        logits: noisy classifier, or None for an unguided step.
        label: class that guides.
    """
    table = denoiser.schedule
    if not isinstance(table, DiscreteTable):
        raise TypeError(f"denoiser: found a {type(table).__name__}; the released step walks the levels of a table.")
    level = torch.tensor(table.alpha_bar[index], dtype=torch.float64, device=x.device)
    widen, ratio = (1 / level).sqrt().to(x.dtype), (1 / level - 1).sqrt().to(x.dtype)
    t = torch.tensor(float(index), dtype=torch.float64)
    with torch.no_grad():
        x0 = denoiser(x, t, cond).x0
        x0 = x0.clamp(-1, 1) if plan.clamp else x0
    if logits is not None:
        gradient = plan.scale * _log_probability_slope(logits, x, t, label)
        rest = (1 - level.to(x.dtype)).sqrt()
        eps = (widen * x - x0) / ratio - rest * gradient
        x0 = widen * x - ratio * eps
    eps = (widen * x - x0) / ratio
    below = x.new_tensor(table.alpha_bar[index - 1] if index > 0 else 1.0)
    return below.sqrt() * x0 + (1 - below).sqrt() * eps


def _log_probability_slope(logits: Logits, x: Tensor, t: Tensor, label: int) -> Tensor:
    """grad_x log softmax(logits(x, t))_label, of x's shape."""
    with torch.enable_grad():
        state = x.detach().requires_grad_()
        found = logits(state, t.to(x.device).expand(len(x)))
        if not 0 <= label < found.shape[1]:
            raise ValueError(f"label: found {label} for a classifier of {found.shape[1]} classes; allowed its own.")
        value = torch.log_softmax(found, dim=1)[:, label].sum()
        (gradient,) = torch.autograd.grad(value, state)
    return gradient.detach()
