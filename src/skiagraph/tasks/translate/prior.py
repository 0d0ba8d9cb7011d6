"""A target prior ready to translate: its network as a denoiser of whole stacks, steered by a source or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from skiagraph.diffusion import EMPTY, Condition, Denoiser, DiscreteTable, NetworkDenoiser, Prediction
from skiagraph.diffusion.guidance import StateCondition
from skiagraph.diffusion.schedule import Schedule
from skiagraph.errors import InputError
from skiagraph.similarity import SimilarityMap
from skiagraph.tasks.translate.conditions import ConditionMaps
from skiagraph.tasks.translate.method import SourceStack
from skiagraph.tasks.translate.settings import ConditionSettings
from skiagraph.training.prior import Prior

__all__ = ["MapStrength", "StackDenoiser", "StackMaps", "TargetPrior"]


@dataclass(eq=False)
class StackDenoiser:
    """A denoiser of stacks (N, 1, H, W) of neighbouring slices, by a network of slices, of slabs or of volumes.

    Slices are shown their neighbours' states (edge slices repeated), volumes are put together, and the network sees
    `batch` slices at a time. It counts what it evaluates.

    Args:
        base: the network as denoiser; conditions "neighbours" and "maps" are made here.
        neighbours: slices on each side that it is shown.
        volumes: whether it takes (1, 1, N, H, W).
        batch: slices in one call.
        observe: told the number of slices after every evaluation, for progress.
        evaluated: slices evaluated so far.
    """

    base: NetworkDenoiser
    neighbours: int = 0
    volumes: bool = False
    batch: int = 16
    observe: Callable[[int], None] | None = None
    evaluated: int = field(default=0, init=False)

    @property
    def schedule(self) -> Schedule:
        """The base's schedule."""
        return self.base.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """The estimate (N, 1, H, W)."""
        found = self._evaluate(x, t, dict(cond))
        self.evaluated += len(x)
        if self.observe is not None:
            self.observe(self.evaluated)
        return Prediction(found)

    def _evaluate(self, x: Tensor, t: Tensor, given: dict[str, Any]) -> Tensor:
        if self.volumes:
            given = {name: value.transpose(0, 1)[None] for name, value in given.items()}
            return self.base(x.transpose(0, 1)[None], t, given).x0[0].transpose(0, 1)
        if self.neighbours:
            given["neighbours"] = self._beside(x)
        parts = []
        for start in range(0, len(x), self.batch):
            part = slice(start, start + self.batch)
            time = t if t.ndim == 0 else t[part]
            parts.append(self.base(x[part], time, {name: value[part] for name, value in given.items()}).x0)
        return torch.cat(parts)

    def _beside(self, x: Tensor) -> Tensor:
        offsets = [step for step in range(-self.neighbours, self.neighbours + 1) if step]
        places = torch.arange(len(x), device=x.device)
        return torch.cat([x[(places + step).clamp(0, len(x) - 1)] for step in offsets], 1)


@dataclass(frozen=True, eq=False)
class MapStrength:
    """x0 = x0_null + w (x0_maps - x0_null): w = 1 the plain conditional network, 0 the prior.

    Args:
        base: a denoiser that takes "maps".
        maps: the function of a `StateCondition`.
        null: maps that mean "none", (1 or N, C, H, W).
        weight: w.
        passes: see `StateCondition`.
    """

    base: Denoiser
    maps: StackMaps
    null: Tensor
    weight: float = 1.0
    passes: int = 1

    @property
    def schedule(self) -> Schedule:
        """The base's schedule."""
        return self.base.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        """The prediction at this strength; one evaluation for w = 0 and 1, two otherwise."""
        if self.weight == 0:
            return self._without(x, t, cond)
        steered = StateCondition(self.base, "maps", self.maps, self.passes)(x, t, cond)
        if self.weight == 1:
            return steered
        null = self._without(x, t, cond).x0
        return Prediction(null + self.weight * (steered.x0 - null))

    def _without(self, x: Tensor, t: Tensor, cond: Condition) -> Prediction:
        null = self.null.to(x).expand(len(x), *self.null.shape[1:])
        return self.base(x, t, {**cond, "maps": null})


@dataclass(eq=False)
class StackMaps:
    """The maps of a source stack with whatever the sampler shows; static maps are computed once.

    Args:
        source: (N, 1, H, W) in [0, 1].
        maps: makes them.
        low, high: range of the states; similarities see [0, 1].
        refresh: calls that one dynamic map serves.
    """

    source: Tensor
    maps: ConditionMaps
    low: float = -1.0
    high: float = 1.0
    refresh: int = 1
    _kept: Tensor | None = field(default=None, init=False, repr=False)
    _calls: int = field(default=0, init=False, repr=False)

    def __call__(self, state: Tensor, t: Tensor, cond: Condition) -> Tensor:
        """(N, C, H, W), without gradient."""
        with torch.no_grad():
            searched = (state - self.low) / (self.high - self.low) if self.maps.dynamic else None
            if self._kept is None:
                self._kept = self.maps.of_stack(self.source, searched).to(state.dtype)
            elif searched is not None and self._calls % self.refresh == 0:
                cross = self.maps.cross_of_stack(self.source, searched).to(state.dtype)
                self._kept = torch.cat([cross, self._kept[:, cross.shape[1] :]], 1)
            self._calls += 1
            return self._kept


