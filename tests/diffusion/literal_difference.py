"""The released difference map, transcribed line by line from its description, in float32 and with plain tensors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

__all__ = ["literal_map", "literal_step", "literal_table"]

Network = Callable[[Tensor, Tensor], Tensor]


def literal_table(kind: str, steps: int) -> np.ndarray:
    """abar in float64."""
    if kind == "linear":
        scale = 1000 / steps
        betas = np.linspace(scale * 1e-4, scale * 0.02, steps, dtype=np.float64)
    else:

        def g(u: float) -> float:
            return float(np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2)

        betas = np.array([min(1 - g((i + 1) / steps) / g(i / steps), 0.999) for i in range(steps)])
    return np.cumprod(1.0 - betas)


def literal_step(
    predict: Network, x: Tensor, t: int, abar: np.ndarray, guide: Callable[[Tensor, Tensor], Tensor] | None
) -> tuple[Tensor, Tensor]:
    """(x_{t-1}, x0) of one step; `predict` gives eps-hat, `guide` the scaled gradient of the log-probability."""

    def number(value: float) -> Tensor:
        return torch.tensor(value, dtype=torch.float64).float()

    index = torch.full((len(x),), float(t))
    widen, ratio = number(np.sqrt(1.0 / abar[t])), number(np.sqrt(1.0 / abar[t] - 1))
    eps = predict(x, index)
    x0 = (widen * x - ratio * eps).clamp(-1, 1)
    if guide is not None:
        eps = (widen * x - x0) / ratio
        eps = eps - (1 - number(abar[t])).sqrt() * guide(x, index)
        x0 = widen * x - ratio * eps
    eps = (widen * x - x0) / ratio
    before = number(abar[t - 1] if t > 0 else 1.0)
    return x0 * torch.sqrt(before) + torch.sqrt(1 - before) * eps, x0


def literal_map(
    predictors: tuple[Network, Network],
    images: Tensor,
    noise: Tensor,
    abar: np.ndarray,
    guides: tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]] | None = None,
    level: int = 400,
    steps: int = 10,
    absolute: bool = False,
) -> Tensor:
    """The sum of differences of the two walks, summed over channels."""
    signal = torch.tensor(np.sqrt(abar[level])).float()
    rest = torch.tensor(np.sqrt(1 - abar[level])).float()
    one = signal * images + rest * noise
    other = one.clone()
    total = torch.zeros_like(images)
    for k in range(1, steps + 1):
        t = level - k
        one, _ = literal_step(predictors[0], one, t, abar, None if guides is None else guides[0])
        other, _ = literal_step(predictors[1], other, t, abar, None if guides is None else guides[1])
        total = total + ((one - other).abs() if absolute else one - other)
    return total.sum(1, keepdim=True)
