"""An unrolled reconstruction network, and how it learns from undersampled scans alone (SSDU).

    x <- argmin_x |M T x - y|^2 + mu |x - z|^2,   z = x + s F(x / s; k),   k = 1 ... K

F is one network for all cascades, told which one it is in; mu is learned; the minimisation is a few steps of conjugate
gradients. References: Aggarwal et al., IEEE TMI 38, 2019 (MoDL); Yaman et al., Magn. Reson. Med. 84, 2020 (SSDU).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from skiagraph.diffusion.objective import ObjectiveResult
from skiagraph.inverse.variation import Draws, shown_part
from skiagraph.physics.fourier import CoilFourier, MaskedCoilFourier, to_complex, to_real
from skiagraph.physics.masks import centre_columns
from skiagraph.physics.operator import conjugate_gradient

__all__ = ["SelfSupervisedObjective", "UnrolledNetwork", "split_acquired"]

NOTHING = torch.finfo(torch.float32).tiny


class UnrolledNetwork(nn.Module):
    """K cascades of one network and a data step (see the module's text).

    Args:
        backbone: network (B, 2, H, W), time (B,) -> (B, 2, H, W), re and im as channels.
        cascades: K >= 1.
        data_iterations: conjugate-gradient steps of each data step.
        sigma_data: s, scale of one real part of the image in normalised intensity.
        weight: mu at the start; learned from there.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        cascades: int = 5,
        data_iterations: int = 6,
        sigma_data: float = 0.25,
        weight: float = 0.05,
    ) -> None:
        super().__init__()
        if cascades < 1 or data_iterations < 1:
            raise ValueError(f"cascades, data_iterations: found {cascades} and {data_iterations}; both must be >= 1.")
        self.backbone = backbone
        self.cascades = cascades
        self.data_iterations = data_iterations
        self.sigma_data = sigma_data
        self.log_weight = nn.Parameter(torch.tensor(math.log(weight)))

    def forward(self, kspace: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
        """Reconstruct.

        Args:
            kspace: (B, coils, H, W) complex, read only where `mask` is 1.
            mask: (B, 1, 1 or H, W) real 0/1.
            maps: (B, coils, H, W) complex.

        Returns:
            (B, 2, H, W).
        """
        image = self._data_step(torch.zeros_like(kspace[:, 0]), kspace, mask, maps)
        for cascade in range(self.cascades):
            time = torch.full((len(kspace),), 100.0 * cascade, device=kspace.device)
            change = self.backbone(to_real(image) / self.sigma_data, time).to(torch.float32)
            image = self._data_step(image + self.sigma_data * to_complex(change), kspace, mask, maps)
        return to_real(image)

    def _data_step(self, image: Tensor, kspace: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
        operator, weight = MaskedCoilFourier(maps, mask), self.log_weight.exp()
        rhs = to_complex(operator.adjoint(kspace - operator.full.forward(to_real(image))))

        def normal(x: Tensor) -> Tensor:
            return operator.normal_complex(x) + weight * x

        return image + conjugate_gradient(normal, rhs, None, self.data_iterations)


def split_acquired(
    mask: Tensor, rows: int, draws: Draws, *, share: float, centre: int, kind: Literal["lines", "points"]
) -> tuple[Tensor, Tensor]:
    """Split what was acquired at random in (input, loss) masks whose sum is the mask.

    Args:
        mask: (B, 1, 1, W) real 0/1.
        rows: H, for points.
        draws: one stream per item.
        share: expected share of what lies beyond the centre that goes to the loss.
        centre: innermost columns that stay in the input.
        kind: "lines" holds out whole columns; "points" samples of them, (B, 1, H, W).
    """
    width = mask.shape[-1]
    coins = draws.uniform(1, rows if kind == "points" else 1, width).to(mask)
    inner = centre_columns(width, centre).to(mask)
    held = (coins < share).to(mask) * (1 - inner) * mask
    return mask - held, held


@dataclass(frozen=True)
class SelfSupervisedObjective:
    """|e|_2 / |y_L|_2 + |e|_1 / |y_L|_1 with e = L (T f(y_I) - y): one part I of a scan goes in, the other, L, judges.

    Batches are those of `MeasurementObjective`. Differs from the published method in that the split is drawn anew each
    time an item is seen (their multi-mask variant keeps a few), and by default holds out whole lines, as an
    undersampled scan does (Millard and Chiew, IEEE TCI 9, 2023), rather than points of a Gaussian density.

    Args:
        share: expected share of the lines that judge; 0.4 in the paper.
        centre: innermost columns that always go in.
        kind: see `split_acquired`.
        rows: rows of the image that an item shows, a random window; None for all.
        flips: mirror items along either axis and turn their phase.
    """

    share: float = 0.4
    centre: int = 4
    kind: Literal["lines", "points"] = "lines"
    rows: int | None = None
    flips: bool = True

    def __call__(self, network: nn.Module, batch: dict[str, Tensor], streams: Draws) -> ObjectiveResult:
        """Loss of each item of a batch; draws only from `streams`."""
        kspace, mask, maps = batch["kspace"], batch["mask"], batch["maps"]
        kspace, mask, maps = shown_part(kspace, mask, maps, streams, flips=self.flips, rows=self.rows)
        given, held = split_acquired(
            mask, kspace.shape[-2], streams, share=self.share, centre=self.centre, kind=self.kind
        )
        image = network(given * kspace, given, maps)
        wanted = held * kspace
        error = held * CoilFourier(maps).forward(image) - wanted
        two = _size(error, 2) / _size(wanted, 2).clamp(min=NOTHING)
        one = _size(error, 1) / _size(wanted, 1).clamp(min=NOTHING)
        seen = held.flatten(1).any(1)  # where chance held out nothing there is nothing to judge
        loss = torch.where(seen, two + one, 0.0 * one)
        return ObjectiveResult(loss, torch.full_like(loss.detach(), math.nan), {"relative_error": two.detach()})


def _size(kspace: Tensor, order: int) -> Tensor:
    """Norm (B,) of each item, by complex modulus, with a gradient at 0."""
    modulus = (torch.view_as_real(kspace).square().sum(-1) + 1e-20).sqrt() if order == 1 else kspace
    if order == 1:
        return modulus.flatten(1).sum(1)
    return (torch.view_as_real(modulus).square().flatten(1).sum(1) + 1e-20).sqrt()
