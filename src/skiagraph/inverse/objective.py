"""Learn a prior from measurements alone: the measurement-score objectives (measurement-score, sections 3 and 4).

An item is (kspace, mask, maps): what was observed, where, and how the coils see. The clean image never enters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skiagraph.diffusion.objective import ObjectiveResult
from skiagraph.diffusion.schedule import Schedule, expand_like
from skiagraph.inverse.added_noise import AddedNoise, added_variance, less_noisy
from skiagraph.inverse.consistent import Anchors, Estimate
from skiagraph.inverse.items import coil_draws
from skiagraph.inverse.variation import Draws, shown_part
from skiagraph.physics.coils import present_coils
from skiagraph.physics.fourier import CoilFourier
from skiagraph.physics.masks import centre_columns
from skiagraph.physics.operator import LinearOperator

__all__ = [
    "MeasurementObjective",
    "Partition",
    "partition_lines",
    "reference_loss",
]


def reference_loss(
    eps_network: Callable[[Tensor, Tensor], Tensor],
    schedule: Schedule,
    operator: LinearOperator,
    measurement: Tensor,
    mask: Tensor,
    t: Tensor,
    noise: Tensor,
    network_time: Tensor,
) -> Tensor:
    """The released noiseless objective, per item (B,).

        s_t = alpha_t (s + rho_t n),  u = T^H M s_t,  x0 = u / alpha_t - rho_t eps(u, tau),
        loss = mean over all entries of (s - M T x0)^2 / rho_t^2

    Unobserved entries count as zeros in the mean, as in the released code. For images the value is the kept fraction
    times the mean over observed entries of (n - eps)^2; for coils it is not, because T T^H is not the identity.

    Args:
        eps_network: (u, tau) -> eps of u's shape.
        schedule: noise schedule; its times are those of `t`.
        operator: T, image -> full measurement.
        measurement: s = M T x, (B, C, H, W), real or complex.
        mask: 0/1, broadcastable to `measurement`.
        t: () or (B,) times.
        noise: standard normal of `measurement`'s shape (complex: unit variance per part).
        network_time: (B,) time that the network is told.
    """
    alpha, sigma = schedule(t)
    rho = expand_like(sigma / alpha, measurement)
    noisy = expand_like(alpha, measurement) * (measurement + rho * noise)
    u = operator.adjoint(mask * noisy)
    x0 = u / expand_like(alpha, u) - expand_like(sigma / alpha, u) * eps_network(u, network_time)
    difference = (measurement - mask * operator.forward(x0)) / rho
    squared = torch.view_as_real(difference).square() if difference.is_complex() else difference.square()
    return squared.flatten(1).mean(1)


@dataclass(frozen=True)
class Partition:
    """Observed lines split in noisy ones, anchors and hidden ones: 0/1 masks (B, 1, 1, W) that sum to the mask."""

    noisy: Tensor
    anchor: Tensor
    hidden: Tensor


def partition_lines(
    mask: Tensor,
    draws: Draws,
    *,
    hide: float,
    anchored: float,
    centre: int,
    alone: float = 0.0,
    hidden_share: tuple[float, float] = (0.15, 0.85),
    anchor_share: tuple[float, float] = (0.3, 1.0),
) -> Partition:
    """Split each item's observed lines at random.

    With probability `hide` an item hides a share of its lines beyond the innermost `centre` ones from
    the network, which is still judged on them: so the network learns lines that were not observed, from the scans in
    which they were (further masking, as in Ambient Diffusion). With probability `anchored` an item hides lines, and
    most of the remaining ones stay clean and condition the rest, as acquired lines do in a reconstruction; in a share
    `alone` of the anchored items all of them do, and nothing noisy is left.

    Args:
        mask: (B, 1, 1, W) real 0/1, the lines observed in each item.
        draws: one stream per item.
        hide: probability in [0, 1] that an item hides lines.
        anchored: probability in [0, 1] that an item has anchors.
        centre: number of central lines that are never hidden.
        alone: share in [0, 1] of the anchored items in which every remaining line is an anchor.
        hidden_share: range of the share of an item's outer lines that is hidden.
        anchor_share: range of the share of the remaining lines that are anchors in an anchored item.
    """
    width = mask.shape[-1]
    coins = draws.uniform(6).to(mask)
    lines = draws.uniform(2, width).to(mask)
    inner = centre_columns(width, centre).to(mask).expand(mask.shape[0], width)
    is_anchored = coins[:, :1] < anchored
    hides = (coins[:, 1:2] < hide) | is_anchored
    least, most = hidden_share
    keep = 1 - (least + (most - least) * coins[:, 2:3]) * hides
    # Half of the hiding items also lose most of the outer calibration lines, as scans with a narrow centre do.
    dense = _window(mask[:, 0, 0], 9) > 0.99
    narrow = (coins[:, 3:4] < 0.5) & hides & dense
    keep = torch.where(narrow, keep * 0.3, keep.expand(-1, width))
    kept = torch.maximum((lines[:, 0] < keep).to(mask), inner) * mask[:, 0, 0]
    share = anchor_share[0] + (anchor_share[1] - anchor_share[0]) * coins[:, 4:5]
    share = torch.where(coins[:, 5:] < alone, 1.0, share)
    anchor = torch.maximum((lines[:, 1] < share).to(mask), inner) * kept * is_anchored
    return Partition(*(part[:, None, None] for part in (kept - anchor, anchor, mask[:, 0, 0] - kept)))


def _window(mask: Tensor, width: int) -> Tensor:
    """Largest mean of `mask` (B, W) over windows of `width` lines with each line: 1 inside a calibration block."""
    mean = nn.functional.avg_pool1d(mask[:, None], width, 1, width // 2, count_include_pad=True)
    return nn.functional.max_pool1d(mean, width, 1, width // 2)[:, 0]


@dataclass(frozen=True)
class MeasurementObjective:
    """Default objective for multi-coil k-space: judged on observed entries only, one noise level per item.

        e_b = |M_b (s_b - T x0_b)|^2 / (2 coils H |M_b|),   log rho ~ N(mean, deviation^2), clipped
        loss_b = e_b / exp(u) + u

    M_b are the observed lines that are not anchors. u is the expected log error at this noise level, learned on the way
    (Karras et al. 2024, EDM2, appendix B): a weight that depends on the network's input only, so that the optimum
    remains the posterior mean, and that lets faint lines count as much as bright ones. Batches hold "kspace" (B, coils,
    H, W) complex, zero off the mask; "mask" (B, 1, 1, W); "maps" (B, coils, H, W); "noise" (B,), the standard deviation
    per part.

    Args:
        log_rho: mean and standard deviation of log rho.
        rho_range: smallest and largest ratio; draws are clipped to it.
        hide: probability that an item hides lines (see `partition_lines`); 0 is the plain measurement score.
        anchored: probability that an item has anchors; 0 leaves an unconditional prior only.
        centre: innermost lines that are never hidden.
        alone: share of the anchored items that show anchors only: the conditional mean that a trajectory starts from.
        hidden_share: range of the share of lines that a hiding item hides.
        anchor_share: range of the share of an anchored item's visible lines that are anchors.
        rows: rows of the image that an item shows, a random window; None for all. Rows are read out completely, so the
            k-space of a window is again a scan with the same columns, and a step costs less.
        flips: mirror items along either axis and turn their global phase, all of which map measurements to
            measurements.
        added: noise to add to what the network sees; None takes the observed lines for the truth. With it the anchors
            that got noise are judged too, the lines of the diffusion have the noise rho in all, that of the scanner
            included (so rho is at least 1.4 of it), and the optimum is the mean of the noise-free lines (`less_noisy`).
    """

    log_rho: tuple[float, float] = (math.log(0.15), 1.7)
    rho_range: tuple[float, float] = (0.004, 20.0)
    hide: float = 0.75
    anchored: float = 0.5
    centre: int = 12
    alone: float = 0.0
    hidden_share: tuple[float, float] = (0.15, 0.85)
    anchor_share: tuple[float, float] = (0.3, 1.0)
    rows: int | None = None
    flips: bool = True
    added: AddedNoise | None = None

    def __call__(self, network: nn.Module, batch: dict[str, Tensor], streams: Draws) -> ObjectiveResult:
        """Loss of each item of a batch; draws only from `streams`."""
        kspace, mask, maps, level = batch["kspace"], batch["mask"], batch["maps"], batch["noise"]
        coils = present_coils(maps).clamp(min=1)
        streams = coil_draws(streams, coils, kspace.shape[1])
        kspace, mask, maps = shown_part(kspace, mask, maps, streams, flips=self.flips, rows=self.rows)
        mean, deviation = self.log_rho
        draw = streams.normal(1)[:, 0].to(level)
        rho = (mean + deviation * draw).exp().clamp(*self.rho_range)
        parts = partition_lines(
            mask,
            streams,
            hide=self.hide,
            anchored=self.anchored,
            centre=self.centre,
            alone=self.alone,
            hidden_share=self.hidden_share,
            anchor_share=self.anchor_share,
        )
        if self.added is not None:
            rho = torch.maximum(rho, math.sqrt(2) * level)
        rho = torch.where(parts.noisy.flatten(1).any(1), rho, self.rho_range[1])
        shown, estimate, added = self._shown(network, kspace, maps, level, rho, parts, streams)
        lines = CoilFourier(maps).forward(estimate.image)
        judged = mask - parts.anchor
        if added is not None:
            lines, share = less_noisy(lines, shown, added, level)
            judged = mask * (share > 0)
        error = judged * (kspace - lines)
        count = 2 * coils * kspace.shape[2] * judged.flatten(1).sum(1).clamp(min=1)
        squared = torch.view_as_real(error).square().flatten(1).sum(1) / count
        hidden = parts.hidden.flatten(1).any(1).long()
        log_error = estimate.log_error.gather(1, hidden[:, None])[:, 0]
        loss = squared * (-log_error).exp() + log_error
        return ObjectiveResult(loss, -2 * rho.log(), {"squared_error": squared.detach()})

    def _shown(
        self,
        network: nn.Module,
        kspace: Tensor,
        maps: Tensor,
        level: Tensor,
        rho: Tensor,
        parts: Partition,
        streams: Draws,
    ) -> tuple[Tensor, Estimate, Tensor | None]:
        """The lines that the network sees, its estimate, and the variance added to each line where it is known."""
        if self.added is None:
            q = kspace + rho[:, None, None, None] * streams.normal_like(kspace)
            given = Anchors(kspace, parts.anchor, level.clamp(min=1e-4))
            return q, network(q, rho, parts.noisy, maps, given), None
        total = self.added.total(level, streams)
        anchored, diffused = (added_variance(value, level)[:, None, None, None] for value in (total, rho))
        variance = parts.anchor * anchored + parts.noisy * diffused
        q = kspace + variance.sqrt() * streams.normal_like(kspace)
        estimate = network(q, rho, parts.noisy, maps, Anchors(q, parts.anchor, total.clamp(min=1e-4)))
        return q, estimate, torch.where(parts.hidden > 0, torch.inf, variance)
