"""The map of an image: slopes along the label, averaged over noise, noise levels and mirrored copies, with spread."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import Denoiser
from skiagraph.diffusion.difference.classifier_term import classifier_slope
from skiagraph.diffusion.difference.derivative import label_slope
from skiagraph.diffusion.difference.pair import ConditionPair
from skiagraph.diffusion.difference.trajectory import Logits
from skiagraph.diffusion.schedule import DiscreteTable, Schedule, expand_like, perturb
from skiagraph.diffusion.streams import Streams

__all__ = ["AveragePlan", "DifferenceMap", "Sign", "Weights", "average_difference", "level_times", "level_weights"]

Sign = Literal["signed", "negative", "absolute", "evidence"]
Weights = Literal["uniform", "native", "inverse", "snr"]


@dataclass(frozen=True, kw_only=True)
class AveragePlan:
    """What is averaged, and how it becomes one number a pixel.

    Args:
        levels: noise-to-signal ratios rho = sigma / alpha.
        seeds: draws of noise at each level, K.
        tau: 1 for the exact derivative, below 1 for the difference in one batch.
        weights: of the levels: "uniform" in units of D; "native", the implicit gamma / rho of differences of states;
            "inverse", 1 / rho, which makes evidence on normal images about equal at all levels; "snr", 1 / rho^2, as
            in the diffusion likelihood; or one positive number a level. They sum to 1.
        sign: "signed" (brighter for present), "negative", "absolute", or "evidence": each slope times twice the image's
            residual, so that a pixel counts where "present" explains the image itself better, brighter or darker.
        channel_signs: factor of every channel, applied with "signed"; () for 1.
        flips: spatial axes to mirror, counted from the end, one tuple a copy; () is the image as it is.
        scale: s of the classifier's term; 0 for none.
        present, absent: labels of the classifier.
        batch: most samples in one evaluation of the network (the two branches of a difference count as one).
    """

    levels: tuple[float, ...]
    seeds: int = 4
    tau: float = 1.0
    weights: Weights | tuple[float, ...] = "uniform"
    sign: Sign = "signed"
    channel_signs: tuple[float, ...] = ()
    flips: tuple[tuple[int, ...], ...] = ((),)
    scale: float = 0.0
    present: int = 1
    absent: int = 0
    batch: int = 32

    def __post_init__(self) -> None:
        if not self.levels or not all(0 < rho < math.inf for rho in self.levels):
            raise ValueError(f"levels: found {self.levels}; allowed at least one positive noise-to-signal ratio.")
        if self.seeds < 1 or self.batch < 1:
            raise ValueError(f"seeds, batch: found {self.seeds}, {self.batch}; allowed at least 1.")
        if not 0 <= self.tau <= 1:
            raise ValueError(f"tau: found {self.tau}; allowed 0 to 1 (1 is the exact derivative).")
        if self.sign not in get_args(Sign):
            raise ValueError(f"sign: found {self.sign!r}; allowed {', '.join(map(repr, get_args(Sign)))}.")
        if self.channel_signs and self.sign != "signed":
            raise ValueError(f"channel_signs: has no effect with sign {self.sign!r}; leave it out.")
        if not self.flips:
            raise ValueError("flips: found none; give () among them for the image as it is.")


@dataclass(frozen=True, eq=False)
class DifferenceMap:
    """The map of every image, in units of D (of its square for "evidence"); larger is more "present".

    Args:
        maps: (B, 1, H, W), summed over channels.
        spread: (B, 1, H, W), weighted standard deviation over the draws.
        condition: (B, C, H, W), the condition's share before the sign rule.
        classifier: (B, C, H, W), the classifier's share, or None.
        calls: evaluations of the network for each image; an exact derivative counts as two.
        classifier_calls: evaluations of the classifier, with gradient, for each image.
        message: what differs from what was asked; empty if nothing does.
    """

    maps: Tensor
    spread: Tensor
    condition: Tensor
    classifier: Tensor | None
    calls: int
    classifier_calls: int = 0
    message: str = ""


@dataclass(frozen=True)
class _Draw:
    level: int
    seed: int
    flip: tuple[int, ...]
    weight: float


def average_difference(
    denoiser: Denoiser,
    pair: ConditionPair,
    images: Tensor,
    plan: AveragePlan,
    streams: Streams,
    logits: Logits | None = None,
) -> DifferenceMap:
    """Average slopes over K draws, L levels and the mirrored copies, all at shared x_t and without clamping.

    An image's map depends on its own stream only: alone or in any batch it is the same to the rounding of the network.

    Args:
        denoiser: takes pair.name as a condition.
        pair: f(c) and f(0).
        images: (B, C, H, W) clean, float32 or float64, in the range of training.
        plan: what is averaged.
        streams: one an image; equal seeds (the slices of a volume) share their noise.
        logits: of a noisy classifier; needed where plan.scale is not 0.
    """
    _check(images, plan, streams, logits)
    times = level_times(denoiser.schedule, plan.levels)
    shares = level_weights(denoiser.schedule, times, plan)
    sums = _Sums(images, plan)
    message, calls = "", 0
    for draws in _chunks(plan, shares, max(1, plan.batch // len(images))):
        clean = torch.cat([images.flip(draw.flip) if draw.flip else images for draw in draws])
        noise = torch.cat([_noise(streams, draw, images) for draw in draws])
        t = torch.cat([times[draw.level].expand(len(images)) for draw in draws])
        x = perturb(denoiser.schedule, clean, t, noise)
        found = label_slope(denoiser, x, t, pair, tau=plan.tau)
        term = None
        if plan.scale != 0 and logits is not None:
            labels = {"present": plan.present, "absent": plan.absent}
            term = classifier_slope(logits, denoiser.schedule, x, t, scale=plan.scale, **labels)
        sums.add(draws, clean, found.slope, found.centre, term)
        message, calls = message or found.message, calls + found.calls * len(draws)
    return sums.result(calls, message)


class _Sums:
    """Weighted sums of slopes, of pixels' values and of their squares."""

    def __init__(self, images: Tensor, plan: AveragePlan) -> None:
        self.plan, self.draws = plan, 0
        self.condition = torch.zeros_like(images)
        self.term = torch.zeros_like(images) if plan.scale != 0 else None
        self.pixels = torch.zeros_like(images[:, :1])
        self.squares = torch.zeros_like(self.pixels)

    def add(self, draws: Sequence[_Draw], clean: Tensor, slope: Tensor, centre: Tensor, term: Tensor | None) -> None:
        """Add the draws of one evaluation, mirrored back."""
        count = len(self.pixels)
        both = slope if term is None else slope + term
        residual = 2 * (clean - centre) if self.plan.sign == "evidence" else None
        for number, draw in enumerate(draws):
            part = slice(number * count, (number + 1) * count)
            value = both[part] if residual is None else residual[part] * both[part]
            pixels = _back(self._pixels(value), draw.flip)
            self.pixels += draw.weight * pixels
            self.squares += draw.weight * pixels**2
            self.condition += draw.weight * _back(slope[part], draw.flip)
            if self.term is not None and term is not None:
                self.term += draw.weight * _back(term[part], draw.flip)
        self.draws += len(draws)

    def _pixels(self, value: Tensor) -> Tensor:
        if self.plan.channel_signs:
            if len(self.plan.channel_signs) != value.shape[1]:
                raise ValueError(f"channel_signs: found {self.plan.channel_signs} for {value.shape[1]} channels.")
            value = value * value.new_tensor(self.plan.channel_signs).reshape(-1, *[1] * (value.dim() - 2))
        return value.sum(1, keepdim=True)

    def result(self, calls: int, message: str) -> DifferenceMap:
        """The maps; "absolute" is taken of the mean, channel by channel."""
        both = self.condition if self.term is None else self.condition + self.term
        maps = {"absolute": both.abs().sum(1, keepdim=True), "negative": -self.pixels}.get(self.plan.sign, self.pixels)
        spread = (self.squares - self.pixels**2).clamp(min=0).sqrt()
        guided = 0 if self.term is None else self.draws
        return DifferenceMap(maps, spread, self.condition, self.term, calls, guided, message)


