"""Healthy-only reconstruction: noise an image part of the way, denoise it as "absent", see what did not come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from skiagraph.diffusion import Streams, expand_like
from skiagraph.tasks.segment.labelled_prior import LabelledPrior
from skiagraph.tasks.segment.rivals.counterfactual import ddim_move, spread_times
from skiagraph.tasks.segment.rivals.interface import RivalMap, checked_images
from skiagraph.tasks.segment.rivals.simplex import simplex_noise

__all__ = ["HealthyReconstruction"]

Noise = Literal["gaussian", "simplex"]


@dataclass(frozen=True, eq=False)
class HealthyReconstruction:
    """Partial diffusion with a healthy model; map (x - x-hat)^2.

    AnoDDPM (Wyatt et al., CVPR workshops 2022) noises to index 250 of 1000 with simplex noise; pDDPM (Behrendt et al.,
    MIDL 2023) noises one patch at a time. Differs from both in that the healthy model is the "absent" branch of the
    class-conditional prior, trained on Gaussian noise: simplex noise is then not what it was trained on, and the
    context of a patch is held by putting the image's own noised pixels back at every step.

    Args:
        prior: whose class "absent" saw normal images only.
        top: original index up to which is noised.
        steps: of denoising.
        noise: kind of the noise.
        patches: patches along each axis that are noised in turn; 1 noises the whole image.
    """

    prior: LabelledPrior
    top: int = 250
    steps: int = 10
    noise: Noise = "simplex"
    patches: int = 1

    def __post_init__(self) -> None:
        if self.noise not in get_args(Noise):
            raise ValueError(f"noise: found {self.noise!r}; allowed {', '.join(get_args(Noise))}.")
        if self.patches < 1:
            raise ValueError(f"patches: found {self.patches}; allowed at least 1.")

    @torch.no_grad()
    def __call__(self, images: Tensor, streams: Streams) -> RivalMap:
        """Maps; one evaluation a step and patch."""
        x = checked_images(images)
        healthy = torch.zeros_like(x)
        for place, inside in enumerate(_tiles(x.shape[2:], self.patches)):
            inside = inside.to(x.device)
            healthy = torch.where(inside, self._rebuilt(x, inside, streams.fork(f"patch {place}")), healthy)
        return RivalMap(((x - healthy) ** 2).sum(1), float((self.steps + 1) * self.patches**2))

    def _rebuilt(self, x: Tensor, inside: Tensor, streams: Streams) -> Tensor:
        schedule, absent = self.prior.denoiser.schedule, {"label": self.prior.label("absent", len(x))}
        if self.noise == "simplex":
            drawn = simplex_noise(streams, (x.shape[2], x.shape[3]))[:, None].to(x)
        else:
            drawn = streams.normal_like(x)
        times = spread_times(self.top, self.steps).flip(0)
        state = _noised(schedule(times[0]), x, drawn)
        for number, t in enumerate(times):
            estimate = self.prior.denoiser(state, t, absent).x0.clamp(-1, 1)
            if number + 1 == len(times):
                return estimate
            moved = ddim_move(schedule, state, estimate, t, times[number + 1])
            state = torch.where(inside, moved, _noised(schedule(times[number + 1]), x, drawn))
        return state


def _noised(level: tuple[Tensor, Tensor], x: Tensor, noise: Tensor) -> Tensor:
    return expand_like(level[0], x) * x + expand_like(level[1], x) * noise


def _tiles(size: torch.Size, patches: int) -> list[Tensor]:
    """(1, 1, H, W) bool for each of patches x patches tiles that cover the image once."""
    edges = [torch.linspace(0, side, patches + 1).round().long().tolist() for side in size]
    tiles = []
    for row in range(patches):
        for column in range(patches):
            tile = torch.zeros(1, 1, *size, dtype=torch.bool)
            tile[..., edges[0][row] : edges[0][row + 1], edges[1][column] : edges[1][column + 1]] = True
            tiles.append(tile)
    return tiles
