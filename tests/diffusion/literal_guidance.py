"""The released steps written out from their formulas in float64, with tables of plain numbers: no library code.

Index i runs over the spaced chain; abar[i] is its table, with 1 before it and 0 after it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Chain", "Released", "gradient"]

Eps = Callable[[Tensor, int, Tensor | None], Tensor]
"""(x, original time, labels or None) -> (B, 2 C, ...): eps, then v."""
Logits = Callable[[Tensor, int], Tensor]


class Chain:
    """abar of linear betas, at every 1000 / levels-th time."""

    def __init__(self, levels: int) -> None:
        whole, product = [], 1.0
        for k in range(1000):
            product *= 1 - (1e-4 + k * (0.02 - 1e-4) / 999)
            whole.append(product)
        self.times = list(range(0, 1000, 1000 // levels))
        self.abar = [whole[t] for t in self.times]

    def at(self, i: int) -> float:
        """abar_i; 1 for i = -1 and 0 beyond the last."""
        return 1.0 if i < 0 else 0.0 if i >= len(self.abar) else self.abar[i]


def gradient(name: str, logits: Logits, x: Tensor, time: int, y: Tensor) -> Tensor:
    """grad_x of the sum over the batch, through dM/dz of the table."""
    state = x.clone().requires_grad_()
    z = logits(state, time)
    p = torch.softmax(z.detach(), 1)
    log_p = p.log()
    unit = torch.eye(z.shape[1], dtype=z.dtype)
    order = p.argsort(1, descending=True)
    first, second = unit[order[:, 0]], unit[order[:, 1]]
    p_a, p_b = (p * first).sum(1, keepdim=True), (p * second).sum(1, keepdim=True)
    slopes = {
        "log_prob": unit[y] - p,
        "entropy": -p * (log_p - (p * log_p).sum(1, keepdim=True)),
        "margin": -p_a * (first - p) + p_b * (second - p),
        "least_confidence": -p_a * (first - p),
    }
    (found,) = torch.autograd.grad((z * slopes[name]).sum(), state)
    return found


@dataclass
class Released:
    """The released steps around two networks."""

    chain: Chain
    eps: Eps
    logits: Logits
    clip: bool = True
    strength: float = 0.0  # classifier-free, 0 is off

    def predict(self, x: Tensor, i: int, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(x0, eps, v), classifier-free first, then clipped, then eps again."""
        time, alpha = self.chain.times[i], math.sqrt(self.chain.at(i))
        rho = math.sqrt(1 / self.chain.at(i) - 1)
        eps, v = self.eps(x, time, y).chunk(2, 1)
        if self.strength:
            eps = eps + self.strength * (eps - self.eps(x, time, None).chunk(2, 1)[0])
        x0 = x / alpha - rho * eps
        if self.clip:
            x0 = x0.clamp(-1, 1)
        return x0, (x / alpha - x0) / rho, v

    def ddim(
        self, x: Tensor, i: int, y: Tensor, measure: str, scale: float, eta: float, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One guided step: (state at i - 1, guided x0)."""
        x0, eps, _ = self.predict(x, i, y)
        abar, below = self.chain.at(i), self.chain.at(i - 1)
        if scale:
            eps = eps - math.sqrt(1 - abar) * scale * gradient(measure, self.logits, x, self.chain.times[i], y)
            x0 = x / math.sqrt(abar) - math.sqrt(1 / abar - 1) * eps
        nu = eta * math.sqrt((1 - below) / (1 - abar)) * math.sqrt(1 - abar / below)
        moved = math.sqrt(below) * x0 + math.sqrt(max(1 - below - nu**2, 0)) * eps
        return moved + (nu * noise if i > 0 else 0), x0

    def encode(self, x: Tensor, i: int, y: Tensor) -> Tensor:
        """Inversion from index i to i + 1: no clipping, no guidance."""
        unclipped = Released(self.chain, self.eps, self.logits, clip=False)
        x0, eps, _ = unclipped.predict(x, i, y)
        above = self.chain.at(i + 1)
        return math.sqrt(above) * x0 + math.sqrt(1 - above) * eps

    def ancestral(self, x: Tensor, i: int, y: Tensor, measure: str, scale: float, noise: Tensor) -> Tensor:
        """One ancestral step with the learned variance; the mean gains variance times gradient."""
        x0, _, v = self.predict(x, i, y)
        abar, below = self.chain.at(i), self.chain.at(i - 1)
        beta = 1 - abar / below
        mean = beta * math.sqrt(below) / (1 - abar) * x0 + (1 - below) * math.sqrt(1 - beta) / (1 - abar) * x
        log_small = math.log(self.small(max(i, 1)))
        share = (v + 1) / 2
        variance = torch.exp(share * math.log(beta) + (1 - share) * log_small)
        if scale:
            mean = mean + variance * scale * gradient(measure, self.logits, x, self.chain.times[i], y)
        return mean + (variance.sqrt() * noise if i > 0 else 0)

    def small(self, i: int) -> float:
        """betatilde_i."""
        abar, below = self.chain.at(i), self.chain.at(i - 1)
        return (1 - abar / below) * (1 - below) / (1 - abar)
