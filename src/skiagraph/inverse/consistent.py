"""A denoiser for partial k-space that is exact where the data are: linear estimate, network, weighted data step.

Every line of k-space carries its own noise level, so one network serves both as measurement-score denoiser (all
observed lines at the level of the diffusion) and as conditional one (the acquired lines, called *anchors*, at the noise
of the scanner; the others at the level of the diffusion). With precision w per line,
W = diag(w), q the lines and s the scale of the image:

    x_lin = argmin_x  |W^1/2 (T x - q)|^2 + |x|^2 / s^2                    (mean of the posterior under a white prior)
    x_net = x_lin + c_out F(x_lin, x_anchor; rho)                            (the network corrects it)
    x_0   = argmin_x  |W^1/2 (T x - q)|^2 + |(x - x_net) / r|^2             (data step)

where r = r(rho) exp(m), the standard error of the network's image, is learned as a function of the noise level and,
with a further output channel m of F, pixel by pixel: where the network is sure (air, flat tissue) the noise of the data
goes, where it is not the data decide. So M T x_0 -> M q as the noise goes to 0, whatever the network says: the
parametrisation that the method page asks for (measurement-score, section 3, default). Both minimisations are a few
conjugate-gradient steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from skiagraph.diffusion.denoiser import EMPTY, Condition, Prediction
from skiagraph.diffusion.schedule import Schedule, expand_like
from skiagraph.inverse.level_tables import KNOTS, NoiseTables, lookup
from skiagraph.physics.fourier import CoilFourier, to_complex, to_real
from skiagraph.physics.operator import conjugate_gradient

__all__ = ["Anchors", "ConsistentDenoiser", "ConsistentNetwork", "Estimate", "LineWeightedNormal"]


class Estimate(NamedTuple):
    """What a `ConsistentNetwork` returns: the image (B, 2, H, W) and its expected log squared error by kind (B, 2).

    Column 0 holds for items judged on lines that they saw, column 1 for items judged on hidden lines; both are
    functions of the noise level and of the share of lines seen, learned with the loss to weigh it (see
    `MeasurementObjective`).
    """

    image: Tensor
    log_error: Tensor


@dataclass(frozen=True)
class Anchors:
    """Acquired k-space lines that condition a reconstruction.

    Args:
        kspace: (B, coils, H, W) complex, zero where not acquired.
        mask: (B, 1, 1, W) real 0/1, acquired columns.
        noise: (B,) standard deviation of the noise per real and per imaginary part, in the unit of `kspace`.
    """

    kspace: Tensor
    mask: Tensor
    noise: Tensor

    def repeated(self, times: int) -> Anchors:
        """Each item `times` times in a row, as several views of one item stand in a batch."""
        if times == 1:
            return self
        return Anchors(*(value.repeat_interleave(times, 0) for value in (self.kspace, self.mask, self.noise)))


@dataclass(frozen=True)
class LineWeightedNormal:
    """x -> r T^H W T r x + x for column weights W, by 1-D transforms along the columns only.

    The centred transform is S F S^-1 with a circular shift S, and F^H D F commutes with shifts, so the shifts vanish
    and only the weights are rolled once.

    Args:
        maps: (B, coils, H, W) complex coil maps.
        weights: (B, 1, 1, W) real precision of each column.
        width: r, (B, H or 1, W or 1) or a number.
    """

    maps: Tensor
    weights: Tensor
    width: Tensor | float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """Apply to complex images (B, H, W)."""
        rolled = torch.fft.ifftshift(self.weights, dim=-1)
        coils = torch.fft.ifft(rolled * torch.fft.fft(self.maps * (self.width * x).unsqueeze(1)))
        image: Tensor = x + self.width * (self.maps.conj() * coils).sum(1)
        return image


class ConsistentNetwork(nn.Module):
    """Backbone network between a linear estimate and a weighted data step (see the module's text).

    Args:
        backbone: network (B, 4 p^2, H / p, W / p), time (B,) -> (B, 2 p^2 or 3 p^2, H / p, W / p) with p = patch; the
            channels are re and im of x_lin and of x_anchor, p x p neighbours side by side; the third output is m.
        later: further networks of the same kind; each corrects the image that the one before it and its data step
            left, and a data step of its own follows (an unrolled reconstruction, as in the variational network).
        patch: p; 2 makes a network of the same cost see twice as far. Sizes that p does not divide are padded.
        sigma_data: scale s of one real part of the image, in normalised intensity.
        linear_iterations: conjugate-gradient steps of the linear estimates.
        data_iterations: conjugate-gradient steps of the data step.
        rho_range: noise-to-signal ratios between which the learned data-step width r is tabulated.
        noise_range: noise of the anchors between which the backbones (as `embedding`), r and the expected error learn
            what to make of it; None: only the linear estimates and data steps are told.
    """

    residual_share = 0.1

    def __init__(
        self,
        backbone: nn.Module,
        *,
        later: Sequence[nn.Module] = (),
        patch: int = 2,
        sigma_data: float = 0.25,
        linear_iterations: int = 6,
        data_iterations: int = 5,
        rho_range: tuple[float, float] = (0.002, 50.0),
        noise_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.later = nn.ModuleList(later)
        self.patch = patch
        self.sigma_data = sigma_data
        self.linear_iterations = linear_iterations
        self.data_iterations = data_iterations
        self.log_range = (math.log(rho_range[0]), math.log(rho_range[1]))
        knots = torch.linspace(*self.log_range, KNOTS).exp()
        share = knots * sigma_data / (knots**2 + sigma_data**2).sqrt()
        start = (0.5 * share).clamp(min=0.05 * sigma_data).log()
        tables = torch.stack([start, torch.full_like(start, math.log(0.2 * sigma_data))])
        self.log_width = nn.Parameter(tables.repeat(1 + len(later), 1, 1))
        self.error_slope = nn.Parameter(torch.zeros(4))
        self.log_error = nn.Parameter(
            2 * torch.stack([start, start, start, start]).clamp(max=math.log(0.1 * sigma_data))
        )
        # One width for each data step, then the expected errors of both kinds.
        self.by_noise = None if noise_range is None else NoiseTables(1 + len(later) + 2, noise_range)

    @property
    def evaluations(self) -> int:
        """Passes of an image through a backbone in one estimate."""
        return 1 + len(self.later)

    def forward(self, q: Tensor, rho: Tensor, mask: Tensor, maps: Tensor, anchors: Anchors | None = None) -> Estimate:
        """Estimate the image from partial k-space.

        Args:
            q: (B, coils, H, W) complex lines T x + rho n, read only where `mask` is 1.
            rho: (B,) noise-to-signal ratio (standard deviation per part) of those lines, > 0.
            mask: (B, 1, 1, W) real 0/1.
            maps: (B, coils, H, W) complex.
            anchors: acquired lines at the noise of the scanner; they take precedence over `q`.

        Returns:
            The real image (B, 2, H, W), the posterior mean as far as the network has learned it, and its expected
            error.
        """
        rho = rho.to(torch.float32)
        lines, weights, anchor_weights = _precisions(q, rho, mask, anchors)
        unit = self.sigma_data**2
        linear = self._linear(maps, weights, lines, unit)
        anchored = torch.zeros_like(rho, dtype=torch.bool)
        second = torch.zeros_like(linear)
        if anchors is not None and anchor_weights is not None:
            anchored = anchors.mask.flatten(1).any(1)
            second = self._linear(maps, anchor_weights, anchors.mask * anchors.kspace, unit)
        kind = anchored.long()[:, None]
        changes, place = rho.new_zeros(len(rho), len(self.log_width) + 2), None
        if self.by_noise is not None:
            changes, place = self.by_noise(rho if anchors is None else anchors.noise, anchored)
        image = linear
        for step, (backbone, table) in enumerate(zip([self.backbone, *self.later], self.log_width, strict=True)):
            correction, log_map = self._correction(backbone, image, second, rho, anchored, place)
            width = lookup(table, rho, self.log_range).gather(1, kind)[..., None] + changes[:, step, None, None]
            width = (width + log_map).exp() if log_map is not None else width.exp()
            image = self._data_step(image + correction, width, maps, weights, lines)
        columns = torch.cat([2 * kind, 2 * kind + 1], 1)
        sparsity = -(weights > 0).to(rho).flatten(1).mean(1, keepdim=True).log()
        errors = lookup(self.log_error, rho, self.log_range).gather(1, columns) + self.error_slope[columns] * sparsity
        return Estimate(to_real(image), errors + changes[:, -2:])

    def _data_step(self, image: Tensor, width: Tensor, maps: Tensor, weights: Tensor, lines: Tensor) -> Tensor:
        """argmin_x |W^1/2 (T x - q)|^2 + |(x - image) / width|^2, solved for u = (x - image) / width."""
        normal = LineWeightedNormal(maps, weights, width)
        residual = lines - CoilFourier(maps).forward(to_real(image))
        rhs = width * _backproject(maps, weights * residual)
        return image + width * conjugate_gradient(normal, rhs, None, self.data_iterations)

    def _linear(self, maps: Tensor, weights: Tensor, lines: Tensor, unit: float) -> Tensor:
        rhs = unit * _backproject(maps, weights * lines)
        normal = LineWeightedNormal(maps, weights, self.sigma_data)
        return conjugate_gradient(normal, rhs, None, self.linear_iterations)

    def _correction(
        self,
        backbone: nn.Module,
        image: Tensor,
        second: Tensor,
        rho: Tensor,
        anchored: Tensor,
        place: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Correction of the image so far (B, H, W) complex, and the map m (B, H, W) where the backbone gives one.

        `anchored` (B,) says which items have anchors: the linear estimates of the others are shrunk towards 0, which is
        undone. `place` (B, KNOTS) is that of their noise, where the backbone is told.
        """
        s = self.sigma_data
        total = (rho**2 + s**2)[:, None, None, None]
        level = rho[:, None, None, None]
        shrunk = torch.where(anchored[:, None, None, None], s, total.sqrt()) / s**2
        first = to_real(image) * (shrunk.clamp(max=4.0 / s) if backbone is self.backbone else 1 / s)
        time = 16.0 * rho.clamp(*map(math.exp, self.log_range)).log()
        out = self._patched(backbone, torch.cat([first, to_real(second) / s], 1), time, place)
        c_out = s * ((level**2 + self.residual_share * s**2) / total).sqrt()
        out = out.to(torch.float32)
        log_map = 4 * torch.tanh(out[:, 2] / 4) if out.shape[1] > 2 else None
        return to_complex(c_out * out[:, :2]), log_map

    def _patched(self, backbone: nn.Module, x: Tensor, time: Tensor, place: Tensor | None) -> Tensor:
        """The backbone on p x p patches as channels."""
        told = {} if place is None else {"embedding": place}
        height, width = x.shape[-2:]
        extra = (-width % self.patch, -height % self.patch)
        if any(extra):
            x = functional.pad(x, (0, extra[0], 0, extra[1]))
        out = backbone(functional.pixel_unshuffle(x, self.patch), time, **told)
        return functional.pixel_shuffle(out, self.patch)[..., :height, :width]


def _precisions(q: Tensor, rho: Tensor, mask: Tensor, anchors: Anchors | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Lines, their precision (B, 1, 1, W), and the precision of the anchors alone."""
    noisy = mask / rho[:, None, None, None].square()
    if anchors is None:
        return mask * q, noisy, None
    free = 1 - anchors.mask
    exact = anchors.mask / anchors.noise.to(noisy)[:, None, None, None].square()
    return free * mask * q + anchors.mask * anchors.kspace, free * noisy + exact, exact


def _backproject(maps: Tensor, kspace: Tensor) -> Tensor:
    return to_complex(CoilFourier(maps).adjoint(kspace))


@dataclass(frozen=True)
class ConsistentDenoiser:
    """A `ConsistentNetwork` with the maps of a scan as partial denoiser (z_t, t, mask) -> x0-hat.

    Several views of one item may stand in a row: with maps of B items, a batch of B w rows is read as w views each.

    Args:
        network: the trained network.
        schedule: noise schedule of z_t = alpha z + sigma n.
        maps: (B, coils, H, W) complex coil maps.
        anchors: acquired lines for conditional use, or None.
    """

    network: ConsistentNetwork
    schedule: Schedule
    maps: Tensor
    anchors: Anchors | None = None

    def __call__(self, x: Tensor, t: Tensor, mask: Tensor, cond: Condition = EMPTY) -> Prediction:
        """Image estimate (B w, 2, H, W) from the masked lines of x (B w, coils, H, W)."""
        if cond:
            raise ValueError(
                f"cond: found {sorted(cond)}, but this denoiser takes no condition; pass an empty mapping."
            )
        items, rows = self.maps.shape[0], x.shape[0]
        if rows % items:
            raise ValueError(f"x: found {rows} rows for maps of {items} items; rows must be a multiple of the items.")
        views = rows // items
        alpha, sigma = self.schedule(t)
        q = x / expand_like(alpha, x)
        rho = (sigma / alpha).to(torch.float32).expand(rows)
        maps = self.maps if views == 1 else self.maps.repeat_interleave(views, 0)
        anchors = None if self.anchors is None else self.anchors.repeated(views)
        return Prediction(self.network(q, rho, mask, maps, anchors).image)