def level_times(schedule: Schedule, levels: Sequence[float]) -> Tensor:
    """Times (L,), float64, of noise-to-signal ratios; on a table the nearest index, so that the network knows it."""
    noisiest, finest = (_ratio(schedule, time) for time in (schedule.span[0], schedule.finest))
    found = []
    for rho in levels:
        if not finest * (1 - 1e-9) <= rho <= noisiest * (1 + 1e-9):
            raise ValueError(
                f"levels: found rho = {rho:g}; allowed {finest:.4g} to {noisiest:.4g}, the levels of the schedule."
            )
        time = schedule.time_of(-2 * math.log(rho))
        if isinstance(schedule, DiscreteTable):
            time = time.round().clamp(0, len(schedule) - 1)
        found.append(time.to(torch.float64).reshape(()))
    return torch.stack(found)


def level_weights(schedule: Schedule, times: Tensor, plan: AveragePlan) -> tuple[float, ...]:
    """Weights of the levels, summing to 1."""
    if isinstance(plan.weights, tuple):
        raw = [float(value) for value in plan.weights]
        if len(raw) != len(plan.levels) or min(raw) < 0 or sum(raw) <= 0:
            raise ValueError(f"weights: found {plan.weights}; allowed {len(plan.levels)} numbers of at least 0.")
    elif plan.weights == "native":
        raw = [_native(schedule, float(time)) for time in times]
    elif plan.weights in ("inverse", "snr"):
        power = -1 if plan.weights == "inverse" else -2
        raw = [_ratio(schedule, float(time)) ** power for time in times]
    elif plan.weights == "uniform":
        raw = [1.0] * len(times)
    else:
        raise ValueError(f"weights: found {plan.weights!r}; allowed {', '.join(map(repr, get_args(Weights)))}.")
    return tuple(value / sum(raw) for value in raw)