@dataclass(frozen=True, eq=False)
class TargetPrior:
    """A prior of the target modality and how it is steered.

    Args:
        prior: the prior folder's content.
        condition: what its network is shown of a source.
        neighbours: slices on each side that it sees.
        planes: slices that it has learned.
    """

    prior: Prior
    condition: ConditionSettings
    neighbours: int = 0
    planes: tuple[str, ...] = ("axial",)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> TargetPrior:
        """Read the folder of `train translate-prior`, or of `import-checkpoint` with its maps stated."""
        return cls.of(Prior.load(folder, device=device))

    @classmethod
    def of(cls, prior: Prior) -> TargetPrior:
        """A prior whose record says how it is steered; one without conditions is an unconditional prior."""
        record = prior.record
        stated = record.extra.get("translate")
        if stated is None and not record.concatenated and not record.classes and len(record.channels) == 1:
            stated = {"condition": {"kind": "none"}}
        if not isinstance(stated, dict):
            raise InputError(
                f"prior {record.name!r}: it does not say how a source steers it; it needs a prior of `skiagraph train "
                "translate-prior`, or an unconditional prior of one channel"
            )
        try:
            condition = ConditionSettings.model_validate(stated.get("condition", {}))
        except ValidationError as error:
            raise InputError(f"prior {record.name!r}: its condition is not understood ({error})") from error
        planes = tuple(str(plane) for plane in stated.get("planes") or ("axial",))  # type: ignore[union-attr]
        return cls(prior, condition, int(stated.get("neighbours") or 0), planes)  # type: ignore[arg-type]

    @property
    def schedule(self) -> DiscreteTable:
        """The noise levels of training."""
        found = self.prior.denoiser().schedule
        if not isinstance(found, DiscreteTable):
            raise InputError(f"prior {self.prior.record.name!r}: translation needs a table of noise levels")
        return found

    @property
    def dimensions(self) -> int:
        """2 for a network of slices, 3 for one of volumes."""
        return len(self.prior.record.size)

    @property
    def conditional(self) -> bool:
        """Whether a source can steer the network."""
        return ConditionMaps(self.condition).channels > 0

    @property
    def unconditional(self) -> bool:
        """Whether it can be asked without a source."""
        return not self.conditional or self.condition.dropout > 0

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """From slice to slice, row to row, column to column."""
        spacing = [float(step) for step in self.prior.record.spacing_mm]
        stated = self.prior.record.extra.get("translate")
        between = stated.get("slice_spacing_mm") if isinstance(stated, dict) else None
        slices = float(between) if isinstance(between, int | float) else spacing[0]
        return (slices, spacing[-2], spacing[-1])

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.prior.record.size[-2:]
        return (rows, columns)

    @property
    def multiple(self) -> int:
        """What must divide the rows and columns of its images; 1 where any size will do."""
        return int(getattr(self.prior.network, "multiple", 1))

    def stack_denoiser(self, batch: int = 16) -> StackDenoiser:
        """The network on stacks; conditions "maps" are to be given."""
        return StackDenoiser(self.prior.denoiser(), self.neighbours, self.dimensions == 3, batch)

    def denoiser(
        self,
        source: SourceStack | None,
        *,
        weight: float = 1.0,
        refresh: int = 1,
        base: StackDenoiser | None = None,
    ) -> Denoiser:
        """E[x0 | x_t, source] of stacks (N, 1, H, W) in [-1, 1].

        Args:
            source: what steers it; None for the prior alone.
            weight: strength of the maps; 0 is the prior alone.
            refresh: evaluations that one state-dependent map serves.
            base: from `stack_denoiser`, to read its count of evaluations.
        """
        network = self.stack_denoiser() if base is None else base
        maps = ConditionMaps(self.condition)
        name = self.prior.record.name
        if (source is None or weight != 1) and not self.unconditional:
            raise InputError(
                f"prior {name!r}: it was trained with its maps always given (condition.dropout 0) and cannot be asked "
                "without them; use mode 'condition' with weight 1, or a prior trained with dropout"
            )
        if not maps.channels:
            if source is not None:
                raise InputError(
                    f"prior {name!r}: it has no map channels (condition.kind none), so no source can be shown to it; "
                    "use mode 'gradient', or a prior trained with maps"
                )
            return network
        if source is None:
            return _Unsteered(network, maps.channels)
        null = torch.zeros(1, maps.channels, *source.images.shape[2:])
        passes = 2 if self.condition.search == "x0-hat" else 1
        return MapStrength(network, StackMaps(source.unit, maps, refresh=refresh), null, weight, passes)

    def energy_measure(self) -> SimilarityMap | None:
        """The similarity of its maps, where it can be differentiated."""
        measure = ConditionMaps(self.condition).measure
        return measure if measure is not None and measure.has_gradient else None


@dataclass(frozen=True, eq=False)
class _Unsteered:
    """The network without maps, for states of any size."""

    base: StackDenoiser
    channels: int

    @property
    def schedule(self) -> Schedule:
        return self.base.schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        return self.base(x, t, {**cond, "maps": x.new_zeros(len(x), self.channels, *x.shape[2:])})
