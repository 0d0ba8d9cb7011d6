"""Ambient diffusion for multi-coil k-space: a denoiser that is told the mask, taught by masking once more.

    u = T^H A T x_t / alpha_t,   h(u, A; rho) = E[x_0 | A T x_t]

A is the scan's mask with a further share of its lines dropped (of a scan at acceleration R as many as bring it to
R + 1); the network is judged on all lines of the scan, so it must guess the lines it did not see and never learns to
copy its input. References: Daras et al., arXiv 2305.19256; Aali et al., arXiv 2403.08728 (k-space, A-DPS).

Differs from the published networks, which read u and write the image, in what stands around the backbone. T T^H is not
the identity, so u misses much of what the acquired lines say (two thirds of its error on simulated heads lie on them),
and a small network that has to undo this learns nothing else. Here the backbone reads a linear estimate, and a data
step follows it. Both are functions of u, A and the maps, so the optimum of the objective is the same. With
N = T^H A T, whose noise is rho N n of the diffusion and T^H A nu v of the scanner,

    fit(x, w) = x + w^2 ((w^2 + rho^2) N + nu^2)^-1 (u - N x)         (posterior mean when x errs by w, white)
    x_lin = fit(0, s),   x_0 = fit(x_lin + c_out F, c_out exp(learned number))
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skiagraph.diffusion.denoiser import EMPTY, Condition, Prediction
from skiagraph.diffusion.objective import ObjectiveResult
from skiagraph.diffusion.schedule import Schedule, expand_like
from skiagraph.inverse.consistent import LineWeightedNormal
from skiagraph.inverse.variation import Draws, shown_part
from skiagraph.physics.coils import present_coils
from skiagraph.physics.fourier import CoilFourier, MaskedCoilFourier, to_complex, to_real
from skiagraph.physics.masks import centre_columns
from skiagraph.physics.operator import conjugate_gradient

__all__ = ["AmbientDenoiser", "AmbientNetwork", "AmbientObjective", "drop_lines"]


class AmbientNetwork(nn.Module):
    """Linear estimate, backbone and data step (see the module's text), with c_out > 0 also without noise.

        c_out^2 = s^2 (rho^2 + g s^2) / (rho^2 + s^2): without noise lines are still missing

    Args:
        backbone: network (B, 3, H, W), time (B,) -> (B, 2, H, W); the third channel is the mask.
        sigma_data: s, scale of one real part of the image in normalised intensity.
        gap: g, share of the image's variance that missing lines take.
        rho_range: noise-to-signal ratios between which the network's time varies.
        noise: nu, scale of the noise of the scans in normalised intensity, which need not be known well: it keeps the
            inversions from amplifying it.
        linear_iterations: conjugate-gradient steps of the linear estimate.
        data_iterations: conjugate-gradient steps of the data step.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        sigma_data: float = 0.25,
        gap: float = 0.1,
        rho_range: tuple[float, float] = (0.002, 50.0),
        noise: float = 0.01,
        linear_iterations: int = 5,
        data_iterations: int = 3,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.sigma_data = sigma_data
        self.gap = gap
        self.rho_range = rho_range
        self.noise = noise
        self.linear_iterations = linear_iterations
        self.data_iterations = data_iterations
        self.log_width = nn.Parameter(torch.tensor(math.log(0.2)))

    def output_scale(self, rho: Tensor) -> Tensor:
        """c_out at ratios rho (B,)."""
        s2 = self.sigma_data**2
        return torch.sqrt(s2 * (rho**2 + self.gap * s2) / (rho**2 + s2))

    def forward(self, u: Tensor, rho: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
        """Estimate the image.

        Args:
            u: (B, 2, H, W) zero-filled noisy image T^H A (T x + rho T n).
            rho: (B,) noise-to-signal ratio, > 0.
            mask: (B, 1, 1, W) real 0/1, A.
            maps: (B, coils, H, W) complex.
        """
        rho = rho.to(torch.float32)
        data = _Lines(to_complex(u), mask, maps, rho[:, None, None] ** 2, self.noise**2)
        linear = data.fit(torch.zeros_like(data.u), self.sigma_data, self.linear_iterations)
        shown = mask.to(u).expand(-1, 1, u.shape[-2], u.shape[-1])
        scaled = to_real(linear) * ((rho**2 + self.sigma_data**2).sqrt() / self.sigma_data**2)[:, None, None, None]
        time = 16.0 * rho.clamp(*self.rho_range).log()
        out: Tensor = self.backbone(torch.cat([scaled, shown], 1), time).to(torch.float32)
        scale = self.output_scale(rho)[:, None, None]
        image = linear + scale * to_complex(out)
        return to_real(data.fit(image, scale * self.log_width.exp(), self.data_iterations))


@dataclass(frozen=True, eq=False)
class _Lines:
    """What is known of an image: u (B, H, W) complex, the lines A, the maps, rho^2 (B, 1, 1) and nu^2."""

    u: Tensor
    mask: Tensor
    maps: Tensor
    diffusion: Tensor
    scanner: float

    def fit(self, image: Tensor, width: Tensor | float, iterations: int) -> Tensor:
        """See the module's text; `width` is (B, 1, 1) or a number."""
        residual = self.u - (LineWeightedNormal(self.maps, self.mask)(image) - image)
        variance = (width**2 + self.diffusion) / self.scanner
        normal = LineWeightedNormal(self.maps, self.mask * variance[..., None])
        return image + conjugate_gradient(normal, width**2 / self.scanner * residual, None, iterations)


@dataclass(frozen=True)
class AmbientDenoiser:
    """An `AmbientNetwork` under one mask per sample, as denoiser of ordinary noisy images: E[x_0 | A T x_t].

    Args:
        network: trained network.
        schedule: noise schedule of x_t (B, 2, H, W).
        operator: A T, with a mask of the kind the network was trained on.
    """

    network: AmbientNetwork
    schedule: Schedule
    operator: MaskedCoilFourier

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """Estimate of x_0 (B, 2, H, W), differentiable in x."""
        if cond:
            raise ValueError(
                f"cond: found {sorted(cond)}, but this denoiser takes no condition; pass an empty mapping."
            )
        alpha, sigma = self.schedule(t)
        u = self.operator.normal(x / expand_like(alpha, x))
        rho = (sigma / alpha).to(torch.float32).expand(x.shape[0]).to(x.device)
        mask = self.operator.mask.expand(x.shape[0], -1, -1, -1)
        return Prediction(self.network(u, rho, mask, self.operator.maps))


def drop_lines(mask: Tensor, draws: Draws, share: float, centre: int) -> Tensor:
    """The mask (B, 1, 1, W) without a random share of its lines beyond the innermost `centre` ones; exact counts.

    Args:
        mask: (B, 1, 1, W) real 0/1.
        draws: one stream per item.
        share: share in [0, 1) that is dropped, rounded up to whole lines.
        centre: innermost columns that are always kept.
    """
    width = mask.shape[-1]
    outer = mask[:, 0, 0] * (1 - centre_columns(width, centre).to(mask))
    order = torch.where(outer > 0, draws.uniform(width).to(mask), 2.0).argsort(1).argsort(1)
    count = (share * outer.sum(1)).ceil()
    dropped = (order < count[:, None]).to(mask) * outer
    return mask - dropped[:, None, None]


@dataclass(frozen=True)
class AmbientObjective:
    """|M (T h(u, A; rho) - y)|^2 / (2 coils H |M| c_out^2), log rho ~ N(mean, deviation^2), clipped.

    Batches are those of `MeasurementObjective`. As in the published method the noise of the scan is not accounted for.

    Args:
        network: gives c_out; the loop may call the network through a wrapper.
        share: share of the lines beyond the centre that is dropped; 1 / (R + 1) brings acceleration R to R + 1.
        centre: innermost columns that are never dropped.
        log_rho: mean and standard deviation of log rho.
        rho_range: smallest and largest ratio; draws are clipped to it.
        rows: rows of the image that an item shows, a random window; None for all.
        flips: mirror items along either axis and turn their phase.
    """

    network: AmbientNetwork
    share: float = 0.2
    centre: int = 24
    log_rho: tuple[float, float] = (math.log(0.15), 1.6)
    rho_range: tuple[float, float] = (0.004, 20.0)
    rows: int | None = None
    flips: bool = True

    def __call__(self, network: nn.Module, batch: dict[str, Tensor], streams: Draws) -> ObjectiveResult:
        """Loss of each item of a batch; draws only from `streams`."""
        kspace, mask, maps = batch["kspace"], batch["mask"], batch["maps"]
        kspace, mask, maps = shown_part(kspace, mask, maps, streams, flips=self.flips, rows=self.rows)
        mean, deviation = self.log_rho
        rho = (mean + deviation * streams.normal(1)[:, 0].to(kspace.real)).exp().clamp(*self.rho_range)
        fewer = drop_lines(mask, streams, self.share, self.centre)
        operator = MaskedCoilFourier(maps, fewer)
        noise = streams.normal(2, *kspace.shape[-2:]).to(kspace.real)
        u = operator.adjoint(kspace) + rho[:, None, None, None] * operator.normal(noise)
        image = network(u, rho, fewer, maps)
        error = mask * (kspace - CoilFourier(maps).forward(image))
        count = 2 * present_coils(maps).clamp(min=1) * kspace.shape[2] * mask.flatten(1).sum(1).clamp(min=1)
        squared = torch.view_as_real(error).square().flatten(1).sum(1) / count
        loss = squared / self.network.output_scale(rho) ** 2
        return ObjectiveResult(loss, -2 * rho.log(), {"squared_error": squared.detach()})
