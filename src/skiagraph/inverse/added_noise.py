"""More noise for what a network sees of a noisy scan, and what of it to expect in the scan itself.

    AddedNoise(share=0.6, most=0.4)
    .total(level, draws) -> (B,)                     noise of the acquired lines as the network sees them
    added_variance(total, level) -> (B,)             what has to be added for it
    less_noisy(estimate, shown, added, level) -> (expected lines, share of the estimate in them)

With s = z + nu v acquired and q = s + d n shown, sigma^2 = nu^2 + d^2, whatever else the network sees beside q:

    E[s | seen] = c E[z | seen] + (1 - c) q,   c = d^2 / sigma^2      on lines that are shown
    E[s | seen] = E[z | seen]                                         on hidden lines

so |s - (c M T x0 + (1 - c) q)|^2 is least at the posterior mean of the clean lines, whatever nu and d: scans taken at
one noise teach all larger ones without bias. Where d = 0 nothing can be learned: c = 0.

Reference: the identity is Case 1 of measurement-score, section 4.2 `default` (Noisier2Noise, Moran et al. 2020; Ambient
Tweedie, Daras et al. 2024), here with a noise of its own for every line; hidden lines are Noise2Noise (Lehtinen et al.
2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skiagraph.inverse.variation import Draws

__all__ = ["AddedNoise", "added_variance", "less_noisy"]


@dataclass(frozen=True)
class AddedNoise:
    """How much noisier than acquired a network sees its scans, so that one prior serves scanners of every noise.

        sigma = nu (most / nu)^u,  u uniform in [0, 1), for a share of the items;  sigma = nu for the others

    Args:
        share: share of the items that get noise, in [0, 1].
        most: largest standard deviation per part, in the unit of the k-space, > 0; items above it stay as they are.
    """

    share: float = 0.6
    most: float = 0.4

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share: found {self.share}; allowed 0 to 1.")
        if not self.most > 0:
            raise ValueError(f"most: found {self.most}; a standard deviation to be reached is > 0.")

    def total(self, level: Tensor, draws: Draws) -> Tensor:
        """sigma (B,) for scans of noise `level` (B,), at least 1e-4 so that the logarithm exists."""
        coins = draws.uniform(2).to(level)
        least = level.clamp(min=1e-4)
        raised = least * (self.most / least).clamp(min=1).pow(coins[:, 1])
        return torch.where(coins[:, 0] < self.share, raised, level)


def added_variance(total: Tensor, level: Tensor) -> Tensor:
    """d^2 = sigma^2 - nu^2, never below 0; (B,)."""
    return (total.square() - level.square()).clamp(min=0)


def less_noisy(estimate: Tensor, shown: Tensor, added: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """c z + (1 - c) q, the lines to expect in the scan; and c.

    Args:
        estimate: (B, coils, H, W) lines M T x0 of the estimate.
        shown: (B, coils, H, W) lines q as the network sees them.
        added: (B, 1, 1, W) variance d^2 of the noise in q beyond that of the scan; infinite where a line is hidden.
        level: (B,) nu, standard deviation of the scan's noise.

    Returns:
        The expected lines, and c (B, 1, 1, W): 0 where they don't depend on the estimate, 1 on hidden lines.
    """
    own = level[:, None, None, None].square()
    share = torch.where(added.isinf(), 1.0, added / (added + own).clamp(min=torch.finfo(added.dtype).tiny))
    return torch.where(share == 1, estimate, torch.lerp(shown, estimate, share.to(estimate))), share