def _ratio(schedule: Schedule, time: float) -> float:
    alpha, sigma = schedule(torch.tensor(time, dtype=torch.float64))
    return float(sigma / alpha)


def _native(schedule: Schedule, time: float) -> float:
    """gamma_t / rho_t = alpha_{t-1} (1 - rho_{t-1} / rho_t): what a difference of states after one step holds."""
    if not isinstance(schedule, DiscreteTable):
        raise ValueError(f"weights: 'native' needs a table of levels, found {type(schedule).__name__}; use 'uniform'.")
    alpha = float(schedule(torch.tensor(time - 1, dtype=torch.float64))[0])
    return alpha * (1 - _ratio(schedule, time - 1) / _ratio(schedule, time))


def _chunks(plan: AveragePlan, shares: Sequence[float], size: int) -> Iterator[list[_Draw]]:
    copies = plan.seeds * len(plan.flips)
    draws = [
        _Draw(level, seed, flip, shares[level] / copies)
        for level in range(len(plan.levels))
        for seed in range(plan.seeds)
        for flip in plan.flips
        if shares[level] > 0
    ]
    for start in range(0, len(draws), size):
        yield draws[start : start + size]


def _noise(streams: Streams, draw: _Draw, images: Tensor) -> Tensor:
    """Noise of a draw, a function of the image's seed, level, number and mirror axes alone."""
    return streams.fork(f"difference/{draw.level}/{draw.seed}/{draw.flip}").normal_like(images)


def _back(x: Tensor, flip: tuple[int, ...]) -> Tensor:
    return x.flip(flip) if flip else x


def _check(images: Tensor, plan: AveragePlan, streams: Streams, logits: Logits | None) -> None:
    if images.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"images: found {images.dtype}; a map of small differences needs float32 or float64.")
    if len(streams) != len(images):
        raise ValueError(f"streams: found {len(streams)} for {len(images)} images; allowed one an image.")
    if plan.scale != 0 and logits is None:
        raise ValueError(f"logits: missing; scale {plan.scale} needs a noisy classifier.")
    if not bool(images.isfinite().all()):
        raise ValueError("images: found values that are not finite; mend or leave out these images.")
    expand_like(torch.tensor(1.0), images)
