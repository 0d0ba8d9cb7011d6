"""How the estimate of the clean image moves from "absent" towards "present": exactly, or by a finite difference."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import forward_ad

from skiagraph.diffusion.denoiser import Denoiser
from skiagraph.diffusion.difference.pair import ConditionPair

__all__ = ["Slope", "label_slope"]


@dataclass(frozen=True, eq=False)
class Slope:
    """dD/dtau along absent -> present, and where it was taken.

    Args:
        slope: (B, ...), the derivative, or (D(e_1) - D(e_tau)) / (1 - tau).
        centre: (B, ...), D(e_1) for the derivative, (D(e_1) + D(e_tau)) / 2 for the difference.
        calls: evaluations of the network that each sample costs; a derivative is counted as the two that it costs.
        message: why the exact derivative was not taken though it was asked for; empty otherwise.
    """

    slope: Tensor
    centre: Tensor
    calls: int = 2
    message: str = ""


def label_slope(
    denoiser: Denoiser, x: Tensor, t: Tensor, pair: ConditionPair, *, tau: float = 1.0, fallback: float = 0.99
) -> Slope:
    """D'(e_1) Delta by forward-mode differentiation (tau = 1), or a finite difference in one batch (tau < 1).

    For a Gaussian class pair both equal sigma^2 (alpha^2 C + sigma^2)^-1 Delta_m, whatever image and noise.

    Args:
        denoiser: takes pair.name as a condition.
        x: (B, ...) noisy images, float32 or float64; the signal is a difference of nearly equal numbers.
        t: () or (B,) times.
        pair: the two conditions.
        tau: 1, or 0 <= tau < 1; 0 is the full contrast D(present) - D(absent).
        fallback: tau of the difference that is taken where the network has no forward-mode derivative.
    """
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"x: found {x.dtype}; a map of small differences needs float32 or float64. Convert the images.")
    if not 0 <= tau <= 1:
        raise ValueError(f"tau: found {tau}; allowed 0 to 1 (1 is the exact derivative).")
    pair = pair.to(x.device, x.dtype)
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        if tau < 1:
            return _difference(denoiser, x, t, pair, tau)
        try:
            return _derivative(denoiser, x, t, pair)
        except (NotImplementedError, RuntimeError) as error:
            if "forward AD" not in str(error) and "forward mode" not in str(error).lower():
                raise
            found = _difference(denoiser, x, t, pair, fallback)
            reason = str(error).splitlines()[0][:120]
            message = f"no exact derivative ({reason}); a difference with tau = {fallback:g} was taken"
            return Slope(found.slope, found.centre, found.calls, message)


def _derivative(denoiser: Denoiser, x: Tensor, t: Tensor, pair: ConditionPair) -> Slope:
    with forward_ad.dual_level(), warnings.catch_warnings():
        # Torch itself compiles its forward-mode rules by a function that it has deprecated.
        warnings.filterwarnings("ignore", "`torch.jit.script", DeprecationWarning)
        value = pair.present.expand(len(x), *pair.present.shape).clone()
        tangent = pair.direction.expand_as(value).clone()
        dual = forward_ad.make_dual(value, tangent)  # type: ignore[no-untyped-call]
        found = forward_ad.unpack_dual(denoiser(x, t, {pair.name: dual}).x0)  # type: ignore[no-untyped-call]
        if found.tangent is None:
            raise ValueError(f"denoiser: its estimate does not depend on {pair.name!r}; use a conditional one.")
        return Slope(found.tangent.clone(), found.primal.clone())


def _difference(denoiser: Denoiser, x: Tensor, t: Tensor, pair: ConditionPair, tau: float) -> Slope:
    count = len(x)
    told = torch.cat([value.expand(count, *value.shape) for value in (pair.present, pair.mixed(tau))])
    times = t if t.dim() == 0 else torch.cat([t, t])
    both = denoiser(torch.cat([x, x]), times, {pair.name: told}).x0
    one, other = both[:count], both[count:]
    return Slope((one - other) / (1 - tau), (one + other) / 2)
