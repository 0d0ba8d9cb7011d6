"""Mutual information of paired soft histograms."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["entropy_bits", "paired_information"]

_TINY = {torch.float32: 1e-37, torch.float64: 1e-300}  # far below anything that counts; it keeps logarithms finite
_FAINT = 1e-3  # total weight below which a histogram is scaled before its logarithms are taken, which would cancel


def paired_information(u: Tensor, v: Tensor, floor: float, normalise: bool, positive: bool = False) -> Tensor:
    """I(u, v) in bits, or 2 I / (H(u) + H(v)), of each patch with each of its windows, (n, w).

    With weights a_mj and b_ml of the m-th pair, P_jl = sum_m a_mj b_ml / (sum P + floor); the marginals are the means
    of a and of b, each divided by its sum + floor. They are the marginals of P only where every row of weights has the
    same sum. The released logarithms of x + floor change an entropy by less than 1.5e-10 a bin; here they see x alone.

    Args:
        u: (n, m, J) weights of m values of a patch.
        v: (n, m, w, L) weights of the values paired with them, in w windows.
        floor: 1e-10 in the released layer, 0 for weights that sum to 1.
        normalise: 2 I / (H(u) + H(v)) instead of bits; 0 where both entropies are 0.
        positive: all weights are known to be > 0.
    """
    pairs, windows = v.shape[0], v.shape[2]
    own, other = _entropy(u.mean(1), floor).unsqueeze(1), _entropy(v.mean(1), floor)
    faint = False
    if not floor:
        u = u / u.shape[1]  # all masses are 1
    else:
        mass = torch.einsum("nm,nmw->nw", u.sum(-1), v.sum(-1))
        faint = bool((mass < _FAINT).any())
        if faint:
            v = v / (mass + floor)[:, None, :, None]
    joint = torch.bmm(v.flatten(2).transpose(1, 2), u).reshape(pairs, windows, -1)
    both = entropy_bits(joint, positive)
    if floor and not faint:  # the entropy of P from that of its unscaled sum
        both = both / (mass + floor) + mass / (mass + floor) * torch.log2(mass + floor)
    return _compared(own, other, own + other - both, floor, normalise)


def _compared(own: Tensor, other: Tensor, information: Tensor, floor: float, normalise: bool) -> Tensor:
    if floor:
        return 2 * (information + floor) / (own + other + floor) if normalise else information
    information = information.clamp(min=0)  # negative by rounding only
    if not normalise:
        return information
    total = own + other
    known = total > 1e-12
    return torch.where(known, 2 * information / torch.where(known, total, 1.0), 0.0).clamp(max=1)


def _entropy(weights: Tensor, floor: float) -> Tensor:
    """H in bits of weights / (sum + floor) over the last axis."""
    return entropy_bits(weights / (weights.sum(-1, keepdim=True) + floor))


def entropy_bits(shares: Tensor, positive: bool = False) -> Tensor:
    """-sum p log2 p over the last axis, 0 at p = 0 in value and in gradient."""
    tiny = _TINY[shares.dtype]
    if shares.requires_grad:
        return -(shares * torch.log2(torch.where(shares > tiny, shares, 1.0))).sum(-1)
    logarithms = torch.log2(shares) if positive else (shares + tiny).log2_()
    return logarithms.mul_(shares).sum(-1).neg_()
