"""The discrete schedules of the DDPM lineage, of any length, with the respacing of guided-diffusion.

References: Ho et al. 2020 (arXiv 2006.11239); Nichol and Dhariwal 2021 (2102.09672); Dhariwal and Nichol
2021 (2105.05233).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise, repeat

import torch
from torch import Tensor

from skiagraph.diffusion.schedule.interface import as_time

__all__ = ["DiscreteTable", "cosine_table", "linear_table"]


@dataclass(frozen=True, eq=False)
class DiscreteTable:
    """A table of abar_0 > abar_1 > ... > abar_{T-1}: alpha_t = sqrt(abar_t), sigma_t = sqrt(1 - abar_t).

    Time is the position in the table, 0 ... T-1, possibly fractional; t = -1 is the clean image (alpha 1, sigma 0) and
    t = T is pure noise (alpha 0, sigma 1). In between, rho = sigma / alpha is linear in t (above T-1: 1 / rho is).

    Args:
        alpha_bar: abar, strictly decreasing in (0, 1).
        indices: position of each entry in the table that the network was trained on; default 0 ... T-1.
        original_steps: length of that table; default one more than the last index.
    """

    alpha_bar: tuple[float, ...] = field(repr=False)
    indices: tuple[int, ...] = field(default=(), repr=False)
    original_steps: int = 0
    _ratios: Tensor = field(init=False, repr=False, compare=False)
    _places: Tensor = field(init=False, repr=False, compare=False)
    _key: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        levels = tuple(float(value) for value in self.alpha_bar)
        indices = tuple(int(value) for value in self.indices) or tuple(range(len(levels)))
        total = self.original_steps or (indices[-1] + 1 if indices else 0)
        _check_table(levels, indices, total)
        table = torch.tensor(levels, dtype=torch.float64)
        ratios = torch.cat([torch.zeros(1, dtype=torch.float64), torch.sqrt((1 - table) / table)])
        places = torch.tensor([-1, *indices, max(total, indices[-1] + 1)], dtype=torch.float64)
        values = {"alpha_bar": levels, "indices": indices, "original_steps": total}
        # Walks look levels up by table, so tables must hash and compare in less than a step's time: as bytes.
        key = struct.pack(f"<{len(levels)}d{len(indices)}qq", *levels, *indices, total)
        for name, value in (values | {"_ratios": ratios, "_places": places, "_key": key}).items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_betas(cls, betas: Sequence[float] | Tensor) -> DiscreteTable:
        """The table abar_t = prod_{i <= t} (1 - beta_i), formed in float64."""
        rates = torch.as_tensor(betas, dtype=torch.float64)
        return cls(tuple(torch.cumprod(1 - rates, 0).tolist()))

    def __len__(self) -> int:
        """T, the number of levels."""
        return len(self.alpha_bar)

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, DiscreteTable) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        ends = f"{self.alpha_bar[0]:.6g} ... {self.alpha_bar[-1]:.6g}"
        return f"DiscreteTable(steps={len(self)}, original_steps={self.original_steps}, alpha_bar={ends})"

    @property
    def span(self) -> tuple[float, float]:
        """(T - 1, -1): noisiest and clean time."""
        return float(len(self) - 1), -1.0

    @property
    def finest(self) -> float:
        """0, the cleanest level of the table."""
        return 0.0

    def _checked(self, t: Tensor | float) -> Tensor:
        t = as_time(t)
        if t.device.type == "cpu" and t.numel() > 0:
            low, high = (float(value) for value in t.aminmax())
            if not (low >= -1 and high <= len(self)):  # also where one is not a number
                raise ValueError(
                    f"t: found values in [{low:g}, {high:g}]; allowed -1 (clean) to {len(self)} (pure noise) for a "
                    f"table of {len(self)} levels."
                )
        return t

    def _ratio(self, t: Tensor | float) -> Tensor:
        """rho at positions t; infinite at t = T."""
        t = self._checked(t)
        ratios = self._ratios.to(t.device)
        lower = t.floor().clamp(-1, len(self) - 1).long() + 1  # entry 0 of `ratios` is the clean end, t = -1
        upper = (lower + 1).clamp(max=len(self))
        inside = torch.lerp(ratios[lower], ratios[upper], t - (lower - 1))
        return torch.where(t > len(self) - 1, ratios[-1] / (len(self) - t), inside)

    def __call__(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """(alpha, sigma) at positions t in [-1, T]."""
        ratio = self._ratio(t)
        alpha = torch.rsqrt(1 + ratio * ratio)
        return alpha, torch.where(ratio.isinf(), torch.ones_like(alpha), ratio * alpha)

    def log_snr(self, t: Tensor | float) -> Tensor:
        """-2 log rho at positions t."""
        return -2 * torch.log(self._ratio(t))

    def time_of(self, log_snr: Tensor | float) -> Tensor:
        """The fractional position with a given log-SNR."""
        ratio = torch.exp(-0.5 * torch.as_tensor(log_snr, dtype=torch.float64))
        ratios = self._ratios.to(ratio.device)
        upper = torch.searchsorted(ratios, ratio.contiguous()).clamp(1, len(self))
        low, high = ratios[upper - 1], ratios[upper]
        inside = (upper - 1) + (ratio - low) / (high - low) - 1
        return torch.where(ratio > ratios[-1], len(self) - ratios[-1] / ratio, inside)

    def original_index(self, t: Tensor | float) -> Tensor:
        """The time, float64, in the table that the network was trained on; linear between levels."""
        t = self._checked(t)
        places = self._places.to(t.device)
        lower = t.floor().clamp(-1, len(self) - 1).long() + 1
        return torch.lerp(places[lower], places[lower + 1], t - (lower - 1))

    def respaced(self, steps: str | int | Iterable[int]) -> DiscreteTable:
        """Keep a part of the levels, as guided-diffusion does; the network keeps its original times.

        Args:
            steps: "ddimN": every k-th level from 0, with the integer stride k that leaves exactly N levels;
                a count, or counts "10,20,30": the table is cut into as many sections of equal length and each keeps
                that number of levels, evenly spread from its first to its last.
        """
        if isinstance(steps, str) and steps.startswith("ddim"):
            kept = _strided(len(self), steps)
        else:
            kept = _sections(len(self), steps)
        return DiscreteTable(
            tuple(self.alpha_bar[k] for k in kept), tuple(self.indices[k] for k in kept), self.original_steps
        )


def linear_table(steps: int = 1000, start: float = 1e-4, stop: float = 2e-2) -> DiscreteTable:
    """beta from `start` to `stop` in equal increments, both times 1000 / steps (guided-diffusion's convention)."""
    _check_steps(steps)
    scale = 1000 / steps
    if not (0 < start <= stop and scale * stop < 1):
        raise ValueError(
            f"steps, start, stop: found {steps}, {start}, {stop}; allowed 0 < start <= stop and 1000 stop / steps < 1. "
            "For few steps respace a long table."
        )
    return DiscreteTable.from_betas(torch.linspace(scale * start, scale * stop, steps, dtype=torch.float64))


def cosine_table(steps: int = 1000, shift: float = 0.008, largest_beta: float = 0.999) -> DiscreteTable:
    """beta_i = min(1 - g((i+1)/T) / g(i/T), largest_beta) with g(u) = cos^2((pi/2) (u + shift) / (1 + shift))."""
    _check_steps(steps)
    u = torch.arange(steps + 1, dtype=torch.float64) / steps
    g = torch.cos((u + shift) / (1 + shift) * math.pi / 2) ** 2
    return DiscreteTable.from_betas((1 - g[1:] / g[:-1]).clamp(max=largest_beta))


def _strided(length: int, text: str) -> list[int]:
    count = text.removeprefix("ddim")
    if not count.isdecimal() or int(count) < 1:
        raise ValueError(f'steps: found {text!r}; allowed "ddim" followed by a positive count, such as "ddim200".')
    for stride in range(1, length + 1):
        if len(range(0, length, stride)) == int(count):
            return list(range(0, length, stride))
    possible = sorted({len(range(0, length, stride)) for stride in range(1, length + 1)})
    near = sorted(sorted(possible, key=lambda n: abs(n - int(count)))[:4])
    raise ValueError(
        f"steps: found {text!r}, but no integer stride over {length} levels leaves {count} of them; the nearest counts "
        f"that exist are {', '.join(map(str, near))}."
    )


def _sections(length: int, steps: str | int | Iterable[int]) -> list[int]:
    try:
        listed = [steps] if isinstance(steps, int) else steps.split(",") if isinstance(steps, str) else steps
        counts = [int(count) for count in listed]
    except ValueError:
        raise ValueError(f'steps: found {steps!r}; allowed "ddimN", a count, or counts such as "10,20,30".') from None
    if not counts or min(counts) < 1:
        raise ValueError(f"steps: found {steps!r}; allowed positive counts.")
    kept: list[int] = []
    for number, count in enumerate(counts):
        first = number * (length // len(counts)) + min(number, length % len(counts))
        size = length // len(counts) + (number < length % len(counts))
        if count > size:
            raise ValueError(f"steps: found {count} levels for section {number}, which has {size}; ask for fewer.")
        stride = (size - 1) / (count - 1) if count > 1 else 1.0
        # Summed and not multiplied: ties between two levels then round as in the released code.
        places = accumulate(repeat(stride, count - 1), initial=0.0)
        kept += [first + round(place) for place in places]
    return kept


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"steps: found {steps}; allowed at least 1.")


def _check_table(levels: tuple[float, ...], indices: tuple[int, ...], total: int) -> None:
    if not levels:
        raise ValueError("alpha_bar: found an empty table; allowed at least one level.")
    if not (levels[0] < 1 and levels[-1] > 0 and all(a > b for a, b in pairwise(levels))):
        raise ValueError("alpha_bar: found an unordered or unbounded table; allowed strictly decreasing in (0, 1).")
    if len(indices) != len(levels):
        raise ValueError(f"indices: found {len(indices)} for {len(levels)} levels; allowed one for each level.")
    if indices[0] < 0 or any(a >= b for a, b in pairwise(indices)):
        raise ValueError("indices: found a list that is not strictly increasing from at least 0.")
    if total <= indices[-1]:
        raise ValueError(f"original_steps: found {total}; allowed more than the last index, {indices[-1]}.")
