"""Where similarity meets diffusion: maps as a condition of the network, and similarity as an energy.

StateCondition(denoiser, "maps", SimilarityCondition(source, measure))             the state is searched
StateCondition(denoiser, "maps", SimilarityCondition(source, measure), passes=2)   x0-hat is searched
Energy(denoiser, SimilarityEnergy(source, measure), scale, through="x0")           no maps in the network
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import Condition
from skiagraph.diffusion.schedule import DiscreteTable, Schedule, as_time, expand_like
from skiagraph.similarity import SimilarityMap, similarity_score

__all__ = ["SimilarityCondition", "SimilarityEnergy", "condition_maps", "training_maps"]


def _to_unit(image: Tensor, data_range: tuple[float, float]) -> Tensor:
    """From the prior's range to [0, 1], in which similarities are stated; values beyond it stay beyond."""
    low, high = data_range
    return (image - low) / (high - low)


def condition_maps(measure: SimilarityMap, source: Tensor, searched: Tensor, mask: Tensor | None = None) -> Tensor:
    """Channels [cross, self]: the map of source and searched image, and of the source with itself, (B, 2 C, *S)."""
    return torch.cat([measure(source, searched, mask), measure(source, source, mask)], 1)


def training_maps(
    measure: SimilarityMap,
    schedule: Schedule,
    x0: Tensor,
    noise: Tensor,
    t: Tensor,
    *,
    level: Literal["same", "next"] = "same",
    data_range: tuple[float, float] = (-1.0, 1.0),
) -> Tensor:
    """The condition in training: the clean image is its own source, and its noised state is searched.

    Args:
        measure: the similarity.
        schedule: of the prior.
        x0, noise: (B, 1, *S), clean image in the prior's range, and the noise that its state is made with.
        t: (B,) times of the state.
        level: "same" as in sampling; "next" searches the state at min(t + 1, last), with the same noise, as the
            released trainer does.
        data_range: of the prior; similarities see [0, 1].
    """
    if level not in ("same", "next"):
        raise ValueError(f"level: found {level!r}; allowed are 'same' and 'next'.")
    time = as_time(t)
    if level == "next":
        if not isinstance(schedule, DiscreteTable):
            raise ValueError(f"level: found 'next' with a {type(schedule).__name__}; only a table has a next level.")
        time = (time + 1).clamp(max=len(schedule) - 1)
    alpha, sigma = schedule(time)
    state = expand_like(alpha, x0) * x0 + expand_like(sigma, x0) * noise
    source = _to_unit(x0, data_range)
    with torch.no_grad():
        return condition_maps(measure, source, _to_unit(state, data_range))


@dataclass(eq=False)
class SimilarityCondition:
    """The function of a `StateCondition`: maps of the source with whatever the sampler shows it.

    The map of the source with itself is computed once. With `refresh` m the cross map is computed at every m-th call
    and kept in between; one object serves one trajectory then (`restart` begins another).

    Args:
        source: (B, 1, *S), scaled to [0, 1].
        measure: the similarity that the network was trained with.
        data_range: of the prior's states.
        mask: (B or 1, 1, *S), the foreground.
        refresh: calls that one cross map serves, at least 1.
    """

    source: Tensor
    measure: SimilarityMap
    data_range: tuple[float, float] = (-1.0, 1.0)
    mask: Tensor | None = None
    refresh: int = 1
    _own: Tensor | None = field(default=None, init=False, repr=False)
    _cross: Tensor | None = field(default=None, init=False, repr=False)
    _calls: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.refresh < 1:
            raise ValueError(f"refresh: found {self.refresh}; allowed at least 1.")

    def restart(self) -> None:
        """Begin another trajectory of the same source."""
        self._cross, self._calls = None, 0

    def __call__(self, state: Tensor, t: Tensor, cond: Condition) -> Tensor:
        """(B, 2 C, *S): cross map and self map, without gradient."""
        if state.shape != self.source.shape:
            raise ValueError(f"state: found {tuple(state.shape)}; allowed is the source's {tuple(self.source.shape)}.")
        with torch.no_grad():
            if self._own is None:
                self._own = self.measure(self.source, self.source, self.mask)
            if self._cross is None or self._calls % self.refresh == 0:
                self._cross = self.measure(self.source, _to_unit(state, self.data_range), self.mask)
            self._calls += 1
            return torch.cat([self._cross, self._own], 1).to(state.dtype)


@dataclass(frozen=True, eq=False)
class SimilarityEnergy:
    """S(source, x0-hat), the mean of a similarity map over the mask, as what guidance increases.

    Works with an unconditional prior: use it with `through="x0"` or "network" of `Energy`.

    Args:
        source: (B, 1, *S), scaled to [0, 1].
        measure: a similarity with a gradient, such as `LocalInformation.default(energy=True)` or `MIND()`.
        data_range: of x0-hat.
        mask: (B or 1, 1, *S), the foreground.
    """

    source: Tensor
    measure: SimilarityMap
    data_range: tuple[float, float] = (-1.0, 1.0)
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        if not self.measure.has_gradient:
            raise ValueError(
                "measure: found the released layer, which truncates intensities and has no gradient; "
                "allowed is its default form, LocalInformation.default(energy=True), or another similarity."
            )

    def __call__(self, x: Tensor, t: Tensor, x0: Tensor, cond: Condition) -> Tensor:
        """Per sample (B,)."""
        return similarity_score(self.measure, self.source, _to_unit(x0, self.data_range), self.mask)
