"""From an image to its latent along the deterministic flow, and where on the way the latent sits, ready to be decoded.

Stage 2 of measurement guidance is then two lines, with y the label and net a denoiser on a discrete table:

    latent = invert(net, image, Quadratic(50), cond=y)
    harder = final(trajectory(Energy(Clip(net), term, 2.0, trust=1.5), latent.x, latent.times, DDIM(), cond=y))

Song et al. 2021 (DDIM, arXiv 2010.02502), section 4.3; Su et al. 2023 (dual diffusion bridges, 2203.08382); Luo et al.,
TPAMI 2024 (doi 10.1109/TPAMI.2024.3399098).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser
from skiagraph.diffusion.grid import Grid
from skiagraph.diffusion.rules import DDIM, Heun
from skiagraph.diffusion.sampling import Step, trajectory
from skiagraph.diffusion.schedule import DiscreteTable, Schedule

__all__ = ["DEEPEST", "InversionMode", "Latent", "inversion_times", "invert", "inverting"]

InversionMode = Literal["mirrored", "reference", "heun"]

DEEPEST = 0.8
"""sigma^2 to which mirrored inversion goes by default: deeper costs calls and changes nothing in the laboratory."""


@dataclass(frozen=True, eq=False)
class Latent:
    """An encoded image.

    Args:
        x: (B, ...) the state.
        times: (n + 1,) the times at which it is to be decoded, from the one where it sits to the clean end.
    """

    x: Tensor
    times: Tensor


def inversion_times(
    schedule: Schedule, levels: Grid | Tensor, mode: InversionMode = "mirrored", depth: float | None = None
) -> tuple[Tensor, Tensor]:
    """Times of the way up and of the way down again.

    Args:
        schedule: of the denoiser.
        levels: the whole grid, from noise to the clean end, or its times.
        mode: as in `invert`.
        depth: largest sigma^2 / (alpha^2 + sigma^2) visited; None is 0.8, and the whole grid for "reference".
    """
    if mode not in get_args(InversionMode):
        raise ValueError(f"mode: found {mode!r}; allowed {', '.join(map(repr, get_args(InversionMode)))}.")
    times = levels(schedule) if not isinstance(levels, Tensor) else levels
    alpha, sigma = schedule(times)
    if times.dim() != 1 or len(times) < 2 or not bool((times.diff() < 0).all()) or float(sigma[-1]) != 0:
        raise ValueError(
            "levels: found times that do not descend to the clean end; give a whole grid such as Levels()."
        )
    most = (1.0 if mode == "reference" else DEEPEST) if depth is None else depth
    if not 0 < most <= 1:
        raise ValueError(f"depth: found {depth}; allowed a sigma^2 above 0, up to 1.")
    down = times[sigma**2 <= most * (alpha**2 + sigma**2)]
    if len(down) < 2:
        raise ValueError(
            f"depth: found {depth}, which leaves no level of this grid; the cleanest has {sigma[-2] ** 2:g}."
        )
    if mode != "reference":
        return down.flip(0), down
    if not isinstance(schedule, DiscreteTable):
        raise TypeError(f"mode: found 'reference' on a {type(schedule).__name__}; it needs a DiscreteTable.")
    before = len(times) - len(down)
    beyond = times[before - 1 : before] if before else times.new_tensor([len(schedule)])  # abar = 0: pure noise
    return torch.cat([down[:-1].flip(0), beyond]), down


def inverting(
    denoiser: Denoiser,
    x: Tensor,
    levels: Grid | Tensor,
    mode: InversionMode = "mirrored",
    cond: Condition = EMPTY,
    depth: float | None = None,
) -> Iterator[Step]:
    """The steps of `invert`, one at a time, for progress and previews."""
    up, _ = inversion_times(denoiser.schedule, levels, mode, depth)
    return trajectory(denoiser, x, up, Heun() if mode == "heun" else DDIM(), cond=cond)


def invert(
    denoiser: Denoiser,
    x: Tensor,
    levels: Grid | Tensor,
    mode: InversionMode = "mirrored",
    cond: Condition = EMPTY,
    depth: float | None = None,
) -> Latent:
    """Encode images: walk a grid from the clean end towards noise, without guidance or clipping.

    "mirrored": from the clean image to the cleanest level with the noise found there, then level by level with the
    estimate of the level before (DDIM); decoding starts where encoding ended. One call per level.
    "heun": the same levels, second order: Euler as predictor, trapezoid as corrector; two calls per level above the
    first. Decode with `Heun` as well.
    "reference": as released: the image is taken to sit at the cleanest level already, and each state belongs one level
    higher than it is decoded from; at full depth the latent is the last predicted noise. Differs from the above by one
    level at both ends, which is harmless.

    Args:
        denoiser: the conditional denoiser; `ClassifierFree` wrappers are allowed.
        x: (B, ...) clean images in the prior's range.
        levels: the whole grid, such as `Quadratic(50)` or `Levels()`, or its times.
        mode: which of the three.
        cond: conditions, such as {"label": source label (B,)}.
        depth: largest sigma^2 visited (partial inversion); None is 0.8, and the whole grid for "reference".
    """
    _, down = inversion_times(denoiser.schedule, levels, mode, depth)
    state = x
    for step in inverting(denoiser, x, levels, mode, cond, depth):
        state = step.x
    return Latent(state, down)
