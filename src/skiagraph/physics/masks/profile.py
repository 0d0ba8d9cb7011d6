"""What a family of column masks looks like, and how far another mask is from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["MaskDistance", "MaskProfile", "central_lines", "mask_distance", "mask_profile"]

BANDS = 16
LONGEST_GAP = 16


@dataclass(frozen=True)
class MaskProfile:
    """Statistics of a family of column masks, free of the matrix size.

    Args:
        density: share of the sampled lines in each of 16 equal bands across k-space; sums to 1.
        gaps: share of the steps 1 ... 16 (and more) between neighbouring lines outside the centre; sums to 1, or all
            zero where nothing outside the centre is sampled.
        acceleration: columns over sampled columns, mean over masks.
        centre: contiguous lines about zero frequency, smallest of all masks.
        own: distances of density and of gaps (see `mask_distance`) that 99 % of the family's own masks stay below.
    """

    density: tuple[float, ...]
    gaps: tuple[float, ...]
    acceleration: float
    centre: int
    own: tuple[float, float]

    def record(self) -> dict[str, Any]:
        """Values as JSON types, rounded; `MaskProfile.from_record` reads them back."""
        return {
            name: [round(v, 5) for v in value] if isinstance(value, tuple) else round(value, 5)
            for name, value in asdict(self).items()
        }

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> MaskProfile:
        """The profile of a `record`; ValueError where keys are missing or lengths are wrong."""
        try:
            density, gaps = (tuple(float(v) for v in record[name]) for name in ("density", "gaps"))
            own = float(record["own"][0]), float(record["own"][1])
            acceleration, centre = float(record["acceleration"]), int(record["centre"])
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"record: found {sorted(record)}; a mask profile has other keys ({error}).") from error
        if (len(density), len(gaps)) != (BANDS, LONGEST_GAP):
            raise ValueError(
                f"record: found {len(density)} bands and {len(gaps)} gaps; allowed {BANDS}, {LONGEST_GAP}."
            )
        return MaskProfile(density, gaps, acceleration, centre, own)


@dataclass(frozen=True)
class MaskDistance:
    """How far a mask is from a family.

    Args:
        density: total-variation distance of the line densities, 0 (alike) to 1 (disjoint).
        gaps: total-variation distance of the gaps, 0 to 1; tells regular from random lines of the same density.
        acceleration: effective acceleration of the mask over the family's; above 1 is sparser.
        centre: contiguous lines about zero frequency of the mask.
    """

    density: float
    gaps: float
    acceleration: float
    centre: int

    @property
    def value(self) -> float:
        """The larger of the two distances."""
        return max(self.density, self.gaps)

    def foreign(self, profile: MaskProfile) -> bool:
        """True where the family would hardly draw such a mask.

        A distance is above that of 99 % of the family's own masks (and above 0.1 for the density, 0.2 for the gaps),
        the effective acceleration is off by more than a third, or a quarter of the centre is missing.
        """
        return (
            self.density > max(profile.own[0], 0.1)
            or self.gaps > max(profile.own[1], 0.2)
            or not 0.75 <= self.acceleration <= 4 / 3
            or self.centre < 0.75 * profile.centre
        )


def central_lines(mask: Tensor) -> tuple[int, int]:
    """First and one-past-last of the contiguous sampled columns about zero frequency W // 2 of a mask (W,).

    Equal where zero frequency is not sampled.
    """
    line = mask.flatten() > 0
    low = high = line.numel() // 2
    if not bool(line[low]):
        return low, low
    while low > 0 and bool(line[low - 1]):
        low -= 1
    while high < line.numel() and bool(line[high]):
        high += 1
    return low, high


def _density(mask: Tensor) -> Tensor:
    line = (mask.flatten() > 0).double()
    band = torch.arange(line.numel()) * BANDS // line.numel()
    counts = torch.zeros(BANDS, dtype=torch.float64).index_add_(0, band, line)
    return counts / counts.sum().clamp(min=1)


def _gaps(mask: Tensor) -> Tensor:
    line = mask.flatten() > 0
    low, high = central_lines(line)
    where = torch.arange(line.numel())
    sides = [line.nonzero()[:, 0][chosen] for chosen in (where[line] <= low, where[line] >= high - 1)]
    steps = torch.cat([side.diff() for side in sides]).clamp(1, LONGEST_GAP)
    counts = torch.bincount(steps - 1, minlength=LONGEST_GAP).double()
    return counts / counts.sum().clamp(min=1)


def _between(a: Tensor, b: Tensor) -> float:
    return float(0.5 * (a - b).abs().sum())


def mask_profile(masks: Tensor) -> MaskProfile:
    """Profile of a family from examples.

    Args:
        masks: (N, ..., W) of 0 and 1, one mask per entry of axis 0; hundreds make `own` meaningful.
    """
    if masks.ndim < 2 or masks.shape[0] < 1 or masks[0].numel() != masks.shape[-1]:
        raise ValueError(f"masks: found shape {tuple(masks.shape)}; allowed (N >= 1, 1, 1, W) or (N, W).")
    lines = masks.reshape(masks.shape[0], -1)
    densities, gaps = (torch.stack([measure(line) for line in lines]) for measure in (_density, _gaps))
    density = densities.mean(0)
    outside = gaps[gaps.sum(1) > 0]
    gap = outside.mean(0) if len(outside) else gaps[0]
    own = torch.tensor(
        [[_between(d, density) for d in densities], [_between(g, gap) if g.any() else 0.0 for g in gaps]]
    )
    high = torch.quantile(own.double(), 0.99, dim=1).tolist()
    centre = min(stop - first for first, stop in map(central_lines, lines))
    sampled = float((lines > 0).double().mean())
    return MaskProfile(
        density=tuple(density.tolist()),
        gaps=tuple(gap.tolist()),
        acceleration=1 / sampled if sampled > 0 else float("inf"),
        centre=centre,
        own=(high[0], high[1]),
    )


def mask_distance(mask: Tensor, profile: MaskProfile) -> MaskDistance:
    """Distance of one mask (W,) from a family: how differently its lines are spread, and how differently spaced.

        density = 1/2 sum_b |d_b(mask) - d_b(family)|,    gaps = 1/2 sum_g |p_g(mask) - p_g(family)|

    A single mask of the family is not at distance 0, because it is one draw: compare with `profile.own`. Masks without
    lines outside the centre have no gaps, and count as far as can be from families that have.
    """
    density, gaps = (torch.tensor(value, dtype=torch.float64) for value in (profile.density, profile.gaps))
    line = mask.flatten() > 0
    mine = _gaps(line)
    first, stop = central_lines(line)
    spacing = 0.0 if not gaps.any() else _between(mine, gaps) if mine.any() else 1.0
    ratio = line.numel() / max(int(line.sum()), 1) / profile.acceleration
    return MaskDistance(_between(_density(line), density), spacing, ratio, stop - first)
